"""Hostile names of files, and the tables that they go through."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from eval.benchmarks.service.found import Found

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NAMES = (
    "=cmd|'/c calc'!A0", "+1+cmd", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff0b1", "\uff20x", "\u200b=1",
    " =1",    "a\r\nX-Evil: 1", 'a"; filename="b', "a\x00.png", "\x1b[31mred",
    "\u202egnp.exe", "a\u2028b", "a\x85b", "a" * 200, "💣.png",
    "../../etc/passwd", "/etc/passwd", "C:\\con", "con", "%s%n%x", "{{7*7}}", "${jndi:ldap://x}", "'; DROP TABLE x;--",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
)  # fmt: skip


def a_picture() -> bytes:
    """The bytes of a PNG that can be read."""
    from PIL import Image

    out = io.BytesIO()
    Image.effect_noise((96, 96), 80).convert("RGB").save(out, "PNG")
    return out.getvalue()


def through_tables(folder: Path) -> Found:
    """Pictures under hostile names through ``mimique read`` and the page's tables: no cell may be a formula, or hold signs that
    steer a terminal."""
    from generation.service.orders import ReadFace, ReadResult
    from generation.studio.tables import Named, csv_of, rows_of
    from generation.studio.texts import texts

    found, pictures, out = Found(), folder / "pictures", folder / "faces.csv"
    pictures.mkdir()
    for name in NAMES:
        with suppress(OSError, ValueError):
            (pictures / f"{name.replace('/', '_')}.png").write_bytes(a_picture())
    began = time.monotonic()
    words = [sys.executable, "-m", "mimique", "read", ".", "--out", str(out), "--crops", "yes", "--quiet"]
    # From within, so that names stand in the table as they are.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(words, cwd=pictures, env=environment, capture_output=True, check=False)  # noqa: S603
    found.worst = time.monotonic() - began
    if done.returncode:
        found.blame(f"mimique read ended with {done.returncode}: {done.stderr[-300:]!r}")
    cells = _cells(out.read_bytes() if out.exists() else b"")
    face = ReadFace(face=0, box=(0, 0, 9, 9), emotion="fear", distribution={"fear": 1.0})
    for name in NAMES:
        read = ReadResult(command="", python="", seconds=0.0, faces=(face,), width=9, height=9)
        named = [Named(name, read, b"", "")]
        cells += [*rows_of(named, texts("en"))[0], *_cells(csv_of(named))]
    for cell in cells:
        found.tried += 1
        if cell.startswith(_FORMULA) and not _is_number(cell):
            found.blame(f"a formula: {cell[:80]!r}")
    return found


def _cells(table: bytes) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(table.decode(), newline="")) for cell in row]


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return False
