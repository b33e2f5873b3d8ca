"""Networks that read emotions, by registered name: one trunk, one linear head per label scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from encoder.config import ModelConfig
from encoder.emotions import FERPLUS_NAMES, NUM_EMOTIONS

HEAD_CLASSES: dict[str, int] = {"fer2013": NUM_EMOTIONS, "ferplus": len(FERPLUS_NAMES)}


class EncoderOutput(NamedTuple):
    """What a network says of N faces: ``logits[head]`` (N, classes), ``embedding`` (N, D), ``maps`` stage by stage."""

    logits: dict[str, Tensor]
    embedding: Tensor
    maps: tuple[Tensor, ...]


class EmotionNet(nn.Module):
    """A trunk of stages, a neck that turns the last maps into an embedding, and the heads.

    Builders fill ``stages``; ``forward`` takes (N, 1, S, S) normalised by :func:`encoder.inference.preprocessing.normalise`, or
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


def register_model(name: str, **input_kind: Any) -> Callable[[Builder], Builder]:
    """Decorator: make a network available to configurations as ``model.name``; keywords as in :class:`RegisteredModel`.

    On the CPU maps lie channels last (:mod:`encoder.inference.folded`): use ``flatten`` or ``reshape``, not ``view``.
    """

    def add(build: Builder) -> Builder:
        _REGISTRY[name] = RegisteredModel(build, **input_kind)
        return build

    return add
