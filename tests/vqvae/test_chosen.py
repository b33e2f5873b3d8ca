"""A prior that learns from drawn faces, too, which somebody chose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from configs.cli import UserError
from engine.training.batches import GlobalBatches
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.chosen import joined_weights, together
from vqvae.tokens.packed import pack
from vqvae.tokens.store import TokenStore


def faces(count: int, emotions: list[int], columns: int = 2, code: int = 1) -> TokenStore:
    labels = np.eye(7, dtype=np.float32)[np.resize(emotions, count)]
    attributes = np.zeros((count, columns), np.int8)
    return TokenStore(np.full((2, count, 4, 2), code, np.int16), labels, np.ones(count, np.int8), None, attributes)


def test_chosen_faces_have_their_share_and_each_emotion_alike() -> None:
    real, chosen = faces(300, [3, 3, 3, 2]), faces(40, [2, 2, 2, 2, 2, 2, 2, 5], code=7)
    both, weights = together(real, chosen), joined_weights(real, chosen, 0.5, 0.25)
    assert len(both) == len(weights) == 340
    assert weights[:300].sum() == pytest.approx(0.75)
    assert weights[300:][chosen.labels[:, 5] > 0].sum() == pytest.approx(0.125)
    drawn = np.concatenate([GlobalBatches(340, 50, seed=0, weights=weights)(step)[1] for step in range(80)])
    assert (both.tokens[0, drawn, 0, 0] == 7).mean() == pytest.approx(0.25, abs=0.03)


def test_faces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="1 attributes, but"):
        together(faces(3, [0]), faces(3, [0], columns=1))
    with pytest.raises(UserError, match="a file holds no faces"):
        together(faces(3, [0]), faces(0, [0]))


def test_a_prior_learns_from_them(tiny_runs: Any, tmp_path: Path) -> None:
    # 25 positions of two codes: see TOKENIZER of the tiny runs.
    weights = tiny_runs.folder / "with" / "weights" / "tokenizer"
    tiny_runs.untrained_tokenizer(weights)
    tokenizer = Tokenizer.from_pretrained(weights)
    shape = (2, 6, tokenizer.config.grid**2, tokenizer.config.groups)
    store = TokenStore(np.full(shape, 3, np.int16), faces(6, [2]).labels, np.zeros(6, np.int8))
    path = tmp_path / "chosen.safetensors"
    pack(store, path, tokenizer.config.codebook_size, tokenizer.encoding_sha256())
    more = [f"prior_stage.chosen=[{path},{path}]", "prior_stage.chosen_share=0.9", "prior_stage.epochs=6"]
    assert tiny_runs.train("with", "prior", *more) == 0
    assert tiny_runs.train("without", "prior", more[-1]) == 0
    last = {name: np.mean([row["loss"] for row in tiny_runs.figures(name, "prior")][-8:]) for name in ("with", "without")}
    # All their codes are one: whoever learned from them guesses it.
    assert last["with"] < last["without"] - 0.3
    pack(store, path, tokenizer.config.codebook_size, "of another")
    with pytest.raises(UserError, match="another tokenizer"):
        tiny_runs.train("again", "prior", *more)


def test_a_part_of_the_former_weights_stays(tiny_runs: Any) -> None:
    assert tiny_runs.train("first", "prior", "prior_stage.epochs=1") == 0
    init = tiny_runs.folder / "first" / "weights"
    for name, share in (("whole", 1.0), ("half", 0.5)):
        (tiny_runs.folder / name).mkdir()
        shutil.copytree(init / "tokenizer", tiny_runs.folder / name / "weights" / "tokenizer")
        more = [f"prior_stage.init={init / 'prior'}", f"prior_stage.share={share}", "prior_stage.epochs=2"]
        assert tiny_runs.train(name, "prior", *more) == 0
    first, whole, half = (load_file(tiny_runs.weights(name, "prior")) for name in ("first", "whole", "half"))
    assert max((whole[name] - first[name]).abs().max() for name in first) > 0.01
    for name, each in half.items():
        torch.testing.assert_close(each.float(), 0.5 * (first[name].float() + whole[name].float()), atol=2e-3, rtol=2e-2)
    with pytest.raises(UserError, match="keeps a part of a trained prior"):
        tiny_runs.train("none", "prior", "prior_stage.share=0.5")
    # The tiny prior has one block, and no exit.
    with pytest.raises(UserError, match="has another early exit"):
        tiny_runs.train("exit", "prior", more[0], "prior_stage.share=0.5", "prior_stage.exit=1", "prior.depth=2")
