"""The default quantiser: nearest codes, straight-through gradients, EMA updates, restarts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vqvae.quantizers.ema_codebook import EmaQuantizer


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def started(size: int = 8, dim: int = 4, groups: int = 2, **options: float) -> EmaQuantizer:
    quantizer = EmaQuantizer(size, dim, groups, **options)  # type: ignore[arg-type]
    quantizer.started.fill_(1.0)
    return quantizer


def test_tokens_are_the_nearest_codes_of_each_group() -> None:
    quantizer = started().eval()
    vectors = torch.randn(50, 8)
    quantised, tokens, _, _ = quantizer(vectors)
    for group in range(2):
        part = F.normalize(vectors[:, 4 * group : 4 * group + 4], dim=1)
        distances = torch.cdist(part, quantizer.codes[group])
        assert torch.equal(tokens[:, group], distances.argmin(dim=1))
        torch.testing.assert_close(quantised[:, 4 * group : 4 * group + 4], quantizer.codes[group][tokens[:, group]])


def test_gradients_pass_straight_through() -> None:
    quantizer = started().eval()
    vectors = torch.randn(5, 8, requires_grad=True)
    quantised, _, _, _ = quantizer(vectors)
    weights = torch.randn(5, 8)
    (quantised * weights).sum().backward()
    normalised = vectors.detach().clone().requires_grad_()
    split = torch.cat([F.normalize(part, dim=1) for part in normalised.split(4, dim=1)], dim=1)
    (split * weights).sum().backward()
    torch.testing.assert_close(vectors.grad, normalised.grad)


def test_the_first_batch_starts_the_codes_by_k_means() -> None:
    centres = F.normalize(torch.randn(4, 8), dim=1)
    vectors = centres.repeat(50, 1) + 0.01 * torch.randn(200, 8)
    quantizer = EmaQuantizer(4, 8, 1, restart_after=0.0)
    _, tokens, commitment, _ = quantizer.train()(vectors)
    assert bool(quantizer.started)
    assert float(commitment.detach()) < 1.0
    assert len(tokens.unique()) >= 3


def test_dead_codes_are_restarted_and_survive_the_next_update() -> None:
    quantizer = started(size=16, dim=4, groups=1, decay=0.5, restart_after=0.1)
    quantizer.codes[0] = F.normalize(-torch.ones(16, 4), dim=1)
    quantizer.codes[0, 0] = F.normalize(torch.ones(4), dim=0)
    quantizer.sums.copy_(quantizer.codes)
    for _ in range(12):
        _, tokens, _, _ = quantizer.train()(torch.randn(256, 4))
    assert len(tokens.unique()) >= 14
    assert (quantizer.codes.norm(dim=-1) - 1).abs().max() < 1e-5


def test_evaluation_moves_nothing() -> None:
    quantizer = started().eval()
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    quantizer(torch.randn(30, 8))
    assert all(torch.equal(before[name], tensor) for name, tensor in quantizer.state_dict().items())


class WaitingOperations(TorchDispatchMode):
    """Notes what would make the CPU wait for a GPU: operations whose result, or its size, the CPU has to see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "bincount", "nonzero", "masked_select", "_unique2"):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_no_step_but_the_first_waits_for_the_device() -> None:
    quantizer = EmaQuantizer(8, 4, 2).train()
    quantizer(torch.randn(50, 8))
    assert float(quantizer.started) == 1.0
    with WaitingOperations() as waiting:
        quantizer(torch.randn(50, 8))
    assert waiting.found == []


def test_codes_that_were_loaded_are_not_started_again_and_those_that_never_were_are() -> None:
    fresh, trained = EmaQuantizer(8, 4, 2).state_dict(), EmaQuantizer(8, 4, 2).train()
    trained(torch.randn(50, 8))
    loaded = EmaQuantizer(8, 4, 2, decay=1.0, restart_after=0.0).train()
    loaded.load_state_dict(trained.state_dict())
    loaded(torch.randn(50, 8))
    torch.testing.assert_close(loaded.codes, trained.codes)
    trained.load_state_dict(fresh)
    trained(torch.randn(50, 8))
    assert float(trained.started) == 1.0
