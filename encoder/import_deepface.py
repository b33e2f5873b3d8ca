"""DeepFace's published emotion network as weights of this project, so that ``encoder.evaluate`` measures it.

The network and its weights come from DeepFace's own code, which downloads them at first use; nothing of them is part of
this project.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, run

if TYPE_CHECKING:
    from encoder.classifier import EmotionEncoder
    from encoder.model import EmotionNet

EXAMPLES = """examples:
  python -m encoder.import_deepface --out weights/deepface
  python -m encoder.evaluate --weights weights/deepface --data DATA

DeepFace downloads its weights once, into $DEEPFACE_HOME/.deepface/weights. Their licence is DeepFace's (MIT). The network
reads the same 48x48 faces as every other one; DeepFace itself would scale each crop to 224 pixels and back first."""

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


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m encoder.import_deepface",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for config.json and model.safetensors")
    return parser


def main(argv: Sequence[str]) -> int:
    """Convert and write; exit code 0."""
    arguments = build_parser().parse_args(argv)
    encoder = published_encoder()
    encoder.save_pretrained(
        arguments.out, data={"source": "DeepFace's published weights, trained on FER-2013 by its authors; not calibrated"}
    )
    print(f"written to {arguments.out}; measure it with")
    print(f"  python -m encoder.evaluate --weights {arguments.out} --data DATA")
    return 0


def published_encoder() -> EmotionEncoder:
    """DeepFace's network with its published weights, as it answers without any calibration.

    Raises:
        UserError: deepface is missing, the weights cannot be had, or it is not the network that is known here.
    """
    from encoder.classifier import EmotionEncoder
    from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
    from encoder.model import create_model

    net = create_model(ModelConfig(name="deepface", dropout=0.2, heads=("fer2013",)))
    load_published_weights(net)
    # It reads grey levels from 0 to 1.
    return EmotionEncoder(net, PreprocessingConfig(size=48, normalisation="fixed", mean=0.0, std=1.0), CalibrationConfig())


def load_published_weights(net: EmotionNet) -> None:
    """Put the published weights into a ``deepface`` network; a head for other labels than FER-2013's stays as it is.

    Raises:
        UserError: see :func:`published_encoder`.
    """
    from encoder.deepface_models import load_deepface
    from encoder.detect_deepface import import_deepface

    client = load_deepface("facial_attribute", "Emotion", "cpu")
    labels = import_deepface("deepface.models.demography.DemographyUtils").EMOTION_LABELS
    copy_layers(client.model, labels, net)


def copy_layers(source: Any, labels: Sequence[str], net: EmotionNet) -> None:
    """Copy DeepFace's torch module ``source``, whose classes are ``labels`` in that order, into ``net``.

    Raises:
        UserError: ``source`` is another network.
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


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
