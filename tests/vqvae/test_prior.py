"""The masked prior sees only what it may see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.training.batches import GlobalBatches
from vqvae.attributes import NOT_TOLD, attribute_row
from vqvae.config import PriorConfig, PriorStageConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.prior_stage import make_optimizers
from vqvae.tokens.batches import TokenBatches, hide_positions, sampling_weights
from vqvae.tokens.store import TokenStore

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
    a, b = (prior.head(states, 1, torch.full((3, 1), code)) for code in (0, 1))
    assert not torch.allclose(a, b)


@pytest.mark.parametrize(("sees", "matters"), [("last", [False, False, True]), ("all", [True, True, True])])
def test_the_fourth_code_knows_the_last_or_all_before(sees: str, matters: list[bool]) -> None:
    torch.manual_seed(0)
    shape = SHAPE.model_copy(update={"groups": 4, "prior": SHAPE.prior.model_copy(update={"sees": sees})})
    prior, states, codes = MaskedPrior(shape).eval(), torch.randn(5, 16), torch.zeros(5, 3, dtype=torch.int64)
    as_before = prior.head(states, 3, codes)
    for group, expected in enumerate(matters):
        changed = codes.clone()
        changed[:, group] = 1
        assert (not torch.equal(as_before, prior.head(states, 3, changed))) == expected
    with pytest.raises(ValueError, match="3 groups are needed"):
        prior.head(states, 3, codes[:, :2])


def with_attributes() -> MaskedPrior:
    torch.manual_seed(0)
    return MaskedPrior(SHAPE.model_copy(update={"prior": SHAPE.prior.model_copy(update={"attributes": ("hands", "age")})}))


def test_attributes_that_are_told_matter_each_on_its_own() -> None:
    prior, args = with_attributes().eval(), some()
    told = torch.tensor([[0, 3]] * 4)
    states = prior.trunk(*args, attributes=told)
    for changed in ([1, 3], [0, 4], [NOT_TOLD, 3], [0, NOT_TOLD]):
        assert not torch.equal(states, prior.trunk(*args, attributes=torch.tensor([changed] * 4)))
    nothing = torch.full((4, 2), NOT_TOLD)
    assert torch.equal(prior.trunk(*args), prior.trunk(*args, attributes=nothing))


def test_attributes_have_names_and_classes() -> None:
    assert attribute_row({"eyes": "closed", "age": "70+"}) == (NOT_TOLD, 1, NOT_TOLD, 8, NOT_TOLD)
    with pytest.raises(ValueError, match="not in tuple"):
        attribute_row({"eyes": "shut"})


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_each_attribute_is_hidden_on_its_own_and_an_unknown_one_stays_unknown(share: float) -> None:
    labels, known = np.eye(7, dtype=np.float32)[np.zeros(600, int)], np.ones((600, 2), np.int8)
    known[:100, 1] = NOT_TOLD
    store = dataclasses.replace(store_of(labels), attributes=known)
    told = TokenBatches(store, GlobalBatches(600, 600, seed=1), seed=1, label_dropout=0.2, attribute_dropout=share)(0)[4]
    first, second = told[:, 0] == NOT_TOLD, told[:, 1] == NOT_TOLD
    assert abs(first.mean() - share) <= 0.08
    assert second.sum() >= 100
    assert (first != second).any()
    assert first.any() == (share > 0)


def test_muon_moves_the_matrices_of_the_blocks_and_adamw_all_else() -> None:
    prior = with_attributes()
    optimizers = make_optimizers(prior, PriorStageConfig(optimizer="muon"))
    theirs = {name: {id(p) for group in each.param_groups for p in group["params"]} for name, each in optimizers.items()}
    assert theirs["prior"].isdisjoint(theirs["hidden"])
    assert theirs["prior"] | theirs["hidden"] == {id(p) for p in prior.parameters()}
    blocks = {id(m.weight) for m in prior.blocks.modules() if isinstance(m, torch.nn.Linear)}
    assert theirs["hidden"] == blocks


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
