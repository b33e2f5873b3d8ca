"""VGG16 and ResNet-50 as torchvision builds them, with their published ImageNet weights where those can be had.

Grey faces are repeated to three channels; ``preprocessing.normalisation=imagenet`` gives each the constants with which the
weights were trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import ModelConfig
from encoder.models.emotion_net import EmotionNet, register_model


class _RepeatGrey(nn.Module):
    """(N, 1, S, S) to (N, 3, S, S); three channels pass."""

    def forward(self, faces: Tensor) -> Tensor:
        return faces.expand(-1, 3, -1, -1) if faces.shape[1] == 1 else faces


def load_imagenet_weights(net: EmotionNet) -> None:
    """Put torchvision's published weights into the convolutions of ``net`` (``vgg16`` or ``resnet50``).

    torchvision downloads them once, checks their hash and keeps them in its cache. Raises UserError: they are not in the
    cache and cannot be downloaded.
    """
    import torchvision

    trunk, published, prefix = {
        "vgg16": (_vgg_trunk, torchvision.models.VGG16_Weights.IMAGENET1K_V1, "features."),
        "resnet50": (_resnet_trunk, torchvision.models.ResNet50_Weights.IMAGENET1K_V1, ""),
    }[net.config.name]
    try:
        # Without weights_only a file put into the cache could run code.
        tensors = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # no network, no space, another hash, a damaged file: torch promises no set
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"train.init: the ImageNet weights of {net.config.name} cannot be had ({reason}); fetch {published.url} into "
            "torch's hub folder (TORCH_HOME/hub/checkpoints), or train from scratch with train.init=null"
        ) from None
    wanted = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    trunk(net).load_state_dict({name: value for name, value in wanted.items() if not name.startswith("fc.")})


@register_model("vgg16", smallest=32, colour=True, load_imagenet=load_imagenet_weights)
def _vgg16(config: ModelConfig) -> EmotionNet:
    """The thirteen convolutions of VGG16 (Simonyan & Zisserman, 2015) under one new dense layer of 512.

    Its own three dense layers hold 120 of its 138 million parameters and fit one input size only; like the projects that
    transferred it to faces, this leaves them out.
    """
    from torchvision.models.vgg import cfgs, make_layers

    groups: list[list[nn.Module]] = [[_RepeatGrey()]]
    for layer in make_layers(cfgs["D"]):
        if isinstance(layer, nn.MaxPool2d):
            groups.append([])
        groups[-1].append(layer)
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    *stages, (last_pool,) = groups
    neck = nn.Sequential(last_pool, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 512), nn.ReLU())
    return EmotionNet(config, [nn.Sequential(*stage) for stage in stages], 512, neck)


def _vgg_trunk(net: EmotionNet) -> nn.Module:
    layers = [layer for stage in net.stages for layer in stage.children() if not isinstance(layer, _RepeatGrey)]
    return nn.Sequential(*layers)


@register_model("resnet50", smallest=32, colour=True, load_imagenet=load_imagenet_weights)
def _resnet50(config: ModelConfig) -> EmotionNet:
    """ResNet-50 (He et al., 2016) with new classes."""
    import torchvision

    build: Callable[..., Any] = torchvision.models.resnet50
    net = build(weights=None)
    stages = [
        nn.Sequential(_RepeatGrey(), net.conv1, net.bn1, net.relu),
        nn.Sequential(net.maxpool, net.layer1),
        net.layer2,
        net.layer3,
        net.layer4,
    ]
    return EmotionNet(config, stages, 2048)


def _resnet_trunk(net: EmotionNet) -> nn.Module:
    stem, first, *later = net.stages
    named = {"conv1": stem[1], "bn1": stem[2], "layer1": first[1]}  # type: ignore[index]
    return nn.ModuleDict(named | {f"layer{number}": stage for number, stage in enumerate(later, 2)})
