"""Pack the tokens that a prior learns from into two small files, to train it on a machine that has no faces."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, add_overwrite, command, command_parser

EXAMPLES = """examples:
  python -m vqvae.pack runs/colour --out runs/packed
  accelerate launch vqvae/train.py --config configs/vqvae/h200.yaml --stage prior faces.tokens=runs/packed --out runs/h200

RUN is a run whose prior has been started once: its faces are tokens then. OUT gets train.safetensors and valid.safetensors.
The other machine needs them, and RUN/weights/tokenizer in the run folder that it trains in."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m vqvae.pack", __doc__, EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse and pack; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from engine.storage.atomic import make_folder, require_new
    from vqvae.tokenizer import Tokenizer
    from vqvae.tokens.packed import pack, packed_file
    from vqvae.tokens.store import TokenStore

    require_new([packed_file(arguments.out, split) for split in ("train", "valid")], arguments.overwrite)
    stores = {split: arguments.run / "cache" / f"tokens-{split}" for split in ("train", "valid")}
    for folder in stores.values():
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; start the prior of this run first: vqvae/train.py --stage prior")
    tokenizer = Tokenizer.from_pretrained(arguments.run / "weights" / "tokenizer")
    make_folder(arguments.out, "--out")
    for split, folder in stores.items():
        store, path = TokenStore.open(folder), packed_file(arguments.out, split)
        size = pack(store, path, tokenizer.config.codebook_size, tokenizer.encoding_sha256())
        print(f"{path}: {len(store)} faces and their mirror images, {size / 1e6:.1f} MB")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
