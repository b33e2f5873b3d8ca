"""DeepFace's published emotion network as weights of this project, so that ``encoder.evaluate`` measures it.

The network and its weights come from DeepFace's own code, which downloads them at first use; nothing of them is part of
this project.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import add_overwrite, command, command_parser
from encoder.models.deepface_weights import load_published_weights

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder

EXAMPLES = """examples:
  python -m encoder.import_deepface --out weights/deepface
  python -m encoder.evaluate --weights weights/deepface --data DATA

DeepFace downloads its weights once, into $DEEPFACE_HOME/.deepface/weights. Their licence is DeepFace's (MIT). The network
reads the same 48x48 faces as every other one; DeepFace itself would scale each crop to 224 pixels and back first."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.import_deepface", __doc__, EXAMPLES)
    parser.add_argument("--out", type=Path, required=True, help="folder for config.json and model.safetensors")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Convert and write; exit code 0."""
    arguments = build_parser().parse_args(argv)
    from engine.storage.atomic import require_new
    from engine.storage.weights import CONFIG_FILE

    require_new([arguments.out / CONFIG_FILE], arguments.overwrite)
    encoder = published_encoder()
    encoder.save_pretrained(
        arguments.out, data={"source": "DeepFace's published weights, trained on FER-2013 by its authors; not calibrated"}
    )
    print(f"written to {arguments.out}; measure it with")
    print(f"  python -m encoder.evaluate --weights {arguments.out} --data DATA")
    return 0


def published_encoder() -> EmotionEncoder:
    """DeepFace's network with its published weights, as it answers without any calibration.

    Raises UserError: deepface is missing, the weights cannot be had, or it is not the network that is known here.
    """
    from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.models.create import create_model

    net = create_model(ModelConfig(name="deepface", dropout=0.2, heads=("fer2013",)))
    load_published_weights(net)
    # It reads grey levels from 0 to 1.
    return EmotionEncoder(net, PreprocessingConfig(size=48, normalisation="fixed", mean=0.0, std=1.0), CalibrationConfig())


cli = command(main)


if __name__ == "__main__":
    cli()
