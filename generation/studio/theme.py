"""How the page looks: fonts of the reader's machine, one accent, light and dark."""

from __future__ import annotations

import gradio as gr

from generation.studio.texts import ASSETS

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Nothing of it is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="#f6f8fa",
        body_background_fill_dark="#0d1418",
        block_background_fill="#ffffff",
        block_background_fill_dark="#152027",
        block_border_width="1px",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        table_even_background_fill_dark="#152027",
        table_odd_background_fill_dark="#1b2931",
        block_shadow="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
    )


def css() -> str:
    """The page's own rules."""
    return (ASSETS / "studio.css").read_text(encoding="utf-8")
