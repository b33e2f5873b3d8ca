"""Evaluate generated faces: one page that needs nothing else, the same figures as JSON, and contact sheets."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from eval.faces.generated import FirstDraws, GeneratedSet
    from eval.report.measurements import Measurement

SHOWN, SHOWN_REFUSED = 24, 12
QUICK, FULL = {"per_emotion": 16, "rounds": 20}, {"per_emotion": 500, "rounds": 200}
QUICK_REAL = 300
EXAMPLES = """examples:
  python -m eval.report --data DATA --out out/report
  python -m eval.report --data DATA --out out/try --quick                  a few minutes, wide intervals
  python -m eval.report --data DATA --out out/report --faces faces/        all of a set made by python -m generation.dataset
  python -m eval.report --data DATA --out out/report --closest-pairs       also a picture of real faces: keep it private

Makes --per-emotion verified faces of each emotion (kept in OUT/generated; an interrupted run goes on) and as many first
draws, and compares them with real faces: emotion by two readers, acceptance, distances between sets, diversity, nearest
training faces, gender balance. The test split is used for this page alone. DATA is FER-2013 as for python -m encoder.prepare.
Inception FID and LPIPS are measured where their weights are on the machine already. report.html and report.json show no
real face."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.report", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder with FER-2013")
    parser.add_argument("--out", type=Path, default=Path("out/report"), help="folder of the report (default: %(default)s)")
    parser.add_argument("--per-emotion", type=int, help="verified faces of each emotion (default: 500; quick: 16)")
    parser.add_argument("--first-draws", type=int, help="first draws of each emotion (default: as --per-emotion)")
    parser.add_argument("--seed", type=int, default=0, help="of the faces and of all resampling (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="bootstrap resamples (default: 200; quick: 20)")
    parser.add_argument("--faces", type=Path, help="use this set instead of making one")
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--judge", default="pretrained/judge", help="second judge (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few faces, real ones too: to try the program")
    parser.add_argument("--closest-pairs", action="store_true", help="also write OUT/private/closest_pairs.png; shows real faces")
    parser.add_argument("--device", default="auto")
    return parser


def main(argv: Sequence[str]) -> int:
    """Make or read the faces, measure, write; exit code 0."""
    arguments = build_parser().parse_args(argv)
    defaults = QUICK if arguments.quick else FULL
    per_emotion = defaults["per_emotion"] if arguments.per_emotion is None else int(arguments.per_emotion)
    rounds = defaults["rounds"] if arguments.rounds is None else int(arguments.rounds)
    first_draws = per_emotion if arguments.first_draws is None else int(arguments.first_draws)
    for name, value, least in (
        ("per-emotion", per_emotion, 2),
        ("rounds", rounds, 2),
        ("first-draws", first_draws, 1),
        ("seed", arguments.seed, 0),
    ):
        if value < least:
            raise UserError(f"--{name} {value}: give at least {least}")
    command = shlex.join(["python", "-m", "eval.report", *argv])
    from encoder.data.face_set import SPLITS
    from encoder.data.load import load_faces
    from encoder.emotions import EMOTION_NAMES
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.atomic import make_folder, require_place
    from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
    from eval.faces.generated import draw_first, obtain_set, read_set
    from eval.report.measurements import REAL_SIZE, Measurement, RealFaces, Settings
    from generation.pipeline import FacePipeline

    require_place(arguments.out)
    path = Path(arguments.data).expanduser()
    splits = {split: load_faces(path, split, size=REAL_SIZE) for split in SPLITS}
    real = RealFaces(train=splits["train"], valid=splits["valid"], test=splits["test"])
    if arguments.quick:
        real = real.limited(QUICK_REAL)
    pipe = FacePipeline.from_pretrained(arguments.weights).to(arguments.device)
    judge_folder = resolve_folder(arguments.judge)
    judge = EmotionEncoder.from_pretrained(judge_folder).to(pipe.encoder.device)
    make_folder(arguments.out)
    counts = dict.fromkeys(EMOTION_NAMES, per_emotion)
    if arguments.faces is None:
        made = obtain_set(pipe, counts, arguments.seed, arguments.out / "generated", command)
    else:
        made = read_set(arguments.faces, pipe.tokenizer.config.size)
        if arguments.per_emotion is None:
            counts = made.counts()
    if made.manifest["weights_sha256"] != pipe.weights:
        raise UserError(f"{arguments.faces}: was made with other weights than {arguments.weights}; name those with --weights")
    there = made.counts()
    incomplete = {name: there[name] for name, count in counts.items() if there[name] < count} if arguments.faces is None else {}
    made = made.first({**counts, **incomplete})
    print(f"report: {len(made.labels)} faces are there; drawing {len(EMOTION_NAMES) * first_draws} first draws", file=sys.stderr)
    first = draw_first(pipe, first_draws, arguments.seed, made.manifest["request"]["settings"])
    measurement = Measurement(pipe, judge, made, first, real, Settings(rounds, arguments.seed))
    content = {
        "command": command,
        "quick": arguments.quick,
        "data": real.test.source,
        "seed": arguments.seed,
        "per_emotion": made.counts(),
        "incomplete": incomplete,
        "weights_sha256": pipe.weights,
        "judge": {"folder": arguments.judge, "sha256": file_sha256(judge_folder / WEIGHTS_FILE)},
        "settings": made.manifest["request"]["settings"],
        "set_request": made.manifest["request"],
        **measurement.all(),
    }
    written = write_report(content, made, first, arguments.out)
    if arguments.closest_pairs:
        written.append(_write_pairs(measurement, arguments.out / "private"))
    print(format_table(content))
    print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


def write_report(content: dict[str, Any], made: GeneratedSet, first: FirstDraws, out: Path) -> list[Path]:
    """Write ``report.html``, ``report.json`` and a contact sheet an emotion into ``out``; the page first.

    Raises:
        UserError: a file cannot be written.
    """
    import json

    from encoder.emotions import EMOTION_NAMES
    from encoder.evaluation.report_faces import data_uri
    from engine.storage.atomic import atomic_write_bytes, atomic_write_text
    from engine.storage.provenance import weights_text
    from eval.report.pictures import contact_sheet

    sheets, written = {}, []
    texts = {"Seed": f"{content['seed']} and following", "Weights SHA-256": weights_text(content["weights_sha256"])}
    for emotion, name in enumerate(EMOTION_NAMES):
        shown = made.images[made.labels == emotion][:SHOWN]
        refused = first.images[(first.labels == emotion) & ~first.accepted][:SHOWN_REFUSED]
        sheets[name] = {"accepted": [data_uri(image) for image in shown], "refused": [data_uri(image) for image in refused]}
        path = out / f"sheet-{name}.png"
        atomic_write_bytes(path, contact_sheet(shown, name, texts))
        written.append(path)
    page, figures = out / "report.html", out / "report.json"
    atomic_write_text(page, render({**content, "sheets": sheets}))
    atomic_write_text(figures, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return [page, figures, *written]


def _write_pairs(measurement: Measurement, folder: Path) -> Path:
    from encoder.emotions import EMOTION_NAMES
    from engine.storage.atomic import atomic_write_bytes
    from eval.report.pictures import closest_pairs

    folder.mkdir(exist_ok=True)
    titles = [EMOTION_NAMES[label] for label in measurement.made.labels]
    found = measurement.neighbours("made", "pixels")
    path = folder / "closest_pairs.png"
    atomic_write_bytes(path, closest_pairs(measurement.made.images, measurement.real.train.images, found, titles))
    return path


def render(content: Mapping[str, Any]) -> str:
    """The page as one HTML text; everything that came from data or the command line is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from encoder import evaluation
    from encoder.emotions import EMOTION_NAMES
    from encoder.evaluation import charts as report_charts

    folders = [Path(__file__).with_name("templates"), Path(str(evaluation.__file__)).with_name("templates")]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    environment.filters["short"] = lambda value: "–" if value is None else f"{value:.3g}".replace("-", "−")
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
    environment.filters["thousands"] = lambda value: f"{value:,}"
    charts = {"recall": _recall_chart(content), "accepted": _accepted_chart(content), "dot_plot": report_charts.dot_plot}
    return environment.get_template("generated.html").render(**content, charts=charts, emotion_names=EMOTION_NAMES)


def _recall_chart(content: Mapping[str, Any]) -> Any:
    """Share read as asked, by emotion: generated by both readers, and real test faces by the second judge."""
    from encoder.evaluation.charts import dot_plot

    accuracy = content["accuracy"]
    judge = accuracy["second judge"]
    series = {
        "generated, second judge": judge["accepted"],
        "generated, encoder": accuracy["encoder"]["accepted"],
        "first draws, second judge": judge["first_draws"],
    }
    series |= {f"real ({scheme}), second judge": figures for scheme, figures in judge["real"].items()}
    rows = {}
    for name in judge["accepted"]["recall"]:
        cells = [figures["recall"][name] for figures in series.values()]
        rows[name] = [(cell["value"], *cell["interval"]) for cell in cells]
    return dot_plot(rows, list(series), "Share of faces read as the emotion asked for or labelled, with 95 % intervals")


def _accepted_chart(content: Mapping[str, Any]) -> Any:
    from encoder.evaluation.charts import dot_plot

    rows = {name: [(row["accepted"], *row["interval"])] for name, row in content["acceptance"]["emotions"].items()}
    return dot_plot(rows, ["accepted"], "Share of first draws that the encoder accepts, with 95 % intervals")


def format_table(content: Mapping[str, Any]) -> str:
    """The most important figures for a terminal."""
    counts, accuracy = content["counts"], content["accuracy"]
    lines = [f"{counts['generated']} generated faces, {counts['first_draws']} first draws, {counts['test']} real test faces"]
    for reader, found in accuracy.items():
        ratios = ", ".join(
            f"{value['value']:.2f} x real ({scheme})" for scheme, value in found["relative"].items() if value["value"] is not None
        )
        lines.append(
            f"{reader:<13} balanced accuracy {found['accepted']['balanced_accuracy']:.3f} "
            f"(first draws {found['first_draws']['balanced_accuracy']:.3f}); {ratios}"
        )
    for space, found in content["distances"].items():
        cells = []
        for name, cell in found["generated"].items():
            multiple = cell["multiple"]
            times = f" ({multiple['value']:.1f} x floor)" if multiple else f" (floor {cell['floor']['value']:.3g})"
            cells.append(f"{name.replace('_', ' ')} {cell['made']['value']:.3g}{times}")
        lines.append(f"{space:<13} {', '.join(cells)}")
    for space, found in content["memorisation"].items():
        chance = found["generated"]["chance_nearer"]
        lines.append(f"{'nearest train':<13} {space}: nearer than held-out real faces with chance {chance:.2f}")
    lines += [f"{name}: {reason}" for name, reason in content["not_measured"].items()]
    return "\n".join(lines)


cli = command(main)


if __name__ == "__main__":
    cli()
