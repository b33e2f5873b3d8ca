"""Say of packed faces what nobody said of them: gender, age and group as they look, read from their tokens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, add_overwrite, command, command_parser

if TYPE_CHECKING:
    from vqvae.attributes import AttributeName

EXAMPLES = """examples:
  python -m vqvae.tell runs/packed --weights runs/colour/weights --out runs/told

PACKED is what python -m vqvae.pack wrote. In the training faces some have gender, age and group, the colour photographs, and
others do not. A small network learns them from the first, and says of the others what it is sure of. What was told stays, and
the validation faces stay as they are. Train a prior on OUT: faces.tokens=OUT."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m vqvae.tell", __doc__, EXAMPLES)
    parser.add_argument("packed", type=Path, metavar="PACKED", help="folder with train.safetensors and valid.safetensors")
    parser.add_argument("--weights", default="pretrained", help="folder with tokenizer and prior (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the labelled faces (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the held-out tenth (default: %(default)s)")
    sure = "probability from which {} is told (default: %(default)s)"
    for name, default in (("gender", 0.8), ("age", 0.4), ("group", 0.4)):
        parser.add_argument(f"--sure-of-{name}", type=float, default=default, metavar="P", help=sure.format(name))
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the two files")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, learn, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.epochs < 1:
        raise UserError(f"--epochs: must be at least 1, got {arguments.epochs}")
    sure: dict[AttributeName, float] = {name: getattr(arguments, f"sure_of_{name}") for name in ("gender", "age", "group")}
    for name, value in sure.items():
        if not 0.0 <= value <= 1.0:
            raise UserError(f"--sure-of-{name}: must be between 0 and 1, got {value}")
    from dataclasses import replace

    from tqdm import tqdm

    from engine.storage.atomic import make_folder, require_new
    from engine.storage.weights import resolve_folder
    from vqvae.attributes import NOT_TOLD
    from vqvae.prior import MaskedPrior
    from vqvae.tell.reader import fit_reader, tell
    from vqvae.tokenizer import Tokenizer
    from vqvae.tokens.packed import pack, packed_file, unpack

    require_new([packed_file(arguments.out, split) for split in ("train", "valid")], arguments.overwrite)
    root = resolve_folder(arguments.weights)
    tokenizer, told = (
        Tokenizer.from_pretrained(root / "tokenizer"),
        MaskedPrior.from_pretrained(root / "prior").shape.prior.attributes,
    )
    sha256, names = tokenizer.encoding_sha256(), [name for name in sure if name in told]
    if not names:
        raise UserError(f"{root / 'prior'}: is told none of {', '.join(sure)}; nothing is to be read")
    train, valid = (
        unpack(packed_file(arguments.packed, split), tokenizer.config, sha256, len(told)) for split in ("train", "valid")
    )
    labelled = int((train.attributes[:, [told.index(name) for name in names]] != NOT_TOLD).all(axis=1).sum())
    total = arguments.epochs * (labelled - labelled // 10)
    with tqdm(total=total, desc="reading attributes", unit="face", disable=None) as bar:
        try:
            net, held = fit_reader(
                train, told, names, tokenizer.vectors, epochs=arguments.epochs, seed=arguments.seed, sure=sure, step=bar.update
            )
        except ValueError as error:
            raise UserError(f"{packed_file(arguments.packed, 'train')}: {error}") from None
    print(f"{held.faces} labelled faces were held out")
    print(f"{'':<8} {'accuracy':>8} {'sure of':>8} {'right then':>10}")
    for name in names:
        print(f"{name:<8} {held.accuracy[name]:>8.2f} {held.sure[name]:>8.2f} {held.right[name]:>10.2f}")
    more = replace(train, attributes=tell(net, train, tokenizer.vectors, told, sure))
    make_folder(arguments.out, "--out")
    for split, store in (("train", more), ("valid", valid)):
        pack(store, packed_file(arguments.out, split), tokenizer.config.codebook_size, sha256)
    for name in names:
        column = told.index(name)
        before, now = ((each.attributes[:, column] != NOT_TOLD).mean() for each in (train, more))
        print(f"{name}: told of {now:.2f} of the training faces, before of {before:.2f}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
