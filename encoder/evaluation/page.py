"""The templates of the report's pages; everything that comes from data or the command line is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: str, **content: Any) -> str:
    """One of ``templates/`` with this content, as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
    environment.filters["signed"] = lambda value: f"{value:+.3f}".replace("-", "−")
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return environment.get_template(template).render(content)
