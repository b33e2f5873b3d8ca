"""Networks of others: used where their weights are, never fetched. Here random networks stand in for them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.cli import UserError
from eval.measures import borrowed as networks


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Files of the right names, and every package."""
    for name in (networks.INCEPTION_FILE, networks.LPIPS_FILE):
        (tmp_path / name).touch()
    monkeypatch.setattr(networks, "_checkpoints", lambda: tmp_path)
    monkeypatch.setattr(networks, "find_spec", lambda _: object())
    return tmp_path


def test_without_weights_nothing_is_measured_and_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(networks, "_checkpoints", lambda: tmp_path)
    for reason in (networks.inception_missing(), networks.lpips_missing()):
        assert reason is not None
        assert reason.startswith("not measured: weights absent")
    faces = np.zeros((2, 8, 8), np.uint8)
    for measure in (networks.inception_features, networks.lpips_diversity):
        with pytest.raises(UserError, match="weights absent"):
            measure(faces, torch.device("cpu"))


def test_a_missing_package_is_named(present: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert networks.inception_missing() is None
    monkeypatch.setattr(networks, "find_spec", lambda name: None if name == "torch_fidelity" else object())
    assert networks.inception_missing() == "not measured: package torch_fidelity is not installed"


def test_inception_gets_three_channels_of_bytes(present: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    given: list[torch.Tensor] = []

    class Stand(torch.nn.Module):
        def __init__(self, _name: str, _features: list[str], weights: str) -> None:
            super().__init__()
            assert Path(weights) == present / networks.INCEPTION_FILE

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            given.append(x)
            return x.float().mean(dim=(2, 3))

    monkeypatch.setattr(fid, "NoTrainInceptionV3", Stand)
    faces = rng.integers(0, 256, (70, 8, 8), np.uint8)
    features = networks.inception_features(faces, torch.device("cpu"))
    assert features == pytest.approx(np.repeat(faces.mean(axis=(1, 2))[:, None], 3, axis=1), rel=1e-5)
    assert {x.dtype for x in given} == {torch.uint8}


def test_lpips_finds_copies_alike_and_others_not(
    present: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    monkeypatch.setattr(lpips, "LPIPS", functools.partial(lpips.LPIPS, pnet_rand=True))
    one = rng.integers(0, 256, (1, 48, 48), np.uint8)
    assert networks.lpips_diversity(np.repeat(one, 4, axis=0), torch.device("cpu"), pairs=3) == pytest.approx(0, abs=1e-6)
    assert networks.lpips_diversity(rng.integers(0, 256, (6, 48, 48), np.uint8), torch.device("cpu"), pairs=70) > 0
