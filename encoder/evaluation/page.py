"""The templates of the report's pages; everything that comes from data or the command line is escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from encoder.evaluation.conclusions import percent


def render(template: str, **content: Any) -> str:
    """One of ``templates/`` with this content, as HTML whose tables can be read on a phone, see :func:`with_labels`."""
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
    environment.filters["percent"] = percent
    environment.filters["signed"] = lambda value: f"{value:+.3f}".replace("-", "−")
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return with_labels(environment.get_template(template).render(content))


def with_labels(page: str) -> str:
    """Every cell of a table, but for matrices, with the title of its column as ``data-label``.

    A narrow screen has no room for columns: the style sheet then shows each row as a block and each cell under its label. For
    tables as the templates write them: one row of titles, and rows of one heading and plain cells.
    """
    return re.sub(r"<table>.*?</table>", lambda found: _labelled(found[0]), page, flags=re.DOTALL)


def _labelled(table: str) -> str:
    head, end, body = table.partition("</thead>")
    titles = [_plain(title) for title in re.findall(r"<th[^>]*>(.*?)</th>", head, flags=re.DOTALL)]

    def row(found: re.Match[str]) -> str:
        places = iter(titles[1:])
        return re.sub(r"<td(?! colspan| data-label)", lambda _: f'<td data-label="{next(places, "")}"', found[0])

    return head + end + re.sub(r"<tr>.*?</tr>", row, body, flags=re.DOTALL)


def _plain(title: str) -> str:
    """What a title says, without tags; it is escaped already."""
    return " ".join(re.sub(r"<[^>]*>", " ", title).replace('"', "&quot;").split())
