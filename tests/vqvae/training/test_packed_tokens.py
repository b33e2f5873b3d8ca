"""Tokens that travel as two small files: a prior trained on them is the one that is trained where the faces are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.cli import UserError
from vqvae.config import TokenizerConfig
from vqvae.pack import main as pack_main
from vqvae.tokens.packed import pack, unpack
from vqvae.tokens.store import TokenStore

SHORT = ["tokenizer_stage.epochs=0.2", "prior_stage.epochs=0.5"]


@pytest.mark.parametrize("codes", [2, 512, 1000, 70_000])
def test_what_is_packed_comes_back(tmp_path: Path, codes: int) -> None:
    rng = np.random.default_rng(codes)
    labels = rng.dirichlet(np.ones(7), 5).astype(np.float32)
    labels[2] = 0.0
    attributes = rng.integers(-1, 3, (5, 2)).astype(np.int8)
    tokens = rng.integers(0, codes, (2, 5, 16, 3)).astype(np.int32)
    store = TokenStore(tokens, labels, np.arange(5, dtype=np.int8), None, attributes)
    pack(store, tmp_path / "train.safetensors", codes, "ab" * 32)
    back = unpack(tmp_path / "train.safetensors", TokenizerConfig(size=16, side=4, groups=3, codebook_size=codes), "ab" * 32, 2)
    np.testing.assert_array_equal(back.tokens, tokens)
    np.testing.assert_array_equal(back.attributes, attributes)
    np.testing.assert_array_equal(back.sources, store.sources)
    np.testing.assert_allclose(back.labels, labels, atol=1e-3)
    assert not back.labels[2].any()
    np.testing.assert_allclose(back.labels.sum(axis=1), [1, 1, 0, 1, 1], atol=1e-6)


def test_a_prior_is_trained_without_the_faces(tiny_runs: Any) -> None:
    assert tiny_runs.train("here", "both", *SHORT) == 0
    run, packed = tiny_runs.folder / "here", tiny_runs.folder / "packed"
    assert pack_main([str(run), "--out", str(packed)]) == 0
    there = tiny_runs.folder / "there" / "weights" / "tokenizer"
    there.parent.mkdir(parents=True)
    there.symlink_to(run / "weights" / "tokenizer")
    far = ["faces.source=tokens", f"faces.tokens={packed}", "faces.fer2013=null", "encoder=null"]
    assert tiny_runs.train("there", "prior", *SHORT, *far) == 0
    losses = [[row["loss"] for row in tiny_runs.figures(name, "prior") if "gradient_norm" in row] for name in ("here", "there")]
    assert len(losses[0]) > 1
    # Labels travel in half precision.
    np.testing.assert_allclose(*losses, rtol=1e-3)
    with pytest.raises(UserError, match="--stage tokenizer: paints faces"):
        tiny_runs.train("there", "tokenizer", *SHORT, *far)


def test_files_of_another_tokenizer_or_kind_are_refused(tmp_path: Path) -> None:
    store = TokenStore(np.zeros((2, 3, 16, 2), np.int16), np.zeros((3, 7), np.float32), np.zeros(3, np.int8))
    config, path = TokenizerConfig(size=16, side=4, groups=2, codebook_size=8), tmp_path / "train.safetensors"
    with pytest.raises(UserError, match="no such file"):
        unpack(path, config, "a", 0)
    pack(store, path, 8, "a")
    assert len(unpack(path, config, "a", 0)) == 3
    with pytest.raises(UserError, match="of another tokenizer"):
        unpack(path, config, "b", 0)
    with pytest.raises(UserError, match="other attributes"):
        unpack(path, config, "a", 4)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="cannot be read"):
        unpack(path, config, "a", 0)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        unpack(path, config, "a", 0)
