"""Find the faces in pictures, folders, videos or a camera and say which emotion each shows."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, add_overwrite, command, command_parser
from encoder.analysis.action_units import READERS
from encoder.analysis.columns import KEY, PICTURE_COLUMN, Columns, parse_keep
from encoder.analysis.listing import Listing
from encoder.detection.registry import DEFAULT_DETECTOR, list_detectors
from encoder.people.embedders import DEFAULT_EMBEDDER
from encoder.timelines.options import NAMES, add_video_options, check_video_options

if TYPE_CHECKING:
    from encoder.analysis.analyzer import FaceAnalyzer, Reading
    from encoder.analysis.inputs import Input
    from encoder.pictures.sources import View
    from encoder.timelines.tracking import Tracker

EXAMPLES = f"""examples:
  python -m encoder.analyze photo.jpg
  python -m encoder.analyze photos/ holiday.mp4 --out faces.csv --annotate annotated
  python -m encoder.analyze 'archive/**/*.png' --out faces.parquet --largest --min-size 60
  python -m encoder.analyze photo.jpg --explain                    pictures of what spoke for the emotion, in out/explained
  python -m encoder.analyze interview.mp4 --fps 5 --out faces.jsonl --annotate annotated --explain
  python -m encoder.analyze interview.mp4 --fps 5 --timeline interview/          who showed what when, as a plot and tables
  python -m encoder.analyze interview.mp4 --out seconds.csv --per second         a row a person and second
  python -m encoder.analyze --camera 0 --seconds 30 --out me.csv
  python -m encoder.analyze photos/ --action-units py-feat --out faces.csv
  python -m encoder.analyze 's3://bucket/photos/*.parquet' --keep id --out faces/
  torchrun --nproc-per-node 8 -m encoder.analyze shards/ --out faces/ --device cpu
  python -m encoder.analyze shards/ --out faces/ --share 3/200     one job of an array of 200

One row a face: source, frame and time of a video, box in pixels of the file, score of the detector, seven
probabilities, and the most probable emotion. A picture without a face and a file that cannot be read have a row as well,
which says so in its last column. Rows are kept when Ctrl-C or SIGTERM stops the work. Until then they are in FILE.partial (not
those of .parquet), which even kill -9 leaves.

A picture that is a cropped face already (at most 256 pixels, filled by one face; or at most 64 without any that is found) is
read whole and not cut again; the column whole_picture says so.

Parquet files (a column of pictures, as bytes or as {{bytes, path}}) and WebDataset tars are read picture by picture, from
disk or from any storage that fsspec knows (s3://, gs://, https://, memory://). With a folder for --out, the rows are written
in parts, one Parquet file a shard, by one process or by all that torchrun or accelerate launch started. Stopped at any moment,
the same command goes on with the parts that are missing. _manifest.json comes when all are there. The exit code is then 0 even
where pictures could not be read (launchers take 1 for a crash; the manifest counts them), and 1 while parts are missing.

--track numbers the people of each video from 1. "boxes" follows a face by its place; after a scene cut, and where somebody was
away for more than a second, the face gets a new number. "faces" compares it with the people of the same video by --embedder,
and gives a person who comes back the old number. --timeline and --per second track by boxes unless told otherwise.

The probabilities say what people would be likely to see in the face, not what somebody feels.

detectors: {", ".join(list_detectors())}
  centerface finds faces of any size, in profile and turned by up to 90 degrees, without a download. haar finds frontal,
  upright faces. dlib needs the extra "dlib"; it finds the eyes as well, and as dlib:68 the 68 landmarks (learned from a
  data set that excludes commercial use). Most deepface detectors download weights at first use.

embedders: dlib works offline with the extra "dlib"; deepface:Facenet512 and DeepFace's others download weights at first use.

action units: py-feat needs the extra "action-units" and downloads weights at first use, which are for research that is not
  commercial. AU01, AU02, ... are probabilities from 0 to 1 that the unit is there; valence and arousal go from -1 to 1.

exit code: 0 everything was read (a picture without a face is no error), 1 something was skipped and the rest done,
2 nothing could be read or the command was refused, 130 stopped by Ctrl-C (for a camera that is the usual end: 0)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.analyze", __doc__, EXAMPLES)
    parser.add_argument("paths", metavar="PATH", nargs="*", help="pictures, videos, shards, folders, patterns, URLs")
    parser.add_argument("--camera", type=int, metavar="N", help="read this camera instead of files (0 is the first)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop the camera after so many seconds (default: at Ctrl-C)")
    parser.add_argument(
        "--out", metavar="FILE", help="write the rows: .csv, .json, .jsonl or .parquet; or a folder or URL for parts"
    )
    parser.add_argument(
        "--csv-as-is",
        action="store_true",
        help="write text that a spreadsheet would compute (=..., +..., -..., @...) without an apostrophe before it",
    )
    parser.add_argument(
        "--image-column", default=PICTURE_COLUMN, metavar="NAME", help="of Parquet files: the pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN[=NAME]",
        help=f"of shards: add this column to the rows; in tars {KEY}, the ending of a text member, or an entry of the json",
    )  # fmt: skip
    parser.add_argument("--share", metavar="I/N", help="of a folder of parts: make only the I-th of N shares (job arrays)")
    parser.add_argument(
        "--part-size",
        type=int,
        default=256,
        metavar="MIB",
        help="larger Parquet files become several parts (default: %(default)s)",
    )
    parser.add_argument("--landmarks", action="store_true", help="add the landmarks to the rows, where the detector has them")
    parser.add_argument("--annotate", type=Path, metavar="FOLDER", help="write pictures and videos with boxes and bars")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show in them what spoke for the emotion, by Grad-CAM; without --annotate in out/explained",
    )
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, metavar="NAME", help="see below (default: %(default)s)")
    parser.add_argument(
        "--min-size", type=int, default=24, metavar="PIXELS", help="leave out smaller faces (default: %(default)s)"
    )
    parser.add_argument(
        "--crops",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether pictures are cropped faces, to be read whole: all, none, or those that look so (default: %(default)s)",
    )
    parser.add_argument("--largest", action="store_true", help="only the largest face of each picture")
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument("--every", type=int, default=1, metavar="N", help="one in N frames of a video (default: all)")
    frames.add_argument("--fps", type=float, metavar="RATE", help="instead of --every: so many frames a second of a video")
    add_video_options(parser)
    parser.add_argument("--gender", action="store_true", help="add gender as data sets record it")
    parser.add_argument(
        "--gender-weights", default="pretrained/gender", metavar="NAME", help="a folder or deepface (default: %(default)s)"
    )
    parser.add_argument(
        "--gallery", type=Path, metavar="FOLDER", help="name the faces that are in this gallery, a folder a person"
    )
    parser.add_argument(
        "--embedder",
        default=DEFAULT_EMBEDDER,
        metavar="NAME",
        help="for --gallery and --track faces, see below (default: %(default)s)",
    )
    parser.add_argument(
        "--action-units", choices=READERS, metavar="NAME", help=f"add action units, valence and arousal: {', '.join(READERS)}"
    )
    parser.add_argument("--weights", default="pretrained/encoder", metavar="FOLDER", help="the encoder (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="faces read together (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="print no rows, only the summary")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Analyse; returns 0, or 1 where something was skipped.

    Raises:
        UserError: the command is refused, or nothing could be read.
    """
    arguments = build_parser().parse_args(argv)
    _check(arguments)
    from encoder.analysis.rows import FaceRow

    columns = Columns(
        arguments.image_column, parse_keep(arguments.keep, list(FaceRow("").as_record(landmarks=True, person=True)))
    )
    if _is_folder(arguments.out):
        return _make_parts(arguments, columns, argv)
    from tqdm import tqdm

    from encoder.analysis.inputs import FoundInputs, find_inputs, require_one
    from encoder.analysis.parts import checked_columns
    from encoder.timelines.outputs import open_outputs

    live = arguments.camera is not None
    found = FoundInputs((), 0) if live else find_inputs(arguments.paths)
    require_one(found)
    columns = checked_columns(found.inputs, columns)
    names = [each.name for each in found.inputs]
    _refuse_overwriting(arguments, names)
    further = {"gender": arguments.gender, "gallery": arguments.gallery is not None, "person": arguments.track is not None}
    listing = Listing(names, quiet=arguments.quiet, **further)
    analyzer = _make_analyzer(arguments, arguments.device)
    tracker = _make_tracker(arguments, analyzer)
    with _kept_at_ctrl_c(_places(arguments)), contextlib.ExitStack() as stack:
        outputs = open_outputs(arguments, analyzer, columns, tracker, stack)
        # Ctrl-C is how a camera is stopped; elsewhere it goes on to the caller, after the rows so far were written.
        stack.enter_context(contextlib.suppress(KeyboardInterrupt) if live else contextlib.nullcontext())
        bar = stack.enter_context(tqdm(desc="reading", unit="picture", leave=False, disable=None))
        for reading in _readings(arguments, analyzer, found.inputs, columns, tracker):
            for add in (*outputs, listing.add):
                add(reading)
            bar.update()
    return listing.finish(found.ignored, [str(path) for path in _places(arguments)])


def _places(arguments: argparse.Namespace) -> list[str | Path]:
    """Where results went."""
    return [path for path in (arguments.out, arguments.annotate, arguments.timeline) if path is not None]


@contextlib.contextmanager
def _kept_at_ctrl_c(places: Sequence[str | Path]) -> Iterator[None]:
    """Ctrl-C says where the rows and pictures are that were made until then."""
    try:
        yield
    except KeyboardInterrupt:
        if not places:
            raise
        raise KeyboardInterrupt(f"what was read until then is in {', '.join(map(str, places))}") from None


def _is_folder(out: str | None) -> bool:
    """Whether ``--out`` names a folder for parts and not one table."""
    return out is not None and ("://" in out or out.endswith("/") or os.path.isdir(out) or not Path(out).suffix)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse, before anything is loaded, what cannot be meant."""
    from encoder.analysis.tables import ENDINGS

    if (arguments.camera is None) == (not arguments.paths):
        raise UserError("give either PATHs or --camera N (python -m encoder.analyze --help shows examples)")
    if arguments.action_units and arguments.out is None:
        raise UserError("--action-units fills columns of the rows; add --out FILE")
    if arguments.seconds is not None and (arguments.camera is None or not arguments.seconds > 0):
        raise UserError("--seconds is for --camera and must be positive")
    if arguments.camera is not None and (arguments.camera < 0 or arguments.fps is not None):
        raise UserError("--camera takes a number from 0 on and --every, not --fps")
    if arguments.fps is not None and not arguments.fps > 0:
        raise UserError(f"--fps must be positive, got {arguments.fps}")
    if arguments.csv_as_is and not (arguments.out or "").lower().endswith(".csv"):
        raise UserError("--csv-as-is is for --out FILE.csv")
    by_parts = _is_folder(arguments.out)
    if by_parts and (arguments.camera is not None or arguments.annotate is not None or arguments.explain):
        raise UserError(
            f"--out {arguments.out} is a folder of parts, which goes without --camera, --annotate and --explain; name a table"
        )
    check_video_options(arguments, by_parts=by_parts)
    if by_parts and arguments.overwrite:
        raise UserError(
            f"--out {arguments.out} is a folder of parts, whose command goes on; --overwrite is for tables and pictures"
        )
    if arguments.out is not None and "://" in arguments.out and arguments.out.lower().endswith(ENDINGS):
        raise UserError(f"--out {arguments.out}: one table is written to disk only; name a folder there for parts")
    if not by_parts and (arguments.share is not None or os.environ.get("WORLD_SIZE", "1") != "1"):
        raise UserError("several processes write parts: name a folder with --out (end it with /)")
    for name in ("every", "batch_size", "part_size"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(arguments, name)}")


def _refuse_overwriting(arguments: argparse.Namespace, sources: Sequence[str]) -> None:
    """Refuse to replace the table, or annotated pictures of these sources. ``--explain`` alone gets a folder of its own."""
    from engine.storage.atomic import free_folder, require_new

    require_new([arguments.out], arguments.overwrite)
    if arguments.timeline is not None:
        from encoder.timelines.files import timeline_names

        names = timeline_names(sources if arguments.camera is None else [f"camera:{arguments.camera}"])
        _require_new_in(arguments.timeline, names, arguments.overwrite, "--timeline")
    if arguments.explain and arguments.annotate is None:
        arguments.annotate = free_folder(Path("out") / "explained")
    elif arguments.annotate is not None:
        from encoder.analysis.annotate import annotated_names

        _require_new_in(arguments.annotate, annotated_names(sources), arguments.overwrite, "--annotate")


def _require_new_in(folder: Path, names: Sequence[str], overwrite: bool, option: str) -> None:
    from engine.storage.atomic import require_new

    there = {path.name.lower() for path in folder.iterdir()} if folder.is_dir() else set()
    require_new([folder / name for name in names if name.lower() in there], overwrite, option)


def _share(text: str | None) -> tuple[int, int]:
    """``"3/8"`` as (3, 8). Raises UserError: it is something else."""
    if text is None:
        return 1, 1
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UserError(f"--share {text}: write I/N with I from 1 to N, such as 3/8")
    return int(number), int(count)


# What changes no row of a folder of parts.
_IDLE = (
    "paths", "camera", "seconds", "out", "annotate", "explain", "keep", "share", "batch_size", "device", "quiet", "weights",
    "csv_as_is", *NAMES,
)  # fmt: skip


def _make_parts(arguments: argparse.Namespace, columns: Columns, argv: Sequence[str]) -> int:
    """Make a folder of parts, or what is missing of it; returns 0, or 1 where a part is missing still."""
    from encoder.analysis.by_parts import claim, missing, read_by_parts, summary
    from encoder.analysis.part_folder import PartFolder
    from engine.devices import process_state
    from engine.training.agreement import Agreement

    share = _share(arguments.share)
    state = process_state(arguments.device)
    agreement = Agreement(state)
    analyzer = agreement.in_turn(lambda: _make_analyzer(arguments, str(state.device)))
    folder = PartFolder(arguments.out)
    settings = {name: value for name, value in vars(arguments).items() if name not in _IDLE} | {"keep": dict(columns.keep)}
    agreement.in_first(lambda: claim(folder, arguments.paths, columns, settings, arguments.weights))
    folder.open()
    how = {"landmarks": arguments.landmarks, "every": arguments.every, "rate": arguments.fps, "share": share}
    read_by_parts(analyzer, folder, replace(columns, kinds=folder.kept_kinds), state, **how)
    if not state.is_main_process:
        return 0
    command = shlex.join(["python", "-m", "encoder.analyze", *argv])
    content = folder.finish({"command": command, "processes": state.num_processes, "device": state.device.type})
    if content is None:
        ours, all_missing = missing(folder, share), missing(folder)
        print(f"{all_missing:,} of {len(folder.parts):,} part(s) are missing, {ours:,} of this share of them", file=sys.stderr)
        print("the same command makes what is missing of its share" if ours else "other shares make them", file=sys.stderr)
        return 1 if ours else 0
    print(summary(content, arguments.out), file=sys.stderr)
    if not content["pictures"]:
        raise UserError(f"nothing could be read: the column problem in {arguments.out} says why")
    return 0


def _make_analyzer(arguments: argparse.Namespace, device: str) -> FaceAnalyzer:
    from encoder.analysis.analyzer import FaceAnalyzer

    options: dict[str, Any] = {}
    if arguments.gender:
        from encoder.people.gender import create_gender

        options["gender"] = create_gender(arguments.gender_weights, device=device)
    if arguments.gallery is not None:
        from encoder.detection.registry import create_detector
        from encoder.people.embedders import create_embedder
        from encoder.people.identity import Gallery, largest_face

        embedder = create_embedder(arguments.embedder, device=device)
        gallery = Gallery.from_folder(arguments.gallery, embedder, crop=largest_face(create_detector(arguments.detector)))
        for problem in gallery.problems:
            print(f"gallery: skipped {problem}", file=sys.stderr)
        options["gallery"] = gallery
    if arguments.action_units:
        from encoder.analysis.action_units import create_action_units

        options["action_units"] = create_action_units(arguments.action_units, device=arguments.device)
    return FaceAnalyzer.from_pretrained(
        arguments.weights,
        detector=arguments.detector,
        device=device,
        batch_size=arguments.batch_size,
        min_size=arguments.min_size,
        largest=arguments.largest,
        crops=arguments.crops,
        **options,
    )


def _make_tracker(arguments: argparse.Namespace, analyzer: FaceAnalyzer) -> Tracker | None:
    if arguments.track is None:
        return None
    from encoder.people.embedders import create_embedder
    from encoder.timelines.tracking import Tracker

    return Tracker(create_embedder(arguments.embedder, device=str(analyzer.device)) if arguments.track == "faces" else None)


def _readings(
    arguments: argparse.Namespace, analyzer: FaceAnalyzer, inputs: Sequence[Input], columns: Columns, tracker: Tracker | None
) -> Iterator[Reading]:
    from encoder.analysis.shard_views import view_inputs
    from encoder.pictures.sources import view_camera

    live = arguments.camera is not None
    views: Iterator[View]
    if live:
        limit = arguments.seconds or float("inf")
        views = itertools.takewhile(
            lambda view: (view.time or 0.0) <= limit, view_camera(arguments.camera, every=arguments.every)
        )
    else:
        views = view_inputs(inputs, columns, every=arguments.every, rate=arguments.fps)
    how = {"keep_pictures": arguments.annotate is not None, "explain": arguments.explain, "at_once": live}
    return analyzer.stream(views, **how) if tracker is None else tracker.read(analyzer, views, **how)


cli = command(main)


if __name__ == "__main__":
    cli()
