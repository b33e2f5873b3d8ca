"""Tiny weights with random values, laid out like the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.create import create_model
from generation.pipeline import FacePipeline
from vqvae.config import PriorConfig, TokenizerConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.tokenizer import Tokenizer

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


def write_weights(folder: Path, side: int = 4) -> Path:
    torch.manual_seed(0)
    net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1)))
    EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig(answer="ferplus")).save_pretrained(folder / "encoder")
    config = TokenizerConfig(size=16, widths=(8, 16), side=side, codebook_size=8, code_dim=4, groups=2)
    Tokenizer(config).save_pretrained(folder / "tokenizer")
    digest = Tokenizer.from_pretrained(folder / "tokenizer").encoding_sha256()
    prior = PriorConfig(width=16, depth=1, heads=2, dropout=0.0)
    shape = PriorShape(prior=prior, positions=side**2, groups=2, codebook_size=8, tokenizer_sha256=digest)
    MaskedPrior(shape).save_pretrained(folder / "prior")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> FacePipeline:
    """A grid of 6 for faces of 16 pixels, as ``tokenizer.side=12`` gives for 64."""
    return FacePipeline.from_pretrained(write_weights(tmp_path_factory.mktemp("uneven"), side=6))


@pytest.fixture(scope="session")
def shipped() -> FacePipeline:
    return FacePipeline.from_pretrained(PRETRAINED)


@pytest.fixture
def pipe(weights: Path) -> FacePipeline:
    return FacePipeline.from_pretrained(weights)


@pytest.fixture
def likely(pipe: FacePipeline) -> str:
    """The emotion that the random encoder sees most often in the random faces: the one that can be delivered."""
    from encoder.emotions import EMOTION_NAMES

    tops = [face.verdict.top for face in pipe.draw_all(pipe.request("neutral", 24, 0)).faces]
    return EMOTION_NAMES[max(set(tops), key=tops.count)]
