"""A prior that learns from drawn faces, too, which somebody chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.cli import UserError
from engine.training.batches import GlobalBatches
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.chosen import joined, joined_weights
from vqvae.tokens.packed import pack
from vqvae.tokens.store import TokenStore


def faces(count: int, emotions: list[int], columns: int = 2, code: int = 1) -> TokenStore:
    labels = np.eye(7, dtype=np.float32)[np.resize(emotions, count)]
    attributes = np.zeros((count, columns), np.int8)
    return TokenStore(np.full((2, count, 4, 2), code, np.int16), labels, np.ones(count, np.int8), None, attributes)


def test_chosen_faces_have_their_share_and_each_emotion_alike() -> None:
    real, chosen = faces(300, [3, 3, 3, 2]), faces(40, [2, 2, 2, 2, 2, 2, 2, 5], code=7)
    both, weights = joined(real, chosen), joined_weights(real, chosen, 0.5, 0.25)
    assert len(both) == len(weights) == 340
    assert weights[:300].sum() == pytest.approx(0.75)
    assert weights[300:][chosen.labels[:, 5] > 0].sum() == pytest.approx(0.125)
    drawn = np.concatenate([GlobalBatches(340, 50, seed=0, weights=weights)(step)[1] for step in range(80)])
    assert (both.tokens[0, drawn, 0, 0] == 7).mean() == pytest.approx(0.25, abs=0.03)


def test_faces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="1 attributes, but"):
        joined(faces(3, [0]), faces(3, [0], columns=1))
    with pytest.raises(UserError, match="holds no faces"):
        joined(faces(3, [0]), faces(0, [0]))


def test_a_prior_learns_from_them(tiny_runs: Any, tmp_path: Path) -> None:
    # 25 positions of two codes: see TOKENIZER of the tiny runs.
    weights = tiny_runs.folder / "with" / "weights" / "tokenizer"
    tiny_runs.untrained_tokenizer(weights)
    tokenizer = Tokenizer.from_pretrained(weights)
    shape = (2, 6, tokenizer.config.grid**2, tokenizer.config.groups)
    store = TokenStore(np.full(shape, 3, np.int16), faces(6, [2]).labels, np.zeros(6, np.int8))
    path = tmp_path / "chosen.safetensors"
    pack(store, path, tokenizer.config.codebook_size, tokenizer.encoding_sha256())
    more = [f"prior_stage.chosen={path}", "prior_stage.chosen_share=0.9", "prior_stage.epochs=6"]
    assert tiny_runs.train("with", "prior", *more) == 0
    assert tiny_runs.train("without", "prior", more[-1]) == 0
    last = {name: np.mean([row["loss"] for row in tiny_runs.figures(name, "prior")][-8:]) for name in ("with", "without")}
    # All their codes are one: whoever learned from them guesses it.
    assert last["with"] < last["without"] - 0.3
    pack(store, path, tokenizer.config.codebook_size, "of another")
    with pytest.raises(UserError, match="another tokenizer"):
        tiny_runs.train("again", "prior", *more)
