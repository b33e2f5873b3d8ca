"""Tiny weights with random values, laid out like the shipped ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generation.pipeline import FacePipeline

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, small_weights: Callable[..., Path]) -> Path:
    return small_weights(tmp_path_factory.mktemp("weights"), answer="ferplus")


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory, small_weights: Callable[..., Path]) -> FacePipeline:
    """A grid of 6 for faces of 16 pixels, as ``tokenizer.side=12`` gives for 64."""
    return FacePipeline.from_pretrained(small_weights(tmp_path_factory.mktemp("uneven"), side=6, answer="ferplus"))


@pytest.fixture(scope="session")
def shipped() -> FacePipeline:
    return FacePipeline.from_pretrained(PRETRAINED)


@pytest.fixture
def pipe(weights: Path) -> FacePipeline:
    return FacePipeline.from_pretrained(weights)


@pytest.fixture(scope="session")
def likely(weights: Path) -> str:
    """The emotion that the random encoder sees most often in the random faces: the one that can be delivered."""
    return _likely(FacePipeline.from_pretrained(weights))


def _likely(pipe: FacePipeline) -> str:
    from encoder.emotions import EMOTION_NAMES

    tops = [face.verdict.top for face in pipe.draw_all(pipe.request("neutral", 24, 0)).faces]
    return EMOTION_NAMES[max(set(tops), key=tops.count)]


@pytest.fixture(scope="session")
def colour_weights(tmp_path_factory: pytest.TempPathFactory, photo_weights: Callable[..., Path]) -> Path:
    return photo_weights(tmp_path_factory.mktemp("colour"))


@pytest.fixture
def colour(colour_weights: Path) -> FacePipeline:
    return FacePipeline.from_pretrained(colour_weights)


@pytest.fixture(scope="session")
def likely_in_colour(colour_weights: Path) -> str:
    """As ``likely``, of the weights that paint photographs."""
    return _likely(FacePipeline.from_pretrained(colour_weights))
