"""Which layers learn: all of them, the dense ones, or also the last four convolutions or the last stage."""

from __future__ import annotations

from typing import Literal

from torch import nn

from encoder.model import EmotionNet

LAST_LAYERS = 4


def freeze(net: EmotionNet, trainable: Literal["all", "last_stage", "last4", "head"]) -> None:
    """Keep the rest of ``net`` as it is: its weights take no gradient, its batch norms no statistics.

    The neck and the heads always learn. ``last4`` adds the last four convolutions of the stages and every norm from the
    first of them on; ``last_stage`` those of the last stage.
    """
    if trainable == "all":
        return
    for parameter in net.stages.parameters():
        parameter.requires_grad_(False)
    layers = list(net.stages.modules())
    convolutions = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    first = len(layers)
    if trainable == "last4":
        first = convolutions[-LAST_LAYERS:][0]
    elif trainable == "last_stage":
        last = set(net.stages[-1].modules())
        first = min(place for place in convolutions if layers[place] in last)
    for place, layer in enumerate(layers):
        if not isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            continue
        if place >= first:
            layer.requires_grad_(True)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eval()
