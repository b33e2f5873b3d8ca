"""A network as the CPU reads it fastest: batch norms folded into the convolutions before them, channels last in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Net = TypeVar("Net", bound=nn.Module)


class Seen:
    """A network as it was once: address and count of changes of every tensor.

    It holds those tensors' memory, so that no other tensor gets an address among them.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._state = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        self._memory = [tensor.detach() for tensor in tensors]

    def holds(self, tensors: list[Tensor]) -> bool:
        """Whether these are still the same tensors, unchanged."""
        return len(self._state) == len(tensors) and all(
            tensor.data_ptr() == address and tensor._version == changes
            for tensor, (address, changes) in zip(tensors, self._state, strict=True)
        )


class _Made(NamedTuple):
    """A copy, and the network it was made of."""

    seen: Seen
    net: nn.Module


class FoldedCopy:
    """A folded copy of a network, made when it is first read through and made anew whenever the network has changed.

    The copy answers as the network does but for rounding. A change made through ``.data`` of a parameter is not seen.
    """

    def __init__(self) -> None:
        self._made: _Made | None = None

    def __reduce__(self) -> tuple[type[FoldedCopy], tuple[()]]:
        # Copied with its encoder, or sent to another process, it starts empty.
        return FoldedCopy, ()

    def of(self, net: Net) -> Net:
        """What reads in place of ``net``: the copy, or ``net`` itself where a copy will not do.

        That is where any part of it is in training mode or has hooks, lies elsewhere than on the CPU, or is not float32.
        """
        tensors = watched(net)
        # Read once and set once: encoders answer in several threads.
        made = self._made
        if made is None or tensors is None or not made.seen.holds(tensors):
            made = None
            if tensors is not None and all(plain(tensor) for tensor in tensors):
                made = _Made(Seen(tensors), folded(net))
            self._made = made
        return net if made is None else made.net  # type: ignore[return-value]


def watched(net: nn.Module) -> list[Tensor] | None:
    """Parameters and buffers of ``net``; None where it learns or is watched. Asked at every call, hence no ``net.modules()``."""
    found: list[Tensor] = []
    modules: list[nn.Module | None] = [net]
    for module in modules:
        if module is None:
            continue
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            return None
        found += [tensor for tensor in (*module._parameters.values(), *module._buffers.values()) if tensor is not None]
        modules += module._modules.values()
    return found


def plain(tensor: Tensor) -> bool:
    """Whether it is a float32 (or a count) on the CPU that counts its changes, which tensors of inference mode do not."""
    return tensor.is_cpu and (tensor.dtype == torch.float32 or not tensor.is_floating_point()) and not tensor.is_inference()


@torch.inference_mode(False)
@torch.no_grad()
def folded(net: Net) -> Net:
    """A copy of ``net``, which is in evaluation mode: the norms that :func:`_pairs` finds folded, channels last in memory."""
    made = copy.deepcopy(net)
    for module in list(made.modules()):
        for convolution, norm in _pairs(module):
            pair: tuple[Any, Any] = module.get_submodule(convolution), module.get_submodule(norm)
            setattr(module, convolution, fuse_conv_bn_eval(*pair))
            setattr(module, norm, nn.Identity())
    return made.to(memory_format=torch.channels_last)


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of each convolution in ``module`` and the norm that follows it: neighbours in a sequence, or as it declares."""
    if type(module) is nn.Sequential:
        for (first, convolution), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                yield first, second
    else:
        yield from getattr(module, "norm_after", {}).items()
