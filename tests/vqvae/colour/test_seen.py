"""What the probe sees becomes what the prior is told; what it should not learn is left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoder.attributes.labels import ATTRIBUTES as PROBED
from vqvae.attributes import NOT_TOLD
from vqvae.colour.seen import LEFT_OUT, with_seen_attributes
from vqvae.faces import TrainingFaces


class Probe:
    """Answers as it was told to."""

    def __init__(self, **answers: list[float]) -> None:
        count = len(next(iter(answers.values())))
        self._answers = np.stack([answers.get(name, [0.0] * count) for name in PROBED], axis=1).astype(np.float32)

    def predict(self, _faces: Any) -> np.ndarray:
        return self._answers


def faces(count: int) -> TrainingFaces:
    images = np.arange(count, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    gender = np.ones(count, np.int8)
    return TrainingFaces(images, np.zeros((count, 7), np.float32), np.zeros(count, np.int64), {"gender": gender})


def test_hands_and_eyes_are_told_where_they_are_clear() -> None:
    probe = Probe(object=[0.9, 0.5, 0.1], closed=[0.2, 0.7, 0.36])
    seen = with_seen_attributes(faces(3), probe)  # type: ignore[arg-type]
    assert seen.attributes["hands"].tolist() == [1, NOT_TOLD, 0]
    assert seen.attributes["eyes"].tolist() == [0, 1, NOT_TOLD]
    assert seen.attributes["gender"].tolist() == [1, 1, 1]


def test_text_and_drawings_are_left_out() -> None:
    probe = Probe(text=[LEFT_OUT["text"], 0.4, 0.0], unreal=[0.0, 0.0, LEFT_OUT["unreal"] + 0.01], blurred=[0.0, 1.0, 0.0])
    seen = with_seen_attributes(faces(3), probe)  # type: ignore[arg-type]
    assert seen.images[:, 0, 0].tolist() == [1]
    assert len(seen.attributes["hands"]) == 1
