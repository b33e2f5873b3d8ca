"""Give a face in a photograph another expression; person and picture stay as they are."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from encoder.detection.face import Detector
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.embeddings import Embedder
    from generation.pipeline import FacePipeline

SKIPPED_EXIT, MISSED_EXIT = 1, 3
EXAMPLES = """examples:
  python -m generation.edit photo.jpg --emotion happiness --intensity 0.8 --out edited/
  python -m generation.edit photo.jpg --emotion surprise --region mouth --count 16
  python -m generation.edit photo.jpg --emotion fear --face 2 --strip 5 --embedder dlib:FILE
  python -m generation.edit photos/ --emotion sadness --out edited/       # a folder; the same command again goes on

For each picture: PICTURE.png with the best proposal, PICTURE-proposals.png with all of them, PICTURE-strip.png with
--strip, PICTURE.json with every reading; PICTURE-2 and so on where another picture of that name was edited into OUT. Every
file says in its metadata that it was changed by AI; --mark shows it.

The face is detected, cut out as a grey picture of 64 pixels and turned into tokens; those of the region are drawn anew,
and what changed is put back into the luma of the picture. Proposals are ranked by the encoder's match less the change. The
second judge and the embedder only measure. Without --embedder, identity is not measured.

Change only pictures of people who agreed to it, and tell those who see them.

exit codes: 0 all edited and read as asked, 1 some pictures were skipped and the rest done, 2 bad input or nothing could be
edited, 3 edited, but in some the encoder does not read what was asked, 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.edit", __doc__, EXAMPLES)
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="pictures, folders or quoted patterns")
    parser.add_argument("--emotion", required=True, help="English or French name, a compound, or a mixture")
    parser.add_argument("--intensity", type=float, default=1.0, help="0 neutral to 1 full (default: %(default)s)")
    parser.add_argument("--not", dest="avoid", metavar="EMOTION", help="guide away from this emotion")
    parser.add_argument("--avoidance", type=float, help="how strongly --not leads away, above 0 to 1 (default: 0.5)")
    parser.add_argument("--region", default="brows,eyes,mouth", help="of brows, eyes, nose, mouth, all; or x,y,w,h in pixels")
    parser.add_argument("--face", type=int, default=1, metavar="N", help="which face, 1 is the largest (default: %(default)s)")
    parser.add_argument("--count", type=int, default=8, help="proposals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="proposal i uses seed + i (default: %(default)s)")
    parser.add_argument("--keep", type=float, default=2.0, help="how much the old shapes are preferred (default: %(default)s)")
    parser.add_argument(
        "--strip", type=int, nargs="?", const=5, metavar="N", help="also N faces from neutral to full intensity (5)"
    )
    parser.add_argument("--guidance", type=float, help="strength of guidance towards the emotion (default: 3)")
    parser.add_argument("--encoder-guidance", type=float, help="weight of the encoder in choosing tokens (default: 0, off)")
    parser.add_argument("--candidates", type=int, help="with --encoder-guidance: candidates of each step (default: 4)")
    parser.add_argument("--steps", type=int, help="unmasking steps (default: 12)")
    parser.add_argument("--temperature", type=float, help="of the sampler (default: 0.5)")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), help="bf16: faster, and slightly other faces (default: float32)"
    )
    parser.add_argument("--threshold", type=float, help="least match that counts as read (default: 0.5)")
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), help="look (default: faces128, the sharper one)")
    parser.add_argument("--detector", default="haar", metavar="NAME", help="see encoder.analyze --help (default: %(default)s)")
    parser.add_argument("--embedder", metavar="NAME", help="measure identity: dlib:FILE or deepface:Facenet512")
    parser.add_argument("--judge", default="pretrained/judge", help="second judge, or none (default: %(default)s)")
    parser.add_argument("--mark", action="store_true", help="draw a visible mark, AI-generated, on the picture")
    parser.add_argument("--out", type=Path, default=Path("out/edited"), help="folder for the files (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the records instead of lines")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and --json)")
    return parser


_SETTINGS = (
    "avoid", "avoidance", "guidance", "encoder_guidance", "candidates", "steps", "temperature", "threshold", "source",
    "precision",
)  # fmt: skip
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
    """Edit every picture; returns the exit code.

    Raises:
        UserError: the command is refused, or no picture could be edited.
    """
    arguments = build_parser().parse_args(argv)
    from encoder.emotions import parse_distribution
    from generation.request import require_partners

    for text in (arguments.emotion, arguments.avoid):
        if text is not None:
            parse_distribution(text)
    parse_region(arguments.region)
    require_partners(arguments)
    if not 0 <= arguments.keep <= 100:
        raise UserError(f"--keep: must lie between 0 and 100, got {arguments.keep}")
    if arguments.face < 1:
        raise UserError(f"--face: faces are counted from 1, the largest; got {arguments.face}")
    if arguments.strip is not None and not 2 <= arguments.strip <= 101:
        raise UserError(f"--strip: must lie between 2 and 101 faces, got {arguments.strip}")
    from generation.editing.files import file_names, finished, require_safe
    from generation.files import claimed_folder

    files = _files(arguments.pictures, arguments.out)
    names = file_names(files, arguments.out)
    batch = _Batch(arguments)
    # Before anything is loaded: a folder that belongs to other settings is refused as a whole.
    for source in files:
        finished(arguments.out, names[source], batch.asked)
    require_safe(arguments.out, files, names)
    with claimed_folder(arguments.out):
        return batch.run(files, names)


def _files(pictures: Sequence[str], out: Path) -> list[str]:
    """The pictures named, without those that an earlier command wrote into an ``--out`` inside a folder of pictures.

    Raises:
        UserError: there are none, or ``--out`` is the folder of pictures itself.
    """
    from encoder.pictures.sources import find_files

    edited = os.path.realpath(out)
    for name in pictures:
        if os.path.isdir(name) and os.path.realpath(name) == edited:
            raise UserError(f"--out {out}: is the folder of the pictures; choose another, such as {out / 'edited'}")
    named = set(pictures)
    files = [
        name for name in find_files(pictures).files if name in named or not os.path.realpath(name).startswith(edited + os.sep)
    ]
    if not files:
        raise UserError(f"{pictures[0]}: holds no picture outside --out {out}; name other pictures")
    return files


class _Batch:
    """All pictures of one command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._settings = {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}
        self.asked: dict[str, Any] = {name: getattr(arguments, name) for name in _ASKED} | self._settings
        self._skipped: list[str] = []
        self._records: list[dict[str, Any]] = []

    def run(self, files: Sequence[str], names: dict[str, str]) -> int:
        """Edit, write and report; a picture that cannot be edited stops none of the others."""
        from tqdm import tqdm

        from encoder.pictures.face_images import BadImage
        from generation.editing.files import write_manifest

        arguments = self._arguments
        parts = self._load()
        hidden = True if arguments.quiet or len(files) == 1 else None
        for source in tqdm(files, desc="editing", unit="picture", disable=hidden, leave=False):
            try:
                record = self._edit(source, names[source], *parts)
            except (BadImage, UserError) as error:
                self._skipped.append(f"{source}: {error}")
                continue
            self._records.append(record)
            if not arguments.quiet and not arguments.json:
                tqdm.write(self._line(source, record), file=sys.stdout)
        if not self._records:
            more = f" (and {len(self._skipped) - 1} more pictures)" if len(self._skipped) > 1 else ""
            raise UserError(self._skipped[0] + more)
        write_manifest(arguments.out, self._records, self._skipped)
        for line in self._skipped:
            print(f"skipped {line}", file=sys.stderr)
        if arguments.json:
            import json

            print(json.dumps(self._records, indent=2))
        elif not arguments.quiet:
            print(f"written to {arguments.out}" + ("" if arguments.embedder else "; identity was not measured (--embedder)"))
        if self._skipped:
            return SKIPPED_EXIT
        return 0 if all(record["proposals"][0]["accepted"] for record in self._records) else MISSED_EXIT

    def _load(self) -> tuple[FacePipeline, Detector, EmotionEncoder | None, Embedder | None]:
        from encoder.detection.registry import create_detector
        from encoder.inference.emotion_encoder import EmotionEncoder
        from encoder.people.embeddings import create_embedder
        from engine.storage.weights import resolve_folder
        from generation.pipeline import FacePipeline

        arguments = self._arguments
        pipe = FacePipeline.from_pretrained(arguments.weights).to(arguments.device)
        # One bad setting is one line, not one for each picture.
        pipe.request(arguments.emotion, arguments.count, arguments.seed, intensity=arguments.intensity, **self._settings)
        judge = None
        if arguments.judge != "none":
            judge = EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(pipe.encoder.device)
        embedder = create_embedder(arguments.embedder) if arguments.embedder else None
        return pipe, create_detector(arguments.detector), judge, embedder

    def _edit(
        self, source: str, name: str, pipe: FacePipeline, detector: Detector, judge: EmotionEncoder | None, embedder: Any
    ) -> dict[str, Any]:
        from encoder.pictures.pictures import read_picture
        from generation.editing.files import finished, sha256, write_edit

        arguments = self._arguments
        digest = sha256(source)
        done = finished(arguments.out, name, self.asked)
        if done is not None and done["source"]["sha256"] == digest:
            if done["weights_sha256"] != pipe.weights:
                raise UserError(f"{arguments.out}/{name}.json: an edit by other weights; choose another --out, or remove it")
            return done
        picture = read_picture(source)
        region = parse_region(arguments.region)
        if not isinstance(region, str):
            region = tuple(value / picture.scale for value in region)
        levels = [] if arguments.strip is None else [number / (arguments.strip - 1) for number in range(arguments.strip)]
        edited = pipe.edit(
            picture.pixels,
            arguments.emotion,
            intensity=arguments.intensity,
            count=arguments.count,
            seed=arguments.seed,
            region=region,
            face=arguments.face,
            keep=arguments.keep,
            strip=levels,
            detector=detector,
            judge=judge,
            embedder=embedder,
            **self._settings,
        )
        return write_edit(arguments.out, name, source, digest, edited, self.asked, mark=arguments.mark)

    def _line(self, source: str, record: dict[str, Any]) -> str:
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
        return source + ("" if file == f"{Path(source).stem}.png" else f" ({file})") + ": " + ", ".join(parts)


cli = command(main)


if __name__ == "__main__":
    cli()
