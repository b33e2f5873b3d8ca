"""The rows of an ablation, and their table as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from configs.loader import StrictModel
from engine.storage.atomic import atomic_write_text, write_json

# The name of a row is the name of its folder.
RowName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class AblationConfig(StrictModel):
    """Variants of one training: settings as on the command line of ``vqvae/train.py``."""

    base: str = Field("configs/vqvae/base.yaml", description="configuration that every row starts from")
    schedule: tuple[str, ...] = Field((), description="key=value for all rows")
    rows: dict[RowName, tuple[str, ...]] = Field(min_length=1, description="key=value of each row")


# Column, decimals, and where its value is found.
COLUMNS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("usage", 3, ("codebook_usage",)),
    ("perplexity", 0, ("codebook_perplexity",)),
    ("PSNR dB", 2, ("psnr_db",)),
    ("SSIM", 3, ("ssim",)),
    ("Fréchet, judge", 3, ("frechet", "second_judge")),
    ("Fréchet, encoder", 3, ("frechet", "encoder")),
    ("kept, judge", 3, ("emotion_kept", "second_judge", "share")),
    ("kept, encoder", 3, ("emotion_kept", "encoder", "share")),
    ("positions", 0, ("positions",)),
    ("parameters", 0, ("parameters",)),
    ("images/s", 0, ("images_per_second",)),
    ("images seen", 0, ("images_seen",)),
)


def write_table(out: Path, judged: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Write ``ablation.md``, ``.csv`` and ``.json`` into ``out``; returns the Markdown.

    Args:
        judged: data, split and judges, the same for all rows.
        rows: per row and seed its figures, or ``failed`` with the reason.
    """
    text = to_markdown(judged, rows)
    write_json(out / "ablation.json", {**judged, "rows": rows})
    atomic_write_text(out / "ablation.csv", to_csv(rows))
    atomic_write_text(out / "ablation.md", text)
    return text


def value(figures: Mapping[str, Any], place: Sequence[str]) -> float | None:
    """The figure at ``place``; None where it was not measured."""
    found: Any = figures
    for key in place:
        found = found[key]
    return found


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each row and seed."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["row", "seed", "changes", *(column for column, _, _ in COLUMNS), "failed"])
    for row in rows:
        if "failed" in row:
            table.writerow([row["row"], row["seed"], "", *[""] * len(COLUMNS), row["failed"]])
        else:
            figures = [value(row, place) for _, _, place in COLUMNS]
            table.writerow([row["row"], row["seed"], " ".join(row["changes"]), *figures, ""])
    return buffer.getvalue()


def to_markdown(judged: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each row: the mean over its seeds, with their standard deviation where there are several."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["row"], []).append(row)
    counts = sorted({row["count"] for row in rows if "failed" not in row})
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    faces = f"{counts[0]} faces" if len(counts) == 1 else "no faces yet" if not counts else "faces"
    lines = [f"{judged['data']}, {judged['split']} split, {faces}; training seed(s) {seeds}.", ""]
    lines += ["| row | " + " | ".join(column for column, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, each in by_name.items():
        done = [row for row in each if "failed" not in row]
        cells = [_cell([value(row, place) for row in done], decimals) for _, decimals, place in COLUMNS] if done else []
        failures = [f"seed {row['seed']} failed: {row['failed']}".replace("|", "/") for row in each if "failed" in row]
        label = f"{name} ({'; '.join(failures)})" if failures else name
        lines.append("| " + " | ".join([label, *(cells or ["–"] * len(COLUMNS))]) + " |")
    return "\n".join([*lines, ""])


def _cell(values: Sequence[float | None], decimals: int) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):,.{decimals}f}"
    return mean if len(known) < 2 else f"{mean} ± {statistics.stdev(known):,.{decimals}f}"
