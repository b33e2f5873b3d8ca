"""Networks by name: every file that registers one is imported here."""

from __future__ import annotations

from configs.cli import UserError
from encoder.config import ModelConfig, PreprocessingConfig

# Each registers its networks when it is imported.
from encoder.models import compact, earlier, imagenet  # noqa: F401
from encoder.models.emotion_net import _REGISTRY, EmotionNet, RegisteredModel


def registered_model(name: str) -> RegisteredModel:
    """What is known of a registered network. Raises UserError: the name is that of a model on landmarks."""
    if name not in _REGISTRY:
        raise UserError(f"model.name: {name} reads landmarks, not pictures; networks are {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name]


def list_models() -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted(_REGISTRY))


def create_model(config: ModelConfig) -> EmotionNet:
    """The network that ``config`` describes, with fresh weights.

    Raises UserError: ``widths`` and ``depths`` differ in length, or are set for a network that has its own.
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

    Raises UserError: a size that does not fit the network, or ImageNet's normalisation for a network that reads grey.
    """
    entry, side = registered_model(model.name), preprocessing.size
    if entry.size is not None and side != entry.size:
        raise UserError(f"preprocessing.size: {model.name} reads {entry.size} pixels, not {side}; set size={entry.size}")
    if side < entry.smallest:
        raise UserError(f"preprocessing.size: {model.name} needs at least {entry.smallest} pixels, got {side}")
    if preprocessing.normalisation == "imagenet" and not entry.colour:
        raise UserError(f"preprocessing.normalisation: imagenet makes three channels, and {model.name} reads grey; use another")
