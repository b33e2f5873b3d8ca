"""Linear layers through oneDNN give what PyTorch's own give, and stay out of the way of training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vqvae import fast_linear
from vqvae.fast_linear import linear, linear_gelu, matrix


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(24, 40)


@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (3, 5, 24), (2, 0, 24)])
def test_it_is_the_same_map(layer: nn.Linear, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, layer), layer(x))
        torch.testing.assert_close(linear_gelu(x, layer), F.gelu(layer(x), approximate="tanh"))
        torch.testing.assert_close(linear(x, layer, slice(8, 24)), layer(x)[..., 8:24])


def test_cut_and_turned_inputs_are_read_as_they_lie(layer: nn.Linear) -> None:
    x = torch.randn(6, 24, 5)
    with torch.inference_mode():
        torch.testing.assert_close(linear(x.mT, layer), layer(x.mT.contiguous()))
        torch.testing.assert_close(linear(x.mT[:, ::2], layer), layer(x.mT[:, ::2].contiguous()))
        torch.testing.assert_close(matrix(x[0].mT, layer.weight[::2], layer.bias[::2]), layer(x[0].mT.contiguous())[..., ::2])


def test_it_is_taken_where_the_build_has_it(layer: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    calls: list[object] = []
    original = fast_linear._onednn
    monkeypatch.setattr(fast_linear, "_onednn", lambda *arguments: calls.append(arguments) or original(*arguments))
    with torch.inference_mode():
        linear_gelu(linear(torch.randn(3, 40), nn.Linear(40, 24)), layer)
    assert len(calls) == 2
    linear(torch.randn(3, 24), layer)
    assert len(calls) == 2


def test_training_has_its_gradients(layer: nn.Linear) -> None:
    x = torch.randn(4, 24, requires_grad=True)
    linear(linear_gelu(x, layer), nn.Linear(40, 3)).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_half_precision_is_kept(layer: nn.Linear) -> None:
    x = torch.randn(4, 24)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert linear(x, layer).dtype == linear_gelu(x, layer).dtype == torch.bfloat16
        expected = F.gelu(layer(x), approximate="tanh")
        torch.testing.assert_close(linear_gelu(x, layer), expected, atol=0.02, rtol=0.02)
    with torch.inference_mode():
        assert linear(x.bfloat16(), layer.bfloat16()).dtype == torch.bfloat16


def test_a_build_without_onednn_does_without(layer: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    x = torch.randn(4, 24)
    with torch.inference_mode():
        assert fast_linear._fused_dtype(x) is None
        assert torch.equal(linear(x, layer), layer(x))
        assert torch.equal(linear_gelu(x, layer), F.gelu(layer(x), approximate="tanh"))
