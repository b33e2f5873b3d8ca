"""DeepFace's published emotion weights, copied layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from configs.cli import UserError

if TYPE_CHECKING:
    from encoder.models.emotion_net import EmotionNet


# Names of DeepFace's layers, and of ours.
_LAYERS = {
    "conv_1": "stages.0.0",
    "conv_2": "stages.1.1",
    "conv_3": "stages.1.3",
    "conv_4": "stages.2.1",
    "conv_5": "stages.2.3",
    "fc_1": "neck.2",
    "fc_2": "neck.5",
}


_CLASSES = "fc_3"


def load_published_weights(net: EmotionNet) -> None:
    """Put the published weights into a ``deepface`` network; a head for other labels than FER-2013's stays as it is.

    Raises UserError: see :func:`published_encoder`.
    """
    from encoder.models.deepface_client import import_deepface, load_deepface

    client = load_deepface("facial_attribute", "Emotion", "cpu")
    labels = import_deepface("deepface.models.demography.DemographyUtils").EMOTION_LABELS
    copy_layers(client.model, labels, net)


def copy_layers(source: Any, labels: Sequence[str], net: EmotionNet) -> None:
    """Copy DeepFace's torch module ``source``, whose classes are ``labels`` in that order, into ``net``.

    Raises UserError: ``source`` is another network.
    """
    import torch

    from encoder.emotions import parse_emotion

    if not isinstance(source, torch.nn.Module):
        raise UserError("DeepFace's emotion network is read from its PyTorch backend; set DEEPFACE_BACKEND_ENGINE=pytorch")
    theirs = source.state_dict()
    copied = {f"{mine}.{part}": theirs.get(f"{name}.{part}") for name, mine in _LAYERS.items() for part in ("weight", "bias")}
    if "fer2013" in net.heads:
        order = torch.tensor([int(parse_emotion(label)) for label in labels])
        for part in ("weight", "bias"):
            rows = theirs.get(f"{_CLASSES}.{part}")
            copied[f"heads.fer2013.{part}"] = None if rows is None else torch.zeros_like(rows).index_copy(0, order, rows)
    mine = net.state_dict()
    wrong = [name for name, value in copied.items() if value is None or value.shape != mine[name].shape]
    if wrong or len(theirs) != 2 * (len(_LAYERS) + 1):
        at = wrong[0] if wrong else "a layer too many"
        raise UserError(f"DeepFace's emotion network is another one than this project knows ({at}); install deepface 0.0.103")
    net.load_state_dict(mine | copied)
