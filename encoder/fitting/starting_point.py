"""What a training of the encoder starts from: the network and its weights, the optimiser, the measured normalisation."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from configs.cli import UserError
from encoder.config import EncoderConfig, PreprocessingConfig, TrainConfig
from encoder.data.face_set import FaceSet
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.create import check_input, create_model, list_models, registered_model
from encoder.models.emotion_net import EmotionNet
from engine.training.optimization import adamw, decay_groups

# Weights of others that ``train.init`` knows by name.
PUBLISHED = ("imagenet", "deepface")


def measured_preprocessing(config: PreprocessingConfig, train: FaceSet) -> PreprocessingConfig:
    """``config``, with mean and deviation of the training faces as fixed constants where it asks for ``data_set``."""
    if config.normalisation != "data_set":
        return config
    counts = np.bincount(train.images.ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = float((counts * levels).sum() / counts.sum())
    deviation = float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))
    return config.model_copy(update={"normalisation": "fixed", "mean": mean, "std": max(deviation, 1e-3)})


def make_net(config: EncoderConfig) -> EmotionNet:
    """The network to train, seeded, with the weights it starts from and the layers that do not learn.

    Raises UserError: settings that do not go together, or weights that cannot be had.
    """
    check_input(config.model, config.preprocessing)
    if config.augment.saturation:
        raise UserError("augment.saturation: the data sets of this program are read as grey, which has none; set it to 0")
    settings = config.train
    torch.manual_seed(settings.seed)
    net = create_model(config.model)
    if settings.init == "imagenet":
        load_imagenet = registered_model(config.model.name).load_imagenet
        if load_imagenet is None:
            having = ", ".join(name for name in list_models() if registered_model(name).load_imagenet)
            raise UserError(f"train.init: there are no ImageNet weights for {config.model.name}; there are for {having}")
        load_imagenet(net)
    elif settings.init == "deepface":
        _load_deepface(net, config.preprocessing)
    elif settings.init is not None:
        start = EmotionEncoder.from_pretrained(settings.init).net
        if start.config != config.model:
            raise UserError(f"train.init: {settings.init} holds another model than model.* describes")
        net.load_state_dict(start.state_dict())
    if settings.reset_heads:
        if settings.init is None:
            raise UserError("train.reset_heads: heads are fresh anyway without train.init; set it to false")
        for head in net.heads.values():
            head.reset_parameters()  # type: ignore[operator]
    freeze(net, settings.trainable)
    return net


def _load_deepface(net: EmotionNet, preprocessing: PreprocessingConfig) -> None:
    from encoder.models.deepface_weights import load_published_weights

    if net.config.name != "deepface":
        raise UserError(f"train.init: DeepFace's weights fit model.name=deepface, not {net.config.name}")
    if (preprocessing.normalisation, preprocessing.mean, preprocessing.std) != ("fixed", 0.0, 1.0):
        raise UserError(
            "preprocessing.normalisation: DeepFace's weights read grey levels from 0 to 1; "
            "set preprocessing.normalisation=fixed preprocessing.mean=0.0 preprocessing.std=1.0"
        )
    load_published_weights(net)


def make_optimizer(net: EmotionNet, settings: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of the parameters that learn; vectors (norms, biases) are not decayed, the trunk learns more slowly."""
    trunk = nn.ModuleList([part for name, part in net.named_children() if name != "heads"])
    slow = [{**group, "lr_scale": settings.trunk_rate} for group in decay_groups(trunk, settings.weight_decay)]
    groups = [group for group in (*slow, *decay_groups(net.heads, settings.weight_decay)) if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)
    return adamw(groups, lr=settings.learning_rate)


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
