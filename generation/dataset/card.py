"""Cards of sets, in Markdown, from their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("templates")


def data_card(content: Mapping[str, Any]) -> str:
    """The data card of a labelled set, with the header that Hugging Face reads."""
    faces = sum(sum(counts.values()) for counts in content["splits"].values())
    return render_card(_FOLDER / "data_card.md", **content, faces=faces, request_=content["request"])


def render_card(template: Path, **content: Any) -> str:
    """Markdown from a template; ``figure`` is a filter that writes a number with two digits, and nothing for None.

    What the template names must be there.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - Markdown, not HTML; nothing in it comes from outside
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = lambda value: "" if value is None else f"{value:.2f}"
    return environment.get_template(template.name).render(**content)
