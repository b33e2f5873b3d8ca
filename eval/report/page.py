"""Evaluate generated faces: one page that needs nothing else, the same figures as JSON, and contact sheets."""

from __future__ import annotations

import argparse
import base64
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError, add_overwrite, command_parser
from encoder.emotions import EMOTION_NAMES
from engine.storage.atomic import atomic_write_text, make_folder, require_new, write_json
from eval.experiments.options import DEFAULT, add_data, add_networks, add_out, at_least
from eval.faces.generated import FirstDraws, GeneratedSet, draw_first, obtain_set, read_set
from eval.faces.real import load_splits, thinned
from eval.output.sheet import write_closest_pairs, write_sheet

if TYPE_CHECKING:
    from eval.report.measurements import Measurement
    from generation.pipeline import FacePipeline

SHOWN, SHOWN_REFUSED, COLUMNS = 24, 12, 12
QUICK, FULL = {"per_emotion": 16, "rounds": 20}, {"per_emotion": 500, "rounds": 200}
QUICK_REAL = 300
# Sections of the page that a sentence of eval.report.conclusions begins.
CONCLUDED = ("headline", "emotion", "acceptance", "distance", "diversity", "memorisation", "gender")
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
    parser = command_parser("python -m eval.report", __doc__, EXAMPLES)
    add_data(parser, drawn=False)
    add_out(parser, "report")
    parser.add_argument("--per-emotion", type=int, help="verified faces of each emotion (default: 500; quick: 16)")
    parser.add_argument("--first-draws", type=int, help="first draws of each emotion (default: as --per-emotion)")
    parser.add_argument("--seed", type=int, default=0, help=f"of the faces and of all resampling ({DEFAULT})")
    parser.add_argument("--rounds", type=int, help="bootstrap resamples (default: 200; quick: 20)")
    parser.add_argument("--faces", type=Path, help="use this set instead of making one")
    add_networks(parser)
    parser.add_argument("--quick", action="store_true", help="few faces, real ones too: to try the program")
    parser.add_argument("--closest-pairs", action="store_true", help="also write OUT/private/closest_pairs.png; shows real faces")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Make or read the faces, measure, write; exit code 0."""
    asked = build_parser().parse_args(argv)
    at_least(asked, per_emotion=2, rounds=2, first_draws=1, seed=0)
    defaults = QUICK if asked.quick else FULL
    whole_set = asked.faces is not None and asked.per_emotion is None
    per_emotion, rounds = asked.per_emotion or defaults["per_emotion"], asked.rounds or defaults["rounds"]
    command = shlex.join(["python", "-m", "eval.report", *argv])
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
    from eval.report.measurements import Measurement
    from generation.pipeline import FacePipeline

    require_new([asked.out / "report.html"], asked.overwrite)
    pipe = FacePipeline.from_pretrained(asked.weights).to(asked.device)
    judge_folder = resolve_folder(asked.judge)
    judge = EmotionEncoder.from_pretrained(judge_folder).to(pipe.encoder.device)
    # At the generator's own size: whatever enlarges real faces on their way into a reader moves its features.
    real = load_splits(asked.data, pipe.tokenizer.config.size)
    real = thinned(real, QUICK_REAL) if asked.quick else real
    make_folder(asked.out)
    made, incomplete = _verified(pipe, asked, None if whole_set else dict.fromkeys(EMOTION_NAMES, per_emotion))
    draws = asked.first_draws or per_emotion
    print(f"report: {len(made.labels)} faces are there; drawing {len(EMOTION_NAMES) * draws} first draws", file=sys.stderr)
    first = draw_first(pipe, draws, asked.seed, made.manifest["request"]["settings"], refused=SHOWN_REFUSED)
    measurement = Measurement(pipe, judge, made, first, real, rounds=rounds, seed=asked.seed)
    content = {
        "command": command,
        "quick": asked.quick,
        "data": real["test"].source,
        "seed": asked.seed,
        "per_emotion": made.counts(),
        "incomplete": incomplete,
        "weights_sha256": pipe.weights,
        "judge": {"folder": asked.judge, "sha256": file_sha256(judge_folder / WEIGHTS_FILE)},
        "settings": made.manifest["request"]["settings"],
        "set_request": made.manifest["request"],
        **measurement.all(),
    }
    written = write_report(content, made, first, asked.out, asked.faces or asked.out / "generated")
    if asked.closest_pairs:
        written.append(_write_pairs(measurement, asked.out / "private" / "closest_pairs.png"))
    print(format_table(content))
    print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


def _verified(
    pipe: FacePipeline, asked: argparse.Namespace, counts: dict[str, int] | None
) -> tuple[GeneratedSet, dict[str, int]]:
    """The verified faces (all of a set that is named where ``counts`` is None), and emotions that have fewer than asked for.

    Raises:
        UserError: a set that is named has too few faces, or was made with other weights.
    """
    if asked.faces is None:
        made = obtain_set(pipe, counts or {}, asked.seed, asked.out / "generated")
    else:
        made = read_set(asked.faces, pipe.tokenizer.config.size)
    if made.manifest["weights_sha256"] != pipe.weights:
        raise UserError(f"{asked.faces}: was made with other weights than {asked.weights}; name those with --weights")
    there = made.counts()
    counts = counts or there
    fewer = {name: there[name] for name, count in counts.items() if there[name] < count} if asked.faces is None else {}
    return made.first({**counts, **fewer}), fewer


def write_report(content: dict[str, Any], made: GeneratedSet, first: FirstDraws, out: Path, faces_in: Path) -> list[Path]:
    """Write ``report.html``, ``report.json`` and a contact sheet an emotion into ``out``; the page first.

    Measured are faces as small and grey as real ones; shown are those of the set in ``faces_in`` as they were delivered.

    Raises:
        UserError: a file cannot be written, or a face that is to be shown cannot be read.
    """
    from engine.storage.provenance import weights_text
    from eval.blind.faces import pictures_named

    faces, written = {}, []
    texts = {"Seed": f"{content['seed']} and following", "Weights SHA-256": weights_text(content["weights_sha256"])}
    names = {name: [made.names[row] for row in np.flatnonzero(made.labels == k)[:SHOWN]] for k, name in enumerate(EMOTION_NAMES)}
    pictures = pictures_named(faces_in, {each for some in names.values() for each in some})
    for name in EMOTION_NAMES:
        shown = [pictures[each] for each in names[name]]
        faces[name] = {"accepted": list(map(_address, shown)), "refused": list(map(_address, first.refused[name]))}
        written.append(out / f"sheet-{name}.png")
        write_sheet(written[-1], shown, [""] * len(shown), COLUMNS, f"{name} - AI-generated", texts)
    page, figures = out / "report.html", out / "report.json"
    atomic_write_text(page, render({**content, "sheets": faces}))
    write_json(figures, content)
    return [page, figures, *written]


def _address(picture: npt.NDArray[np.uint8]) -> str:
    """A ``data:`` address that holds the picture: grey ones as they are, colour ones, of which each PNG has 30 kB, as WebP."""
    from encoder.evaluation.report_faces import data_uri

    if picture.ndim == 2:
        return data_uri(picture)
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "WEBP", quality=80, method=6)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def _write_pairs(measurement: Measurement, path: Path) -> Path:
    made, titles = measurement.made, [EMOTION_NAMES[label] for label in measurement.made.labels]
    write_closest_pairs(path, made.images, measurement.real["train"].images, measurement.neighbours("made", "pixels"), titles)
    return path


def render(content: Mapping[str, Any]) -> str:
    """The page as one HTML text; everything that came from data or the command line is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from encoder import evaluation
    from encoder.evaluation.page import with_labels
    from eval.report import conclusions

    folders = [Path(__file__).with_name("templates"), Path(str(evaluation.__file__)).with_name("templates")]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    environment.filters["short"] = lambda value: "–" if value is None else f"{value:.3g}".replace("-", "−")
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
    environment.filters["thousands"] = lambda value: f"{value:,}"
    charts = {"recall": _recall_chart(content), "accepted": _accepted_chart(content)}
    said = {name: getattr(conclusions, name)(content) for name in ("title", *CONCLUDED)}
    shown = {"charts": charts, "emotion_names": EMOTION_NAMES, "said": said}
    return with_labels(environment.get_template("generated.html").render(**content, **shown))


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
    counts = content["counts"]
    lines = [f"{counts['generated']} generated faces, {counts['first_draws']} first draws, {counts['test']} real test faces"]
    for reader, found in content["accuracy"].items():
        ratios = [f"{value['value']:.2f} x real ({scheme})" for scheme, value in found["relative"].items() if value["value"]]
        shares = [found[which]["balanced_accuracy"] for which in ("accepted", "first_draws")]
        lines.append(f"{reader:<13} balanced accuracy {shares[0]:.3f} (first draws {shares[1]:.3f}); {', '.join(ratios)}")
    for space, found in content["distances"].items():
        cells = []
        for name, cell in found["generated"].items():
            times = f"{cell['multiple']['value']:.1f} x floor" if cell["multiple"] else f"floor {cell['floor']['value']:.3g}"
            cells.append(f"{name.replace('_', ' ')} {cell['made']['value']:.3g} ({times})")
        lines.append(f"{space:<13} {', '.join(cells)}")
    for space, found in content["memorisation"].items():
        chance = found["generated"]["chance_nearer"]
        lines.append(f"nearest train {space}: nearer than held-out real faces with chance {chance:.2f}")
    return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in content["not_measured"].items())])
