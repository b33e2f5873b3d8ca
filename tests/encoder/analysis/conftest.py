"""An encoder with small random weights, and a photograph of one face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from encoder.inference.emotion_encoder import EmotionEncoder
from tests.encoder.analysis.squares import scene


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, small_encoder: Callable[..., EmotionEncoder]) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "encoder"
    small_encoder(heads=("fer2013",)).save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(weights: Path) -> EmotionEncoder:
    return EmotionEncoder.from_pretrained(weights)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    return tmp_path / "astronaut.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pictures, one without a face, and files that cannot be read."""
    place = tmp_path / "photos"
    (place / "deep").mkdir(parents=True)
    Image.fromarray(scene(2)).save(place / "a-two.png")
    Image.fromarray(scene(0)).save(place / "b-none.png")
    Image.fromarray(scene(1)).save(place / "deep" / "c-one.png")
    whole = (place / "a-two.png").read_bytes()
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "empty.jpg").touch()
    (place / "notes.txt").write_text("not looked at")
    (place / "text.jpg").write_text("not a picture")
    return place
