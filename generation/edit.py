"""Give a face in a photograph another expression; person and picture stay as they are."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError, command, command_parser
from configs.wording import printable
from encoder.detection.registry import DEFAULT_DETECTOR
from generation.editing import DEFAULTS, NOT_FOR_EDITS
from generation.options import add_field_options, add_network_options, given, read_request
from generation.request import FaceRequest

SKIPPED_EXIT, MISSED_EXIT = 1, 3
EXAMPLES = """examples:
  python -m generation.edit photo.jpg --emotion happiness --intensity 0.8 --out edited/
  python -m generation.edit photo.jpg --emotion surprise --region mouth --count 16
  python -m generation.edit photo.jpg --emotion fear --face 2 --strip 5 --embedder dlib
  python -m generation.edit photos/ --emotion sadness --out edited/       # a folder; the same command again goes on

For each picture: PICTURE.png with the best proposal, PICTURE-proposals.png with all of them, PICTURE-strip.png with
--strip, PICTURE.json with every reading; PICTURE-2 and so on where another picture of that name was edited into OUT. Every
file says in its metadata that it was changed by AI; --mark shows it.

The face is detected, cut out as a grey picture of 64 pixels and turned into tokens; those of the region are drawn anew,
and what changed is put back into the luma of the picture, and into its colour where the weights paint colour. Of each
proposal brows and eyes change as little as shows the emotion nearly as well: who it is is seen in them. Of those that the
encoder accepts the least change comes first. The second judge and the embedder only measure. Without --embedder, identity
is not measured.

Change only pictures of people who agreed to it, and tell those who see them.

exit codes: 0 all edited and read as asked, 1 some pictures were skipped and the rest done, 2 bad input or nothing could be
edited, 3 edited, but in some the encoder does not read what was asked, 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.edit", __doc__, EXAMPLES)
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="pictures, folders or quoted patterns")
    parser.add_argument("--emotion", required=True, help="English or French name, a compound, or a mixture")
    parser.add_argument("--intensity", type=float, default=1.0, metavar="X", help="0 neutral to 1 full (default: %(default)s)")
    parser.add_argument("--region", default="brows,eyes,mouth", help="of brows, eyes, nose, mouth, all; or x,y,w,h in pixels")
    parser.add_argument("--face", type=int, default=1, metavar="N", help="which face, 1 is the largest (default: %(default)s)")
    parser.add_argument("--keep", type=float, default=2.0, metavar="X", help="how much old shapes are preferred (default: 2)")
    parser.add_argument(
        "--strip", type=int, nargs="?", const=5, metavar="N", help="also N faces from neutral to full intensity (5)"
    )
    parser.add_argument("--count", type=int, default=8, metavar="N", help="proposals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="proposal i uses seed + i (default: %(default)s)")
    add_field_options(parser, FaceRequest, leave_out=("count", "seed", *NOT_FOR_EDITS), defaults=DEFAULTS)
    parser.add_argument(
        "--detector", default=DEFAULT_DETECTOR, metavar="NAME", help="see encoder.analyze --help (default: %(default)s)"
    )
    parser.add_argument("--embedder", metavar="NAME", help="measure identity: dlib or deepface:Facenet512")
    parser.add_argument("--judge", default="pretrained/judge", help="second judge, or none (default: %(default)s)")
    parser.add_argument(
        "--name-source",
        action="store_true",
        help="write the picture's file name into the PNGs (default: its SHA-256 only)",
    )
    parser.add_argument("--mark", action="store_true", help="draw a visible mark, AI-generated, on the picture")
    parser.add_argument("--out", type=Path, default=Path("out/edited"), help="folder for the files (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the records instead of lines")
    add_network_options(parser)
    return parser


# What an earlier edit must have been asked for, too, to be the same.
_ASKED = (
    "emotion", "intensity", "region", "face", "count", "seed", "keep", "strip", "detector", "embedder", "judge", "mark",
)  # fmt: skip


def parse_region(text: str) -> str | tuple[float, ...]:
    """``"mouth,eyes"`` as it is, ``"120,80,60,40"`` as numbers.

    Raises:
        UserError: neither.
    """
    from generation.regions import parse_regions

    parts = text.split(",")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        parse_regions(text)
        return text
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise UserError(f"--region: a box is x,y,w,h in pixels, got {text!r}")
    return numbers


def main(argv: Sequence[str]) -> int:
    """Edit every picture; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    read_request(arguments)
    parse_region(arguments.region)
    for option, value, least, most in (("--keep", arguments.keep, 0, 100), ("--strip", arguments.strip, 2, 101)):
        if value is not None and not least <= value <= most:
            raise UserError(f"{option}: must lie between {least} and {most}, got {value}")
    if arguments.face < 1:
        raise UserError(f"--face: faces are counted from 1, the largest; got {arguments.face}")
    from engine.storage.atomic import require_place
    from generation.editing.files import file_names, finished, require_safe

    files = _files(arguments.pictures, arguments.out)
    names = file_names(files, arguments.out)
    asked = {name: getattr(arguments, name) for name in _ASKED} | given(arguments)
    # Before anything is loaded: a folder that belongs to other settings is refused as a whole.
    for source in files:
        finished(arguments.out, names[source], asked)
    require_safe(arguments.out, files, names)
    require_place(arguments.out)
    records, skipped = _edit_all(arguments, names, asked)
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(records, indent=2))
    elif not arguments.quiet:
        print(f"written to {arguments.out}" + ("" if arguments.embedder else "; identity was not measured (--embedder)"))
    if skipped:
        return SKIPPED_EXIT
    return 0 if all(record["proposals"][0]["accepted"] for record in records) else MISSED_EXIT


def _files(pictures: Sequence[str], out: Path) -> list[str]:
    """The pictures named, without those that an earlier command wrote into an ``--out`` inside a folder of pictures."""
    from encoder.pictures.sources import find_files
    from engine.storage.stored_files import is_url

    edited = os.path.realpath(out)
    for name in pictures:
        if is_url(name):
            raise UserError(f"{name}: is a URL, and pictures are edited on disk; save it first: curl -O '{name}'")
        if os.path.isdir(name) and os.path.realpath(name) == edited:
            raise UserError(f"--out {out}: is the folder of the pictures; choose another, such as {out / 'edited'}")
    found = find_files(pictures).files
    files = [name for name in found if name in pictures or not os.path.realpath(name).startswith(edited + os.sep)]
    if not files:
        raise UserError(f"{pictures[0]}: holds no picture outside --out {out}; name other pictures")
    return files


def _edit_all(
    arguments: argparse.Namespace, names: dict[str, str], asked: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Records of the edited pictures, and why others were skipped: one that cannot be edited stops none of the others."""
    from tqdm import tqdm

    from encoder.pictures.face_images import BadImage
    from generation.editing.files import write_manifest

    edit = _Editor(arguments, asked)
    records, skipped = list[dict[str, Any]](), list[str]()
    hidden = True if arguments.quiet or len(names) == 1 else None
    for source, name in tqdm(names.items(), desc="editing", unit="picture", disable=hidden, leave=False):
        try:
            records.append(edit(source, name))
        except (BadImage, UserError) as error:
            skipped.append(printable(f"{source}: {error}"))
            continue
        if not arguments.quiet and not arguments.json:
            tqdm.write(_line(source, records[-1]), file=sys.stdout)
    if not records:
        others = len(skipped) - 1
        more = f" (and {others} more picture{'s' if others > 1 else ''})" if others else ""
        raise UserError(skipped[0] + more)
    write_manifest(arguments.out, records, skipped)
    return records, skipped


class _Editor:
    """The networks of one command, and what it asks of every picture."""

    def __init__(self, arguments: argparse.Namespace, asked: dict[str, Any]) -> None:
        from encoder.detection.registry import create_detector
        from encoder.inference.emotion_encoder import EmotionEncoder
        from encoder.people.embedders import create_embedder
        from engine.storage.weights import resolve_folder
        from generation.pipeline import FacePipeline

        self._out, self._asked, self._named = arguments.out, asked, arguments.name_source
        self._pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
        judge = None
        if arguments.judge != "none":
            judge = EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(self._pipe.encoder.device)
        embedder = create_embedder(arguments.embedder) if arguments.embedder else None
        levels = [number / (arguments.strip - 1) for number in range(arguments.strip)] if arguments.strip else []
        networks = {"detector": create_detector(arguments.detector), "judge": judge, "embedder": embedder}
        self._settings = {**asked, **networks, "strip": levels}
        del self._settings["region"], self._settings["mark"]

    def __call__(self, source: str, name: str) -> dict[str, Any]:
        """Edit and write one picture, unless an earlier command did; the record."""
        from encoder.pictures.pictures import read_picture
        from generation.editing.files import finished, sha256, write_edit

        digest = sha256(source)
        done = finished(self._out, name, self._asked)
        if done is not None and done["source"]["sha256"] == digest:
            if done["weights_sha256"] != self._pipe.weights:
                raise UserError(f"{self._out}/{name}.json: an edit by other weights; choose another --out, or remove it")
            return done
        picture, region = read_picture(source), parse_region(self._asked["region"])
        if not isinstance(region, str):
            region = tuple(value / picture.scale for value in region)
        edited = self._pipe.edit(picture.pixels, region=region, **self._settings)
        how = {"mark": self._asked["mark"], "named": self._named}
        return write_edit(self._out, name, source, digest, edited, self._asked, **how)


def _line(source: str, record: dict[str, Any]) -> str:
    best, before = record["proposals"][0], record["before"]
    wanted = max(record["emotion"], key=lambda name: record["emotion"][name])
    parts = [f"encoder {wanted} {best['encoder'][wanted]:.2f} (before {before['encoder'][wanted]:.2f})"]
    if best["judge"]:
        parts.append(f"second judge {best['judge'][wanted]:.2f} (before {before['judge'][wanted]:.2f})")
    if best["identity"]:
        same = "same person" if best["identity"]["same"] else "another person"
        parts.append(f"identity distance {best['identity']['distance']:.2f} ({same})")
    elif best["judge_feature_similarity"] is not None:
        parts.append(f"judge's features {best['judge_feature_similarity']:.2f} alike")
    if not best["accepted"]:
        parts.append("not read as asked; try more --count or --intensity")
    file = record["files"][0]
    return printable(source) + ("" if file == f"{Path(source).stem}.png" else f" ({printable(file)})") + ": " + ", ".join(parts)


cli = command(main)


if __name__ == "__main__":
    cli()
