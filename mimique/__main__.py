"""Make, edit, read and judge faces of emotions: one command for the programs of Mimique."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from configs.cli import call_programs, command, command_parser


class Program(NamedTuple):
    """A word after ``mimique``: the module behind it, what it does, and how its help calls it without this door."""

    module: str
    does: str
    called: tuple[str, ...]


PROGRAMS = {
    "sample": Program("generation.sample", "faces that show an emotion", ("python -m generation.sample",)),
    "edit": Program("generation.edit", "another expression for a face in a photograph", ("python -m generation.edit",)),
    "read": Program("encoder.analyze", "the emotions of the faces in pictures and videos", ("python -m encoder.analyze",)),
    "dataset": Program("generation.dataset.__main__", "a labelled set of generated faces", ("python -m generation.dataset",)),
    "serve": Program("generation.service.__main__", "all of this over HTTP, for many clients", ("python -m generation.service",)),
    "studio": Program("generation.studio.__main__", "all of this on a page in the browser", ("python -m generation.studio",)),
    "evaluate": Program("encoder.evaluate", "how well an encoder reads a labelled set", ("python -m encoder.evaluate",)),
    "train": Program("vqvae.train", "tokenizer and prior", ("accelerate launch vqvae/train.py", "vqvae/train.py")),
    "train-encoder": Program("encoder.train", "the encoder", ("python -m encoder.train", "encoder.train")),
    "export": Program("encoder.export", "the encoder as one ONNX file", ("python -m encoder.export",)),
    "prepare": Program("encoder.prepare", "a data set, checked and written as Parquet", ("python -m encoder.prepare",)),
    "shard": Program("encoder.shard", "a data set as shards", ("python -m encoder.shard",)),
}
EXAMPLES = """programs:
{programs}

examples:
  mimique sample --emotion fear --count 4
  mimique read photo.jpg --out faces.csv
  mimique edit photo.jpg --emotion happiness --out edited/
  mimique sample --help
  mimique --version
  accelerate launch -m mimique train --config configs/vqvae/base.yaml     in several processes

exit codes: those of the program; 2 if there is no such program."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    listed = "\n".join(f"  {name:<14} {program.does}" for name, program in PROGRAMS.items())
    parser = command_parser("mimique", __doc__, EXAMPLES.format(programs=listed))
    parser.add_argument("program", choices=PROGRAMS, metavar="PROGRAM", help="one of those below; its own options follow it")
    return parser


def main(argv: Sequence[str]) -> int:
    """Hand the words after the program's name to that program; returns its exit code."""
    name = build_parser().parse_args(argv[:1]).program
    call_programs({called: f"mimique {word}" for word, program in PROGRAMS.items() for called in program.called})
    sys.argv[0] = f"mimique {name}"
    return import_module(PROGRAMS[name].module).main(argv[1:]) or 0


cli = command(main)


if __name__ == "__main__":
    cli()
