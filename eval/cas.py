"""Classification accuracy score: train the encoder's network on generated faces only, test it on real ones."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from configs.loader import add_config_arguments, to_yaml

if TYPE_CHECKING:
    from encoder.config import EncoderConfig
    from encoder.data.face_set import FaceSet
    from eval.faces.generated import GeneratedSet
    from eval.training_rows import Bench, Row, RowResult

EXAMPLES = """examples:
  python -m eval.cas --data DATA --out out/cas
  python -m eval.cas --data DATA --out out/cas-small --epochs 4 --widths 16,32,64 --times 1
  python -m eval.cas --data DATA --out out/cas --generated faces/ --seeds 0,1,2 train.batch_size=256

Rows: real train faces by their FER-2013 labels and by their FER+ majority, and generated faces in the proportions of the real
ones, --times as many. Every row takes the same number of steps. Rows of generated faces see no real face, not even in
validation. Tested on the real test split by both label schemes (Ravuri & Vinyals, 2019). Stopped at any moment, the same
command goes on. Without --generated the faces are made in OUT/generated, which takes the longest. Seeds may be added later;
sizes, too, where --generated names a set that is large enough.

exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.cas", __doc__, EXAMPLES)
    add_config_arguments(parser)
    add_row_arguments(parser, "out/cas")
    parser.add_argument("--times", default="1,5", help="sizes relative to train (default: %(default)s)")
    return parser


def add_row_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of the programs that train row by row."""
    parser.add_argument("--data", required=True, help="folder with FER-2013")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of rows and tables (default: %(default)s)")
    parser.add_argument("--epochs", type=float, help="epochs over real train; every row takes as many steps (default: 12)")
    parser.add_argument("--widths", help="of the network's stages, such as 16,32,64 (default: 64,128,256)")
    parser.add_argument("--seeds", default="0", help="of the trainings, such as 0,1,2 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1000, help="bootstrap resamples of the intervals (default: %(default)s)")
    parser.add_argument("--generated", type=Path, help="a set made by python -m generation.dataset (default: made in OUT)")
    parser.add_argument("--seed", type=int, default=0, help="of the generated faces (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="of the generator (default: %(default)s)")


def main(argv: Sequence[str]) -> int:
    """Make the faces, train the rows, write the table after each; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    times, seeds = numbers("--times", arguments.times), [int(seed) for seed in numbers("--seeds", arguments.seeds, whole=True)]
    from engine.storage.atomic import require_place
    from eval.training_rows import Bench, configured, describe_plan, load_splits, set_facts, steps_of

    config = configured(arguments.config, arguments.overrides, epochs=arguments.epochs, widths=arguments.widths)
    if arguments.print_config:
        print(to_yaml(config), end="")
        return 0
    require_place(arguments.out)
    command = shlex.join(["python", "-m", "eval.cas", *argv])
    splits = load_splits(arguments.data, config.preprocessing.size)
    made, needed = generated_faces(arguments, times, splits["train"], config.preprocessing.size, command)
    plan = describe_plan(config, splits, rounds=arguments.rounds, generated=set_facts(made))
    bench = Bench(arguments.out, plan, splits["test"], steps_of(config, len(splits["train"])))
    rows = table_rows(splits, made, needed, times, config)
    return bench.fill(rows, seeds, "cas", lambda results: write(bench, rows, results, command, arguments.rounds))


def numbers(option: str, text: str, *, whole: bool = False) -> list[float]:
    """The numbers of ``"1,5"``: positive ones, or whole ones of at least 0.

    Raises:
        UserError: something else, or one twice.
    """
    kind = "whole numbers such as 0,1,2" if whole else "positive numbers such as 1,5"
    try:
        found = [float(int(part)) if whole else float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: give {kind}") from None
    if not all(0 <= number < 1e9 and (whole or number > 0) for number in found) or len(set(found)) < len(found):
        raise UserError(f"{option} {text}: give {kind}, each once")
    return found


def generated_faces(
    arguments: argparse.Namespace, times: Sequence[float], train: FaceSet, size: int, command: str
) -> tuple[GeneratedSet, dict[str, dict[str, int]]]:
    """The generated set, and how many faces of each emotion its parts take: one for each size, and ``valid``."""
    import numpy as np

    from encoder.emotions import EMOTION_NAMES

    real = {name: int(np.sum(train.labels == k)) for k, name in enumerate(EMOTION_NAMES)}
    parts = {f"{ratio:g}": {name: round(ratio * count) for name, count in real.items() if count} for ratio in times}
    largest = parts[f"{max(times):g}"]
    parts["valid"] = {name: max(2, count // 10) for name, count in real.items() if count}
    whole = {name: largest[name] + parts["valid"][name] for name in largest}
    return obtain(arguments, whole, size, command), parts


def obtain(arguments: argparse.Namespace, counts: dict[str, int], size: int, command: str) -> GeneratedSet:
    """``counts`` faces: of the set that is named, or of one that is made here."""
    from eval.faces.generated import obtain_set, read_set

    folder = arguments.generated
    if folder is None:
        from generation.pipeline import FacePipeline

        folder = arguments.out / "generated"
        pipe = FacePipeline.from_pretrained(arguments.weights).to("auto")
        obtain_set(pipe, counts, arguments.seed, folder, command)
    return read_set(folder, size).first(counts)


def table_rows(
    splits: Mapping[str, FaceSet],
    made: GeneratedSet,
    parts: Mapping[str, Mapping[str, int]],
    times: Sequence[float],
    config: EncoderConfig,
) -> list[Row]:
    """Real faces by both label schemes (where there are votes), then generated ones by size."""
    from eval.training_rows import SCHEMES, Row, labelled

    rows = []
    for scheme, title in SCHEMES.items():
        if scheme == "fer2013" or splits["train"].vote_counts is not None:
            rows.append(
                Row(
                    f"real-{scheme}",
                    f"real, {title}",
                    lambda scheme=scheme: (labelled(splits["train"], scheme), labelled(splits["valid"], scheme)),  # type: ignore[misc]
                    config,
                )
            )
    for size in times:
        name = f"{size:g}"
        rows.append(Row(f"generated-{name}x", f"generated, {name} ×", lambda name=name: _cut(made, parts, name), config))  # type: ignore[misc]
    return rows


def _cut(made: GeneratedSet, parts: Mapping[str, Mapping[str, int]], name: str) -> tuple[FaceSet, FaceSet]:
    """The first faces of each emotion for validation, whatever the size, and those after them to train on."""
    import numpy as np

    from encoder.emotions import Emotion
    from eval.training_rows import from_generated

    faces = from_generated(made)
    train, valid = [], []
    for emotion, count in parts[name].items():
        rows, held_out = np.flatnonzero(made.labels == Emotion[emotion.upper()]), parts["valid"][emotion]
        valid.append(rows[:held_out])
        train.append(rows[held_out : held_out + count])
    return faces.subset(np.concatenate(train)), faces.subset(np.concatenate(valid))


def write(bench: Bench, rows: Sequence[Row], results: Mapping[str, Sequence[RowResult]], command: str, rounds: int) -> str:
    """Figures of the rows that are there; the table is complete when the last one is."""
    from eval.output.table import compared, figures_of, write_tables
    from eval.training_rows import SCHEMES, scheme_labels

    content: dict[str, Any] = {"command": command, "split": "test", "steps": bench.steps, "rows": {}}
    columns = ["trained on", "faces", "trainings"]
    lines: list[list[Any]] = []
    schemes = [name for name in SCHEMES if (scheme_labels(bench.test, name) >= 0).any() and f"real-{name}" in results]
    for scheme in schemes:
        number = int((scheme_labels(bench.test, scheme) >= 0).sum())
        title = f"{SCHEMES[scheme]} ({number:,} test faces)"
        columns += [f"accuracy, {title}", f"macro F1, {SCHEMES[scheme]}", f"relative accuracy, {SCHEMES[scheme]}"]
    for row in rows:
        if row.name not in results:
            continue
        found = results[row.name]
        entry: dict[str, Any] = {"title": row.title, "train_faces": found[0].train_faces, "trainings": len(found), "test": {}}
        line: list[Any] = [row.title, found[0].train_faces, len(found)]
        for scheme in schemes:
            labels = scheme_labels(bench.test, scheme)
            predictions, base = ([one.predictions for one in each] for each in (found, results[f"real-{scheme}"]))
            figures = figures_of(labels, predictions, rounds=rounds)
            relative = compared(labels, predictions, base, ratio=True, rounds=rounds)
            entry["test"][scheme] = {"faces": int((labels >= 0).sum()), "figures": figures, "relative_to_real": relative}
            line += [figures["accuracy"], figures["macro_f1"], relative["accuracy"]]
        content["rows"][row.name] = entry
        lines.append(line)
    content["notes"] = [
        f"Real test split; {bench.steps:,} steps a training; logits averaged over face and mirror image. Relative accuracy: to "
        "the network trained on real faces with labels of the same scheme. Brackets: 95 %, bootstrap over test faces and "
        f"trainings. `{command}`"
    ]
    return write_tables(bench.folder, "cas", content, columns, lines)


cli = command(main)


if __name__ == "__main__":
    cli()
