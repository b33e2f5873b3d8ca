"""The masked prior sees only what it may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.training.batches import GlobalBatches
from vqvae.config import PriorConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.token_batches import TokenBatches, hide_positions, sampling_weights
from vqvae.token_store import TokenStore

SHAPE = PriorShape(prior=PriorConfig(width=16, depth=2, heads=2, dropout=0.0), positions=9, groups=2, codebook_size=8)


def make() -> MaskedPrior:
    torch.manual_seed(0)
    return MaskedPrior(SHAPE)


def some(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 8, (count, 9, 2))
    return tokens, torch.rand(count, 9) < 0.5, torch.softmax(torch.randn(count, 7), 1), torch.zeros(count, dtype=torch.int64)


def store_of(labels: np.ndarray) -> TokenStore:
    return TokenStore(np.zeros((2, len(labels), 9, 2), np.int16), labels, np.zeros(len(labels), np.int8))


def test_hidden_tokens_are_never_seen() -> None:
    prior = make().eval()
    tokens, hidden, emotion, source = some()
    changed = torch.where(hidden.unsqueeze(-1), (tokens + 1) % 8, tokens)
    assert torch.equal(prior.trunk(tokens, hidden, emotion, source), prior.trunk(changed, hidden, emotion, source))


def test_visible_tokens_emotion_and_source_matter() -> None:
    prior = make().eval()
    tokens, hidden, emotion, source = some()
    states = prior.trunk(tokens, hidden, emotion, source)
    seen = torch.where(hidden.unsqueeze(-1), tokens, (tokens + 1) % 8)
    assert not torch.equal(states, prior.trunk(seen, hidden, emotion, source))
    assert not torch.equal(states, prior.trunk(tokens, hidden, emotion.flip(1), source))
    assert not torch.equal(states, prior.trunk(tokens, hidden, torch.zeros_like(emotion), source))
    assert not torch.equal(states, prior.trunk(tokens, hidden, emotion, source + 1))


def test_the_second_code_knows_the_first() -> None:
    prior = make().eval()
    states = torch.randn(3, 16)
    a, b = (prior.head(states, 1, torch.full((3,), code)) for code in (0, 1))
    assert not torch.allclose(a, b)


def test_every_parameter_gets_a_gradient() -> None:
    prior = make().train()
    tokens, hidden, emotion, source = some(16)
    prior(tokens, hidden, emotion, source).backward()
    assert [n for n, p in prior.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_some_position_is_always_hidden() -> None:
    hidden = hide_positions(torch.rand(500, 10))
    assert hidden.sum(dim=1).min() >= 1
    assert 4 < hidden.float().sum(dim=1).mean() < 7.5


def test_rare_sampling_balances_the_emotions() -> None:
    labels = np.eye(7, dtype=np.float32)[[0] * 90 + [1] * 10]
    weights = sampling_weights(store_of(labels), 1.0)
    assert np.isclose(weights[:90].sum(), weights[90:].sum())
    assert np.allclose(sampling_weights(store_of(labels), 0.0), 1.0)


def test_rare_sampling_takes_no_face_without_a_label_for_an_angry_one() -> None:
    labelled = np.eye(7, dtype=np.float32)[[0] * 10 + [3] * 40]
    weights = sampling_weights(store_of(np.concatenate([labelled, np.zeros((50, 7), np.float32)])), 0.5)
    assert np.allclose(weights[:50], sampling_weights(store_of(labelled), 0.5))
    assert np.allclose(weights[50:], weights[:50].mean())
    assert np.allclose(sampling_weights(store_of(np.zeros((9, 7), np.float32)), 0.5), 1.0)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_emotion_of_a_share_of_faces_is_hidden(share: float) -> None:
    labels = np.eye(7, dtype=np.float32)[np.arange(500) % 7]
    make_batch = TokenBatches(store_of(labels), GlobalBatches(500, 500, seed=1), seed=1, label_dropout=share)
    told = make_batch(3)[2]
    hidden = told.sum(axis=1) == 0
    assert abs(hidden.mean() - share) <= 0.1
    assert hidden.any() == (share > 0)
    assert np.allclose(told[~hidden].sum(axis=1), 1.0)


def test_weights_survive_saving(tmp_path: Path) -> None:
    prior = make().eval()
    prior.save_pretrained(tmp_path / "p")
    loaded = MaskedPrior.from_pretrained(tmp_path / "p")
    args = some()
    torch.testing.assert_close(loaded.trunk(*args), prior.trunk(*args), atol=2e-2, rtol=2e-2)
