"""What an analysis prints: a line a source, and what could not be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.cli import UserError
from configs.wording import printable
from encoder.emotions import EMOTION_NAMES

if TYPE_CHECKING:
    from encoder.analysis.analyzer import Reading
    from encoder.analysis.rows import FaceRow

_MAX_SOURCE_WIDTH = 40


class Listing:
    """Rows on the screen as they come, problems on the error stream, and the count of both."""

    def __init__(self, files: Sequence[str], *, quiet: bool, gender: bool, gallery: bool, person: bool = False) -> None:
        self._quiet, self._gender, self._gallery, self._person = quiet, gender, gallery, person
        self._width = min(_MAX_SOURCE_WIDTH, max((len(name) for name in files), default=8) + 12)
        self._headed = False
        self.faces = self.pictures = self.faceless = self.whole = 0
        self.skipped: list[str] = []

    def add(self, reading: Reading) -> None:
        """Print and count one reading."""
        from tqdm import tqdm

        from encoder.analysis.rows import NO_FACE

        for row in reading.rows:
            if row.problem not in (None, NO_FACE):
                self.skipped.append(printable(f"{row.place}: {row.problem}"))
                tqdm.write(f"skipped {self.skipped[-1]}", file=sys.stderr)
                continue
            if not row.face:  # the first face of a picture, or none
                self.pictures += 1
            self.faces += row.problem is None
            self.whole += row.whole_picture is True
            self.faceless += row.problem is not None
            if not self._quiet:
                tqdm.write(self._line(row), file=sys.stdout)

    def finish(self, ignored: int, written: Sequence[str]) -> int:
        """Print the summary; the exit code. Raises UserError: no picture could be read."""
        if not self.pictures:
            more = f"first of {len(self.skipped):,} problems: " if len(self.skipped) > 1 else ""
            raise UserError("nothing could be read" + (f"; {more}{self.skipped[0]}" if self.skipped else ""))
        parts = [f"{_count(self.faces, 'face')} in {_count(self.pictures, 'picture')}"]
        parts += [f"{self.faceless:,} without a face"] if self.faceless else []
        parts += [f"{self.whole:,} taken for crops and read whole (--crops no: cut again)"] if self.whole else []
        parts += [_count(len(self.skipped), "problem")] if self.skipped else []
        parts += [f"{_count(ignored, 'file')} with another ending ignored"] if ignored else []
        print("; ".join(parts), file=sys.stderr)
        if written:
            print(f"written: {', '.join(written)}", file=sys.stderr)
        return 1 if self.skipped else 0

    def _line(self, row: FaceRow) -> str:
        head = ""
        if not self._headed:
            self._headed = True
            names = " ".join(f"{name:>9}" for name in EMOTION_NAMES)
            further = f"  {'gender':<14}" if self._gender else ""
            further += f"  {'identity':<14}" if self._gallery else ""
            further += "  person" if self._person else ""
            head = f"{'source':<{self._width}} {'x, y, width, height':<22} {'emotion':<10}{names}{further}".rstrip() + "\n"
        source = printable(row.place)
        if len(source) > self._width:
            source = "…" + source[-self._width + 1 :]
        if row.box is None or row.distribution is None:
            return f"{head}{source:<{self._width}} {printable(row.problem or '')}"
        box = ", ".join(map(str, row.box))
        numbers = " ".join(f"{value:9.2f}" for value in row.distribution)
        further = f"  {row.gender or '':<7}{row.gender_probability or 0:<7.2f}" if self._gender else ""
        further += f"  {row.identity or '-':<14}" if self._gallery else ""
        further += f"  {row.person or '-'}" if self._person else ""
        return f"{head}{source:<{self._width}} {box:<22} {row.emotion or '':<10}{numbers}{further}".rstrip()


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
