"""A prediction by emotion and by face, and the encoder fed with pictures in every form."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion
from encoder.inference.emotion_encoder import EmotionEncoder


@pytest.fixture(scope="module")
def encoder(small_encoder: Callable[..., EmotionEncoder]) -> EmotionEncoder:
    return small_encoder(answer="ferplus")


def test_a_prediction_is_read_by_emotion_and_by_face(encoder: EmotionEncoder, rng: np.random.Generator) -> None:
    read = encoder.predict(rng.integers(0, 256, (4, 24, 24), dtype=np.uint8))
    assert len(read) == len(list(read)) == 4
    assert torch.equal(read["fear"], read.distributions[:, 2])
    assert torch.equal(read[Emotion.FEAR], read["peur"])
    assert read[1]["fear"] == float(read.distributions[1, 2])
    assert [reading.top for reading in read] == read.top
    assert torch.equal(read[1:3].embeddings, read.embeddings[1:3])
    assert list(read.heads) == list(read[1:3].heads)
    table = read.to_dataframe()
    assert list(table.columns) == ["top", *EMOTION_NAMES]
    assert list(table["top"]) == [emotion.label for emotion in read.top] == [reading.to_dict()["top"] for reading in read]
    assert repr(read).startswith("Prediction(4 faces: ")
    assert len(repr(read)) < 100
    with pytest.raises(IndexError):
        read[4]
    with pytest.raises(UserError, match="unknown emotion"):
        read["fera"]


def test_pictures_in_every_form_are_read_alike(encoder: EmotionEncoder, rng: np.random.Generator, tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    expected = encoder.predict(pixels).distributions
    path, bits = tmp_path / "face.png", (tmp_path / "face.png").read_bytes()
    several = [path], pd.Series([str(path)]), (each for each in [pixels])
    for form in (path, str(path), bits, io.BytesIO(bits), Image.fromarray(pixels), *several):
        torch.testing.assert_close(encoder.predict(form).distributions, expected, atol=1e-5, rtol=1e-4)
    mixed = encoder.predict([path, pixels, pixels[:20, :20]])
    torch.testing.assert_close(mixed.distributions[:2], expected.repeat(2, 1), atol=1e-5, rtol=1e-4)
    stacked = encoder.predict([pixels, pixels])
    torch.testing.assert_close(stacked.distributions, expected.repeat(2, 1), atol=1e-5, rtol=1e-4)
    assert len(encoder.predict([])) == 0


@pytest.mark.parametrize(
    ("faces", "options", "message"),
    [
        (None, {}, "pictures: cannot read NoneType"),
        ([None], {}, "cannot read NoneType"),
        (["absent.png"], {}, r"face 0 \(absent.png\): no such file"),
        ({"a": 1}, {}, "several columns"),
        (np.zeros((2, 24, 24), np.uint8), {"batch_size": "2"}, "batch_size: must be a whole number"),
        (np.zeros((2, 24, 24), np.uint8), {"batch_size": 0}, "batch_size: must be at least 1"),
        (np.zeros((2, 24, 24), np.uint8), {"runtime": "tensorflow"}, "runtime: must be one of auto, pytorch"),
    ],
)
def test_what_cannot_be_read_is_refused(encoder: EmotionEncoder, faces: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder.predict(faces, **options)


def test_shipped_weights_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EmotionEncoder.from_pretrained().net.config == EmotionEncoder.from_pretrained("pretrained/encoder").net.config
    with pytest.raises(UserError, match="no such folder"):
        EmotionEncoder.from_pretrained("pretrained/none")
