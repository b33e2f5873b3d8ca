"""Does the look of generated faces give their emotion away? Real faces of other emotions, before and after the tokenizer."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError, command, command_parser

EXAMPLES = """examples:
  python -m eval.shortcut --data DATA --rows out/augmentation
  python -m eval.shortcut --data DATA --rows out/augmentation --emotions disgust --split valid

ROWS is the folder of python -m eval.augmentation. Every network in it reads all real faces that are labelled neither of
--emotions, as they are and after a pass through the tokenizer of --weights, which gives them the generator's texture and
leaves their expressions. A network that then reads many more of them as one of --emotions has learned the texture.
Writes shortcut.md, .csv and .json into ROWS."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.shortcut", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder with FER-2013")
    parser.add_argument("--rows", type=Path, required=True, help="folder of eval.augmentation")
    parser.add_argument("--emotions", default="disgust,fear", help="emotions that were generated (default: %(default)s)")
    parser.add_argument("--split", choices=("valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--weights", default="pretrained", help="of the generator (default: %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Read the faces twice with every network; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    found, generated = networks(arguments.rows)
    import numpy as np
    from tqdm import tqdm

    from encoder.data.load import load_faces
    from encoder.emotions import parse_emotion
    from encoder.evaluation.readings import read_heads
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.devices import resolve_device
    from eval.faces.look import through_tokenizer, tokenizer_of
    from eval.output.table import write_tables

    emotions = [parse_emotion(name) for name in arguments.emotions.split(",")]
    device = resolve_device("auto")
    tokenizer = tokenizer_of(generated, Path(arguments.weights).expanduser()).to(device)
    sizes: dict[int, Any] = {}
    content: dict[str, Any] = {"command": shlex.join(["python", "-m", "eval.shortcut", *argv]), "rows": {}}
    for name, folders in tqdm(found.items(), desc="networks", unit="row", disable=None):
        shares = []
        for folder in folders:
            encoder = EmotionEncoder.from_pretrained(folder).to(device)
            size = encoder.preprocessing.size
            if size not in sizes:
                faces = load_faces(Path(arguments.data).expanduser(), arguments.split, size=size)
                others = faces.subset(~np.isin(faces.labels, emotions))
                sizes[size] = others, through_tokenizer(others, tokenizer)
            read = [read_heads(encoder, faces)["fer2013"].probabilities.argmax(axis=1) for faces in sizes[size]]
            shares.append([float(np.isin(each, emotions).mean()) for each in read])
        mean = np.mean(shares, axis=0)
        content["rows"][name] = {"trainings": len(shares), "as_they_are": mean[0], "through_tokenizer": mean[1], "each": shares}
    count = len(next(iter(sizes.values()))[0])
    words, neither = (word.join(emotion.label for emotion in emotions) for word in (" or ", " nor "))
    content["notes"] = [
        f"Share of {count:,} real faces of the {arguments.split} split, labelled neither {neither}, "
        f"that is read as {words}; means over trainings. `{content['command']}`"
    ]
    columns = ["trained on", "trainings", f"read as {words}", f"read as {words} after the tokenizer"]
    lines = [
        [name, row["trainings"], f"{row['as_they_are']:.3f}", f"{row['through_tokenizer']:.3f}"]
        for name, row in content["rows"].items()
    ]
    print(write_tables(arguments.rows, "shortcut", content, columns, lines))
    return 0


def networks(folder: Path) -> tuple[dict[str, list[Path]], dict[str, Any]]:
    """Per row the folders of its weights, one a seed; and what the plan says of the generated set.

    Raises:
        UserError: there is no row, or no plan of them.
    """
    found: dict[str, list[Path]] = {}
    for weights in sorted(folder.glob("rows/*/weights/config.json")):
        row, _, _ = weights.parent.parent.name.rpartition("-s")
        found.setdefault(row, []).append(weights.parent)
    if not found:
        raise UserError(f"--rows {folder}: holds no trained rows; make them with python -m eval.augmentation")
    try:
        return found, json.loads((folder / "plan.json").read_text(encoding="utf-8"))["generated"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / 'plan.json'}: does not say which generated set the rows have ({error})") from None


cli = command(main)


if __name__ == "__main__":
    cli()
