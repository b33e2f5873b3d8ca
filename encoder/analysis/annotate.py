"""Boxes, labels and probability bars drawn on pictures, and the files they are written to."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from encoder.analysis.analyzer import Reading
from encoder.analysis.rows import FaceRow
from encoder.emotions import EMOTION_NAMES
from encoder.pictures.video_file import VideoFile
from engine.storage.atomic import atomic_write_bytes, make_folder, short_name
from engine.storage.provenance import generator

# One colour an emotion, in the order of the enum; readable on light and dark pictures.
COLOURS = ((229, 57, 53), (67, 160, 71), (142, 78, 198), (255, 193, 7), (66, 133, 244), (255, 112, 67), (158, 158, 158))
_INK, _PAPER, _TRACK = (245, 245, 245), (22, 24, 28, 205), (255, 255, 255, 45)
_MIN_SIDE, _MAX_SIDE = 720, 1920
_COMMENT = "Boxes and emotions added by AI: what people would be likely to see in a face, not what somebody feels."

Rectangle = tuple[float, float, float, float]


def draw_faces(
    picture: NDArray[np.uint8],
    rows: Sequence[FaceRow],
    *,
    scale: float = 1.0,
    overlays: Sequence[NDArray[np.uint8]] = (),
    enlarge: bool = True,
) -> NDArray[np.uint8]:
    """A copy of an (H, W, 3) picture with what was read in it.

    Each face gets a box and a label; beside it, where there is room, a panel with the seven probabilities and, above
    them, its overlay. Small pictures are enlarged and large ones reduced, so that the writing can be read.

    Args:
        scale: pixels of the rows' boxes for one of the picture.
        overlays: one for each row, or none.
        enlarge: whether small pictures are enlarged.
    """
    zoom = _zoom(picture.shape[1], picture.shape[0])
    zoom = zoom if enlarge else min(zoom, 1.0)
    size = (max(1, round(picture.shape[1] * zoom)), max(1, round(picture.shape[0] * zoom)))
    image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    unit = max(12.0, min(size) / 40)
    font = ImageFont.load_default(unit)
    faces = [row for row in rows if row.box is not None and row.distribution is not None]
    boxes = [_scaled(row.box, zoom / scale) for row in faces if row.box is not None]
    pen = ImageDraw.Draw(image, "RGBA")
    labels = []
    for row, box in zip(faces, boxes, strict=True):
        _draw_box(pen, box, _colour(row), unit)
        labels.append(_draw_label(pen, box, row, font, unit, size))
    # What must stay visible: every face, every label, then every panel placed so far.
    taken = [*boxes, *labels]
    for number, (row, box) in enumerate(zip(faces, boxes, strict=True)):
        overlay = overlays[number] if overlays else None
        for smaller in (1.0, 0.8, 0.65):
            place = _place_panel(box, unit * smaller, overlay is not None, size, taken)
            if place is not None:
                break
        else:
            # A single face that fills its picture keeps its panel, in the corner where it hides least.
            place = _least_hiding_corner(box, unit * smaller, overlay is not None, size) if len(faces) == 1 else None
        if place is not None:
            _draw_panel(image, pen, place, row, overlay, unit * smaller)
            taken.append(place)
    return np.asarray(image)


def _zoom(width: int, height: int) -> float:
    if max(width, height) > _MAX_SIDE:
        return _MAX_SIDE / max(width, height)
    return min(max(1.0, _MIN_SIDE / min(width, height)), max(1.0, _MAX_SIDE / max(width, height)))


def _scaled(box: tuple[int, int, int, int] | None, factor: float) -> Rectangle:
    x, y, w, h = (value * factor for value in box or (0, 0, 0, 0))
    return x, y, x + w, y + h


def _colour(row: FaceRow) -> tuple[int, int, int]:
    return COLOURS[int(np.argmax(row.distribution or (1.0,)))]


def _draw_box(pen: ImageDraw.ImageDraw, box: Rectangle, colour: tuple[int, int, int], unit: float) -> None:
    line = max(2, round(unit / 6))
    pen.rounded_rectangle([value + line for value in box], radius=unit / 2, outline=(0, 0, 0, 90), width=line)
    pen.rounded_rectangle(box, radius=unit / 2, outline=colour, width=line)


def _draw_label(
    pen: ImageDraw.ImageDraw, box: Rectangle, row: FaceRow, font: Any, unit: float, size: tuple[int, int]
) -> Rectangle:
    """The emotion above the box (below where there is no room), with identity and gender where known."""
    texts = [f"{row.emotion} {max(row.distribution or (0.0,)):.0%}", row.identity, row.gender]
    texts += [] if row.person is None else [f"person {row.person}"]
    text = " · ".join(part for part in texts if part)
    width, height = pen.textlength(text, font=font) + unit, unit * 1.6
    left = min(max(0.0, box[0]), max(0.0, size[0] - width))
    top = box[1] - height - unit / 4
    if top < 0:
        top = min(box[3] + unit / 4, size[1] - height)
    place = (left, top, left + width, top + height)
    colour = _colour(row)
    dark = sum(colour) > 420
    pen.rounded_rectangle(place, radius=unit / 2, fill=colour)
    pen.text((left + unit / 2, top + height / 2), text, font=font, fill=(20, 20, 20) if dark else _INK, anchor="lm")
    return place


def _panel_size(unit: float, overlay: bool) -> tuple[float, float]:
    width = unit * 13
    return width, unit * (1 + 1.45 * len(EMOTION_NAMES)) + (width - unit if overlay else 0)


def _place_panel(
    box: Rectangle, unit: float, overlay: bool, size: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle | None:
    """Right of the box, left of it, below or above: the first place that hides nothing, or None."""
    width, height = _panel_size(unit, overlay)
    gap = unit / 2
    top = min(max(0.0, box[1]), size[1] - height)
    left = min(max(0.0, box[0]), size[0] - width)
    for x, y in ((box[2] + gap, top), (box[0] - gap - width, top), (left, box[3] + gap), (left, box[1] - gap - height)):
        place = (x, y, x + width, y + height)
        inside = x >= 0 and y >= 0 and place[2] <= size[0] and place[3] <= size[1]
        if inside and not any(_overlap(place, other) for other in taken):
            return place
    return None


def _least_hiding_corner(box: Rectangle, unit: float, overlay: bool, size: tuple[int, int]) -> Rectangle:
    width, height = _panel_size(unit, overlay)
    corners = [(x, y, x + width, y + height) for y in (size[1] - height, 0.0) for x in (size[0] - width, 0.0)]
    return min(corners, key=lambda place: _common_area(place, box))


def _common_area(one: Rectangle, other: Rectangle) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return _common_area(one, other) > 0


def _draw_panel(
    image: Image.Image, pen: ImageDraw.ImageDraw, place: Rectangle, row: FaceRow, overlay: NDArray[np.uint8] | None, unit: float
) -> None:
    font = ImageFont.load_default(unit)
    pen.rounded_rectangle(place, radius=unit / 2, fill=_PAPER)
    left, y, right = place[0] + unit / 2, place[1] + unit / 2, place[2] - unit / 2
    if overlay is not None:
        side = round(right - left)
        image.paste(Image.fromarray(overlay).resize((side, side), Image.Resampling.LANCZOS), (round(left), round(y)))
        y += side + unit / 2
    bar_left = left + unit * 5.6
    for name, value, colour in zip(EMOTION_NAMES, row.distribution or (), COLOURS, strict=True):
        middle = y + unit * 0.7
        pen.text((left, middle), name, font=font, fill=_INK, anchor="lm")
        track = (bar_left, middle - unit * 0.32, right, middle + unit * 0.32)
        pen.rounded_rectangle(track, radius=unit * 0.32, fill=_TRACK)
        length = (right - bar_left) * value
        if length >= 1:
            pen.rounded_rectangle((*track[:2], bar_left + length, track[3]), radius=min(unit * 0.32, length / 2), fill=colour)
        y += unit * 1.45


def source_stem(source: str) -> str:
    """What files that are made of a source begin with."""
    # Room for the ending and a number.
    return short_name(Path(source.replace(":", "-")).stem, 24)


def annotated_names(sources: Iterable[str]) -> list[str]:
    """Names of the files that an :class:`Annotator` may give to these sources, of which any may be a picture or a video."""
    return [f"{stem}{ending}" for stem in dict.fromkeys(map(source_stem, sources)) for ending in (".jpg", ".mp4")]


class Annotator:
    """Writes annotated readings into a folder: ``<name>.jpg`` for a picture, ``<name>.mp4`` (H.264) for a video or a camera.

    Every file appears when it is complete. Readings of one source must come together.

    Raises:
        UserError: the folder cannot be made, or something cannot be written.
    """

    def __init__(self, folder: str | Path, *, camera_rate: float = 10.0) -> None:
        self.folder, self._camera_rate = Path(folder), camera_rate
        self._used: set[str] = set()
        self._video: VideoFile | None = None
        self._source = ""
        self.files = 0
        make_folder(self.folder, "folder")

    def add(self, reading: Reading) -> None:
        """Draw and write one reading; without a picture, nothing."""
        if self._video is not None and self._source != reading.view.source:
            self.close()
        picture = reading.view.picture
        if picture is None:
            return
        how: dict[str, Any] = {"scale": picture.scale, "overlays": reading.overlays, "enlarge": reading.view.frame is None}
        drawn = draw_faces(picture.pixels, reading.rows, **how)
        if reading.view.frame is None:
            data = io.BytesIO()
            Image.fromarray(drawn).save(data, "JPEG", quality=92, subsampling=0)
            atomic_write_bytes(self._new_path(reading.view.source, ".jpg"), data.getvalue())
            self.files += 1
            return
        if self._video is None:
            path = self._new_path(reading.view.source, ".mp4")
            texts = {"title": generator(), "comment": _COMMENT}
            self._video = VideoFile(path, reading.view.rate or self._camera_rate, texts=texts)
            self._source = reading.view.source
        self._video.write(drawn)

    def close(self) -> None:
        """Finish the video that is being written."""
        if self._video is not None:
            video, self._video = self._video, None
            video.finish()
            self.files += 1

    def _new_path(self, source: str, ending: str) -> Path:
        """A name after the source's, with a number where two sources share one."""
        stem = source_stem(source)
        name, number = f"{stem}{ending}", 2
        while name.lower() in self._used:
            name, number = f"{stem}-{number}{ending}", number + 1
        self._used.add(name.lower())
        return self.folder / name
