"""Linear layers of sampling on a CPU, through oneDNN.

In float32 PyTorch hands them to MKL, which on processors of other makers than Intel leaves the widest registers unused:
oneDNN took 0.45 of its time on an AMD EPYC (Zen 5), and 0.3 with the GELU that follows in the same pass. The operator is the
one that torch.compile emits, so no compiler is needed here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, layer: nn.Linear, rows: slice = slice(None)) -> Tensor:
    """(…, in) to (…, out) as ``layer`` does it, or only the ``rows`` of what it gives."""
    return matrix(x, layer.weight[rows], layer.bias[rows])


def linear_gelu(x: Tensor, layer: nn.Linear) -> Tensor:
    """``layer`` and a GELU (Hendrycks & Gimpel, 2016; its approximation by tanh)."""
    if _through_onednn(x):
        return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "tanh")
    return F.gelu(layer(x), approximate="tanh")


def matrix(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(…, in) times (out, in) transposed, plus (out,)."""
    if _through_onednn(x):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def _through_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        # It has no gradient, and half precision goes to oneDNN anyway.
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
