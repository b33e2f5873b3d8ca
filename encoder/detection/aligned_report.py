"""What an alignment of a data set found and missed: figures before and after, and a sheet of the doubtful faces."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from encoder.detection.face import BatchDetector, DetectedFace
from encoder.detection.in_crops import find_in_crops

# Of each kind so many are shown, and so many aligned faces are searched again.
_SHOWN, _LOOKED_AT_AGAIN = 24, 512
_TILE, _COLUMNS = 96, 6
KINDS = {"not found": "no face found, kept as it was", "score": "lowest scores", "roll": "most turned"}


@dataclass(frozen=True, order=True)
class Doubtful:
    """A picture to look at: ``weight``, more doubtful when higher; before and after."""

    weight: float
    number: int
    label: str = field(compare=False)
    before: NDArray[np.uint8] = field(compare=False, repr=False)
    after: NDArray[np.uint8] = field(compare=False, repr=False)


class Tally:
    """Counts faces as they are aligned."""

    def __init__(self) -> None:
        self.faces = 0
        self.scores: list[float] = []
        self.before: list[tuple[float, float, float]] = []
        self.after: list[tuple[float, float, float]] = []
        self.doubtful: dict[str, list[Doubtful]] = {kind: [] for kind in KINDS}
        self._again: list[NDArray[np.uint8]] = []
        self._step = 1
        self._looked_at = 0

    def add(self, name: str, picture: NDArray[np.uint8], face: DetectedFace | None, made: NDArray[np.uint8]) -> None:
        """Count one picture, with the face found in it and the crop that was made."""
        self.faces += 1
        if face is None:
            self._doubt("not found", 0.0, name, picture, made)
            return
        place = _eyes(face, picture)
        self.before.append(place)
        self.scores.append(face.score or 0.0)
        self._doubt("score", -self.scores[-1], f"{self.scores[-1]:.2f} {name}", picture, made)
        self._doubt("roll", abs(place[2]), f"{place[2]:.0f}° {name}", picture, made)
        # Evenly spread however many come: when there are too many every other one goes, and half as many are taken on.
        if len(self.before) % self._step == 0:
            self._again.append(made if made.ndim == 3 else np.repeat(made[..., None], 3, axis=2))
            if len(self._again) == 2 * _LOOKED_AT_AGAIN:
                self._again, self._step = self._again[1::2], 2 * self._step

    def look_again(self, detector: BatchDetector) -> None:
        """Search up to 1,023 of the aligned faces once more: where the eyes came to lie is measured, not assumed."""
        self._looked_at = len(self._again)
        for start in range(0, len(self._again), 16):
            crops = self._again[start : start + 16]
            found = zip(find_in_crops(detector, crops), crops, strict=True)
            self.after += [_eyes(face, crop) for face, crop in found if face is not None]
        self._again = []

    def facts(self) -> dict[str, Any]:
        """Plain values for JSON. ``before`` and ``after`` are in shares of the shorter side and in degrees."""
        return {
            "faces": self.faces,
            "found": len(self.before),
            "not_found": self.faces - len(self.before),
            "score": _spread(self.scores),
            "before": _spreads(self.before),
            "after": {"looked_at": self._looked_at, "found": len(self.after), **_spreads(self.after)},
        }

    def _doubt(self, kind: str, weight: float, label: str, picture: NDArray[np.uint8], made: NDArray[np.uint8]) -> None:
        heap = self.doubtful[kind]
        if len(heap) == _SHOWN and weight <= heap[0].weight:
            return
        each = Doubtful(weight, -self.faces, label, _tile(picture), _tile(made))
        (heapq.heappush if len(heap) < _SHOWN else heapq.heappushpop)(heap, each)


def _eyes(face: DetectedFace, picture: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Distance of the eyes and height of their middle as shares of the shorter side, and their roll in degrees."""
    if face.eyes is None:
        return math.nan, math.nan, math.nan
    across, down = (face.eyes[1].astype(np.float64) - face.eyes[0]).tolist()
    side = min(picture.shape[:2])
    height = float(face.eyes[:, 1].mean()) + 0.5
    return math.hypot(across, down) / side, height / side, math.degrees(math.atan2(down, across))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": round(float(np.nanmedian(values)), 4), "deviation": round(float(np.nanstd(values)), 4)}


def _spreads(rows: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return {name: _spread(column) for name, column in zip(("eye_distance", "eye_height", "roll"), columns, strict=True)}


def align_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The report for people to read."""
    lines = [f"{'split':<8}{'faces':>8}{'not found':>15}   {'eye distance':<36}{'roll, degrees'}"]
    for name, facts in splits.items():
        missing = f"{facts['not_found']:,} ({100 * facts['not_found'] / max(facts['faces'], 1):.1f} %)"
        cells = [f"{name:<8}{facts['faces']:>8,}{missing:>15}  "]
        for what in ("eye_distance", "roll"):
            digits = 3 if what == "eye_distance" else 1
            shown = [
                "-" if part[what] is None else f"{part[what]['median']:.{digits}f} ± {part[what]['deviation']:.{digits}f}"
                for part in (facts["before"], facts["after"])
            ]
            cells.append(f" {' → '.join(shown):<35}")
        lines.append("".join(cells).rstrip())
    return "\n".join([*lines, "medians and deviations, before → after; in shares of the picture's side; after: as found again"])


def contact_sheet(doubtful: Mapping[str, Sequence[Doubtful]], title: str) -> Image.Image:
    """The doubtful faces, each as it was and as it became."""
    margin, caption, head = 6, 14, 24
    wide, high = 2 * _TILE + margin, _TILE + caption + margin
    shown = {kind: sorted(each, reverse=True) for kind, each in doubtful.items() if each}
    rows = sum(math.ceil(len(each) / _COLUMNS) for each in shown.values())
    sheet = Image.new("RGB", (margin + _COLUMNS * (wide + margin), head * (len(shown) + 1) + rows * high + margin), "white")
    pen, small, large = ImageDraw.Draw(sheet), ImageFont.load_default(10), ImageFont.load_default(14)
    pen.text((margin, 4), title, fill="black", font=large)
    top = head
    for kind, each in shown.items():
        pen.text((margin, top + 4), f"{KINDS[kind]}: left before, right after", fill="black", font=large)
        top += head
        for number, one in enumerate(each):
            x, y = margin + number % _COLUMNS * (wide + margin), top + number // _COLUMNS * high
            for offset, tile in ((0, one.before), (_TILE, one.after)):
                sheet.paste(Image.fromarray(tile), (x + offset, y))
            pen.text((x, y + _TILE), one.label[-34:], fill="#3c3c3c", font=small)
        top += math.ceil(len(each) / _COLUMNS) * high
    return sheet


def _tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).convert("RGB")
    shrink = _TILE / max(image.size)
    size = max(1, round(image.width * shrink)), max(1, round(image.height * shrink))
    tile = Image.new("RGB", (_TILE, _TILE), "white")
    tile.paste(image.resize(size, Image.Resampling.BICUBIC))
    return np.asarray(tile)
