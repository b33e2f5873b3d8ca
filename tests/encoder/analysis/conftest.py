"""An encoder with small random weights, and a photograph of one face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from encoder.inference.emotion_encoder import EmotionEncoder


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
