"""Linear layers of sampling on a CPU, through oneDNN.

In float32 PyTorch hands them to MKL; on an AMD EPYC (Zen 5) oneDNN took 0.45 of its time. In bfloat16 PyTorch uses oneDNN
itself, but takes a second pass for the GELU that oneDNN can do on the way. The operator is the one that torch.compile emits;
no compiler is needed here.
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
    dtype = _fused_dtype(x)
    if dtype is None:
        return F.gelu(layer(x), approximate="tanh")
    return _onednn(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype), "gelu", [], "tanh")


def matrix(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(…, in) times (out, in) transposed, plus (out,)."""
    if _fused_dtype(x) == torch.float32:
        return _onednn(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def _fused_dtype(x: Tensor) -> torch.dtype | None:
    """What oneDNN's operator would compute in; None where it cannot: it has no gradient, and not every build and processor
    has it."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
        return None
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if dtype == torch.bfloat16:
        return dtype if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return dtype if dtype == torch.float32 else None


def _onednn(*arguments: object) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(*arguments)
