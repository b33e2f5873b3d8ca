"""Networks that read emotions, by registered name: one trunk, one linear head per label scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import ModelConfig, PreprocessingConfig
from encoder.emotions import FERPLUS_NAMES, NUM_EMOTIONS

HEAD_CLASSES: dict[str, int] = {"fer2013": NUM_EMOTIONS, "ferplus": len(FERPLUS_NAMES)}


class EncoderOutput(NamedTuple):
    """What a network says of N faces: ``logits[head]`` (N, classes), ``embedding`` (N, D), ``maps`` stage by stage."""

    logits: dict[str, Tensor]
    embedding: Tensor
    maps: tuple[Tensor, ...]


class EmotionNet(nn.Module):
    """A trunk of stages, a neck that turns the last maps into an embedding, and the heads.

    Builders fill ``stages``; ``forward`` takes (N, 1, S, S) normalised by :func:`encoder.preprocessing.normalise`, or
    (N, 3, S, S) where the network reads colour.

    Args:
        width: length of the embedding.
        neck: (N, C, H, W) to (N, ``width``); None: global average pooling.
    """

    def __init__(self, config: ModelConfig, stages: list[nn.Module], width: int, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(stages)
        self.neck = neck if neck is not None else GlobalAverage()
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, HEAD_CLASSES[name]) for name in config.heads})

    def forward(self, faces: Tensor) -> EncoderOutput:
        maps = []
        for stage in self.stages:
            faces = stage(faces)
            maps.append(faces)
        embedding = self.neck(faces).float()
        dropped = self.dropout(embedding)
        logits = {name: head(dropped).float() for name, head in self.heads.items()}
        return EncoderOutput(logits, embedding, tuple(maps))


class GlobalAverage(nn.Module):
    """(N, C, H, W) to (N, C): the mean over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))


Builder = Callable[[ModelConfig], EmotionNet]


@dataclass(frozen=True)
class RegisteredModel:
    """A network by name, and the input it can read.

    Attributes:
        size: the only side of the input in pixels that fits its dense layers; None: any from ``smallest``.
        sized: whether ``model.widths`` and ``model.depths`` shape it; other networks are what their authors made them.
        colour: whether it reads three channels normalised as ImageNet's (grey is repeated).
        load_imagenet: puts published ImageNet weights into a network that ``build`` made; None: there are none.
    """

    build: Builder
    size: int | None = None
    smallest: int = 16
    sized: bool = False
    colour: bool = False
    load_imagenet: Callable[[EmotionNet], None] | None = None


_REGISTRY: dict[str, RegisteredModel] = {}
# Files whose import registers further networks.
_FILES = ("encoder.earlier_models", "encoder.imagenet_models")


def register_model(
    name: str,
    *,
    size: int | None = None,
    smallest: int = 16,
    sized: bool = False,
    colour: bool = False,
    load_imagenet: Callable[[EmotionNet], None] | None = None,
) -> Callable[[Builder], Builder]:
    """Decorator: make a network available to configurations as ``model.name``; see :class:`RegisteredModel`.

    On the CPU maps lie channels last (:mod:`encoder.folded`): flatten them with ``flatten`` or ``reshape``, not ``view``.
    """

    def add(build: Builder) -> Builder:
        _REGISTRY[name] = RegisteredModel(build, size, smallest, sized, colour, load_imagenet)
        return build

    return add


def registered_model(name: str) -> RegisteredModel:
    """What is known of a registered network.

    Raises:
        UserError: the name is that of a model on landmarks.
    """
    for file in _FILES:
        import_module(file)
    if name not in _REGISTRY:
        raise UserError(f"model.name: {name} reads landmarks, not pictures; networks are {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name]


def list_models() -> tuple[str, ...]:
    """Registered names, sorted."""
    for file in _FILES:
        import_module(file)
    return tuple(sorted(_REGISTRY))


def create_model(config: ModelConfig) -> EmotionNet:
    """The network that ``config`` describes, with fresh weights.

    Raises:
        UserError: ``widths`` and ``depths`` differ in length, or are set for a network that has its own.
    """
    entry = registered_model(config.name)
    if not entry.sized:
        fields = ModelConfig.model_fields
        changed = [name for name in ("widths", "depths") if getattr(config, name) != fields[name].default]
        if changed:
            raise UserError(f"model.{changed[0]}: {config.name} has its own sizes; leave model.{changed[0]} out")
    elif len(config.widths) != len(config.depths):
        raise UserError(f"model: widths has {len(config.widths)} stages but depths has {len(config.depths)}")
    return entry.build(config)


def check_input(model: ModelConfig, preprocessing: PreprocessingConfig) -> None:
    """Whether a network can read what a preprocessing makes.

    Raises:
        UserError: a size that does not fit the network, or ImageNet's normalisation for a network that reads grey.
    """
    entry, side = registered_model(model.name), preprocessing.size
    if entry.size is not None and side != entry.size:
        raise UserError(f"preprocessing.size: {model.name} reads {entry.size} pixels, not {side}; set size={entry.size}")
    if side < entry.smallest:
        raise UserError(f"preprocessing.size: {model.name} needs at least {entry.smallest} pixels, got {side}")
    if preprocessing.normalisation == "imagenet" and not entry.colour:
        raise UserError(f"preprocessing.normalisation: imagenet makes three channels, and {model.name} reads grey; use another")


class _SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, max(width // 8, 8), 1)
        self.expand = nn.Conv2d(max(width // 8, 8), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True)))))


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with squeeze-and-excitation and a shortcut (He et al., 2016)."""

    # For :mod:`encoder.folded`, which sees what a module holds and not what its forward does.
    norm_after: ClassVar = {"conv1": "norm1", "conv2": "norm2"}

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.attend = _SqueezeExcite(outputs)
        # A zero gain makes every block start as its shortcut, which lets a deep stack train at a high rate.
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride != 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.attend(self.norm2(self.conv2(y))) + self.shortcut(x))


@register_model("resnet", sized=True)
def _resnet(config: ModelConfig) -> EmotionNet:
    """Compact residual network; the stem halves the image, each further stage halves it again."""
    stem = config.widths[0] // 2
    stages: list[nn.Module] = []
    inputs = config.widths[0]
    for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        blocks: list[nn.Module] = []
        if index == 0:
            blocks += [nn.Conv2d(1, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
            blocks += [nn.Conv2d(stem, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for block in range(depth):
            blocks.append(_ResidualBlock(inputs, width, 2 if index and block == 0 else 1))
            inputs = width
        stages.append(nn.Sequential(*blocks))
    return EmotionNet(config, stages, inputs)


@register_model("plain", sized=True)
def _plain(config: ModelConfig) -> EmotionNet:
    """Plain (not residual) stack of 3x3 convolutions with max pooling and ELU, in the manner of VGG.

    Deliberately unlike ``resnet`` in shortcuts, attention, activation and pooling: two judges that share an architecture
    share its blind spots (Simonyan & Zisserman, 2015).
    """
    stages: list[nn.Module] = []
    inputs = 1
    for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        blocks: list[nn.Module] = []
        for _ in range(depth):
            blocks += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ELU()]
            inputs = width
        if index < len(config.widths) - 1:
            blocks.append(nn.MaxPool2d(2))
        stages.append(nn.Sequential(*blocks))
    return EmotionNet(config, stages, inputs)
