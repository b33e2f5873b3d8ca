"""Hands, text, drawings, closed eyes, blur: fit the probe on faces labelled by eye, or count them in a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, add_overwrite, command, command_parser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = """examples:
  python -m encoder.attributes --data DATA --out runs/attributes       fit; DATA holds fer2013plus/ and colour128/
  python -m encoder.attributes --data DATA --weights runs/encoder/weights --out runs/attributes
  python -m encoder.attributes --data DATA/fer2013plus --count train   how often faces of each emotion show them
  python -m encoder.attributes --data MY_FACES --count train --probe runs/attributes --weights runs/encoder/weights

A probe answers for the encoder it was fitted on, and refuses any other."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.attributes", __doc__, EXAMPLES)
    parser.add_argument("--data", type=Path, required=True, help="to fit: the folder that holds fer2013plus and colour128")
    parser.add_argument("--out", type=Path, help="folder for the probe; with --count for attributes.json, if that is wanted")
    parser.add_argument("--weights", default="pretrained/encoder", help="the encoder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds of the fit (default: %(default)s)")
    parser.add_argument("--count", choices=("train", "valid", "test"), help="count in this split of --data instead of fitting")
    parser.add_argument("--probe", default="pretrained/attributes", help="the probe that counts (default: %(default)s)")
    add_overwrite(parser)
    return parser


def _fit(arguments: argparse.Namespace) -> None:
    from encoder.attributes.assessment import assess_attributes, format_figures
    from encoder.attributes.fit import areas_text, fit_probe
    from encoder.attributes.labels import ATTRIBUTES, labelled_faces, read_labels, truths
    from encoder.attributes.probe import FEATURES, FaceAttributes, FaceFeatures, Linear, ProbeCalibration, ProbeConfig
    from encoder.inference.emotion_encoder import KIND, EmotionEncoder
    from engine.storage.atomic import require_new
    from engine.storage.weights import CONFIG_FILE, read_config, resolve_folder

    if arguments.out is None:
        raise UserError("--out: name a folder for the probe, or count with an existing one: --count train")
    require_new([arguments.out / CONFIG_FILE], arguments.overwrite)
    rows = read_labels()
    folder = resolve_folder(arguments.weights)
    encoder = EmotionEncoder.from_pretrained(folder)
    faces = labelled_faces(rows, arguments.data, encoder.preprocessing.size)
    labels = truths(rows)
    train = [index for index, row in enumerate(rows) if row.split == "train"]
    valid = [index for index, row in enumerate(rows) if row.split == "valid"]
    print(f"attributes: {len(train)} faces to fit on, {len(valid)} to report on", flush=True)
    read = FaceFeatures(encoder).read(faces, tuple(FEATURES))
    fitted = fit_probe({name: x[train] for name, x in read.items()}, labels[train], arguments.seed)
    print(f"areas under the curve of held-out training faces:\n{areas_text(fitted)}")
    linear = Linear(fitted.weight.shape[1])
    linear.load_state_dict({"weight": fitted.weight, "bias": fitted.bias})
    config = ProbeConfig(
        features=fitted.features,
        width=fitted.weight.shape[1],
        attributes=ATTRIBUTES,
        encoder_sha256=read_config(folder, KIND)["sha256"],
    )
    thresholds = dict(zip(ATTRIBUTES, fitted.thresholds.tolist(), strict=True))
    probe = FaceAttributes(encoder, linear, config, ProbeCalibration(thresholds=thresholds))
    random = [place for place, index in enumerate(train) if (rows[index].data, rows[index].chosen) == ("fer2013", "random")]
    parts: dict[str, tuple[NDArray[np.bool_], NDArray[np.floating]]] = {
        "valid": (labels[valid], probe.predict(faces[valid])),
        "train_random_held_out": (labels[train][random], fitted.held_out[random]),
        "train_held_out": (labels[train], fitted.held_out),
    }
    figures = {name: assess_attributes(known, said, fitted.thresholds) for name, (known, said) in parts.items()}
    probe.save_pretrained(
        arguments.out,
        training={
            "seed": arguments.seed,
            "penalties": dict(zip(ATTRIBUTES, fitted.penalties, strict=True)),
            "held_out_areas": {
                name: dict(zip(ATTRIBUTES, areas.round(4).tolist(), strict=True)) for name, areas in fitted.areas.items()
            },
        },
        metrics={name: {"count": len(parts[name][0]), **figures[name]} for name in parts},
        data={"train_faces": len(train), "valid_faces": len(valid)},
    )
    titles = ("FER-2013 valid, at random", "FER-2013 train, at random, held out", "all training faces, held out")
    for (name, (known, _)), title in zip(parts.items(), titles, strict=True):
        print(format_figures(figures[name], len(known), title))
    print(f"written: {arguments.out}")


def _count(arguments: argparse.Namespace) -> None:
    from encoder.attributes.assessment import format_shares, shares
    from encoder.attributes.probe import FaceAttributes
    from encoder.data.load import load_faces
    from engine.storage.atomic import require_new, write_json

    if arguments.out is not None:
        require_new([arguments.out / "attributes.json"], arguments.overwrite)
    probe = FaceAttributes.from_pretrained(arguments.probe, arguments.weights)
    faces = load_faces(arguments.data.expanduser(), arguments.count)
    table = shares(faces, probe.shown(faces.images))
    print(
        f"{faces.source} {arguments.count}: share of faces that shows it, as {arguments.probe} sees them\n{format_shares(table)}"
    )
    if arguments.out is not None:
        report = {"data": faces.source, "split": arguments.count, "probe": arguments.probe, "shares": table}
        write_json(arguments.out / "attributes.json", report)
        print(f"written: {arguments.out / 'attributes.json'}")


def main(argv: Sequence[str]) -> int:
    """Fit or count; exit code 0."""
    arguments = build_parser().parse_args(argv)
    (_fit if arguments.count is None else _count)(arguments)
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
