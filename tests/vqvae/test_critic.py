"""A critic tells real from made, and ranks a face among real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from vqvae.critics.critic import CriticConfig, RealismCritic, separation


def critic(name: str = "strided") -> RealismCritic:
    torch.manual_seed(0)
    return RealismCritic(CriticConfig(name=name, channels=3, widths=(8, 16))).eval()


@pytest.mark.parametrize("name", ["strided", "pooled"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = critic(name).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(2):
        # Residual branches that start at zero pass no gradient on in the first step.
        optimizer.zero_grad()
        net(torch.rand(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    assert [n for n, p in net.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_realism_is_the_rank_among_real_faces(tmp_path: Path) -> None:
    net, faces = critic(), torch.rand(40, 3, 32, 32)
    with pytest.raises(ValueError, match="no scale"):
        net.realism(faces)
    logits = net(faces).detach().numpy()
    net.measure(logits)
    ranked = net.realism(faces)
    assert ranked.min() == 0.0
    assert ranked.max() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_array_equal(ranked.argsort(), logits.argsort())
    assert np.median(ranked) == pytest.approx(0.5, abs=0.02)
    net.tokens = {"prior": "ab" * 32}
    net.save_pretrained(tmp_path / "c", data={"train_faces": 3})
    loaded = RealismCritic.from_pretrained(tmp_path / "c")
    assert loaded.tokens == net.tokens
    np.testing.assert_allclose(loaded.realism(faces), ranked, atol=0.03)
    assert loaded.realism(faces[:0]).shape == (0,)


def test_separation_is_the_area_under_the_curve(rng: np.random.Generator) -> None:
    real, made = rng.integers(0, 6, 50).astype(float), rng.integers(-2, 5, 70).astype(float)
    assert separation(real, made) == pytest.approx(mannwhitneyu(real, made).statistic / (50 * 70))
    assert separation(real, real) == pytest.approx(0.5)
