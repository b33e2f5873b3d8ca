"""Tiny weights with random values, laid out like the shipped ones, with a second judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from encoder.classifier import EmotionEncoder
from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.model import create_model
from vqvae.config import PriorConfig, TokenizerConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1), heads=("fer2013",)))
    EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig()).save_pretrained(folder / "encoder")
    shutil.copytree(folder / "encoder", folder / "judge")
    Tokenizer(TokenizerConfig(size=16, widths=(8, 16), codebook_size=8, code_dim=4, groups=1)).save_pretrained(
        folder / "tokenizer"
    )
    shape = PriorShape(prior=PriorConfig(width=16, depth=1, heads=2), positions=16, groups=1, codebook_size=8)
    MaskedPrior(shape).save_pretrained(folder / "prior")
    return folder
