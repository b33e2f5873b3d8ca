"""Do generated faces repair neglected emotions? Real faces with generated disgust and fear against real faces alone."""

from __future__ import annotations

import argparse
import functools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from configs.loader import add_config_arguments, to_yaml
from eval.cas import add_row_arguments, numbers, obtain

if TYPE_CHECKING:
    from encoder.config import EncoderConfig
    from encoder.data.face_set import FaceSet
    from eval.faces.generated import GeneratedSet
    from eval.training_rows import Bench, Row, RowResult, Scheme
    from vqvae.tokenizer import Tokenizer

LISTS = ("amounts", "seeds")
# As in configs/encoder/stage2.yaml, with the whole of the classes' frequencies told to the loss.
STAGE2 = ("train.mixup=0.0", "train.trunk_rate=0.1", "train.trainable=last_stage", "train.logit_adjustment=1.0")
STAGE2_SHARE = 0.2
SHOWN = ("accuracy", "macro_f1", "recall_disgust", "recall_fear")
EXAMPLES = """examples:
  python -m eval.augmentation --data DATA --out out/augmentation --seeds 0,1,2
  python -m eval.augmentation --data DATA --out out/try --epochs 2 --widths 8,16,32 --amounts 500 --seeds 0
  python -m eval.augmentation --data DATA --generated faces/ --emotions disgust,peur --labels ferplus --seeds 0,1,2

Baselines: real faces alone; these followed by stage 2, which re-trains head and last stage for balanced classes
(--stage2 key=value changes its settings); and real faces with copies of those of the neglected emotions (oversampling), as
many as the generated ones. Against them: real faces with --amounts generated faces of each emotion, stage 2 after that, and the
same with every real face of train passed through the tokenizer (--weights), so that texture does not tell generated from real.
Last, every face in both looks, as it is and through the tokenizer (generated ones twice): of the copies, a baseline, and of
the generated ones. All take the same number of steps, stage 2 a fifth of it on top. Stopped at any moment, the same command
goes on, and seeds may be added later. Without --generated the faces are made in OUT/generated.

exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.augmentation", __doc__, EXAMPLES)
    add_config_arguments(parser)
    add_row_arguments(parser, "out/augmentation")
    parser.add_argument("--amounts", default="1000,4000", help="faces of each (default: %(default)s)")
    parser.add_argument("--emotions", default="disgust,fear", help="emotions to repair (default: %(default)s)")
    parser.add_argument(
        "--labels", choices=("fer2013", "ferplus"), default="fer2013", help="of real faces (default: %(default)s)"
    )
    parser.add_argument("--stage2", action="append", default=[], metavar="KEY=VALUE", help="setting of stage 2; again for more")
    return parser


def main(argv: Sequence[str]) -> int:
    """Make the faces, train the rows, write the table after each; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    amounts, seeds = ([int(number) for number in numbers(f"--{name}", getattr(arguments, name), whole=True)] for name in LISTS)
    if min(amounts) < 1:
        raise UserError("--amounts: give at least 1")
    from encoder.emotions import parse_emotion
    from engine.storage.atomic import require_place
    from eval.faces.look import tokenizer_of
    from eval.training_rows import Bench, configured, describe_plan, labelled, load_splits, set_facts, steps_of

    emotions = [parse_emotion(name) for name in arguments.emotions.split(",")]
    config = configured(arguments.config, arguments.overrides, epochs=arguments.epochs, widths=arguments.widths)
    stage2 = configured(
        arguments.config,
        [*arguments.overrides, *STAGE2, *arguments.stage2],
        epochs=arguments.epochs,
        widths=arguments.widths,
    )
    if arguments.print_config:
        print(to_yaml(config), end="")
        return 0
    scheme: Scheme = arguments.labels
    require_place(arguments.out)
    command = shlex.join(["python", "-m", "eval.augmentation", *argv])
    splits = load_splits(arguments.data, config.preprocessing.size)
    real = {split: labelled(splits[split], scheme) for split in ("train", "valid")}
    made = obtain(arguments, {emotion.label: max(amounts) for emotion in emotions}, config.preprocessing.size, command)
    plan = describe_plan(
        config,
        splits,
        labels=scheme,
        emotions=[emotion.label for emotion in emotions],
        amounts=amounts,
        rounds=arguments.rounds,
        stage2=to_yaml(stage2).splitlines(),
        generated=set_facts(made),
    )
    bench = Bench(arguments.out, plan, splits["test"], steps_of(config, len(real["train"])))
    tokenizer = tokenizer_of(made.manifest, Path(arguments.weights).expanduser())
    rows = table_rows(real, made, amounts, [int(emotion) for emotion in emotions], config, stage2, tokenizer)
    return bench.fill(rows, seeds, "augmentation", lambda results: write(bench, scheme, rows, results, command, arguments.rounds))


def table_rows(
    real: Mapping[str, FaceSet],
    made: GeneratedSet,
    amounts: Sequence[int],
    emotions: Sequence[int],
    config: EncoderConfig,
    stage2: EncoderConfig,
    tokenizer: Tokenizer,
) -> list[Row]:
    """Baselines first; names that start with ``generated`` are the rows to be judged."""
    import numpy as np

    from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
    from eval.faces.look import through_tokenizer
    from eval.training_rows import Row, from_generated, joined, oversampled

    train, valid = real["train"], real["valid"]
    counts = np.bincount(train.labels, minlength=NUM_EMOTIONS)
    rows = [
        Row("real", "real faces", lambda: (train, valid), config),
        Row("stage2", "real faces, then stage 2", lambda: (train, valid), stage2, share=STAGE2_SHARE, init="real"),
    ]
    same_look = functools.cache(lambda: through_tokenizer(train, tokenizer))
    for amount in amounts:
        wanted = {emotion: int(counts[emotion]) + amount for emotion in emotions}
        taken = {EMOTION_NAMES[emotion]: amount for emotion in emotions}
        name, title = f"generated-{amount}", f"real faces, {amount:,} generated of each"

        def with_generated(taken: dict[str, int] = taken) -> tuple[FaceSet, FaceSet]:
            return joined(train, from_generated(made.first(taken))), valid

        def with_one_look(taken: dict[str, int] = taken) -> tuple[FaceSet, FaceSet]:
            return joined(same_look(), from_generated(made.first(taken))), valid

        def with_both_looks(taken: dict[str, int] = taken) -> tuple[FaceSet, FaceSet]:
            generated = from_generated(made.first(taken))
            return joined(joined(train, same_look()), joined(generated, generated)), valid

        def copies_in_both_looks(wanted: dict[int, int] = wanted) -> tuple[FaceSet, FaceSet]:
            return joined(oversampled(train, wanted), oversampled(same_look(), wanted)), valid

        rows += [
            Row(
                f"oversampled-{amount}",
                f"real faces, {amount:,} copies of each",
                lambda wanted=wanted: (oversampled(train, wanted), valid),  # type: ignore[misc]
                config,
            ),
            Row(name, title, with_generated, config),
            Row(f"{name}-stage2", f"{title}, then stage 2", with_generated, stage2, share=STAGE2_SHARE, init=name),
            Row(f"{name}-same-look", f"{title}, all through the tokenizer", with_one_look, config),
            Row(
                f"oversampled-{amount}-both-looks",
                f"real faces, {amount:,} copies of each, all in both looks",
                copies_in_both_looks,
                config,
            ),
            Row(f"{name}-both-looks", f"{title}, all in both looks", with_both_looks, config),
        ]
    return rows


def write(
    bench: Bench,
    scheme: Scheme,
    rows: Sequence[Row],
    results: Mapping[str, Sequence[RowResult]],
    command: str,
    rounds: int,
) -> str:
    """Figures of the rows that are there; generated ones also as difference to the best baseline of each figure."""
    from eval.output.table import compared, figures_of, write_tables
    from eval.training_rows import SCHEMES, scheme_labels

    labels = scheme_labels(bench.test, scheme)
    found = {row.name: [one.predictions for one in results[row.name]] for row in rows if row.name in results}
    figures = {name: figures_of(labels, predictions, rounds=rounds) for name, predictions in found.items()}
    baselines = [name for name in found if not name.startswith("generated")]
    best = {key: max(baselines, key=lambda name: figures[name][key]["value"] or 0.0) for key in SHOWN}
    titles = {"accuracy": "accuracy", "macro_f1": "macro F1", "recall_disgust": "disgust recall", "recall_fear": "fear recall"}
    columns = [
        "trained on",
        "faces",
        "trainings",
        *titles.values(),
        "macro F1, gain",
        "disgust recall, gain",
        "fear recall, gain",
    ]
    content: dict[str, Any] = {
        "command": command,
        "split": "test",
        "labels": SCHEMES[scheme],
        "test_faces": int((labels >= 0).sum()),
        "steps": bench.steps,
        "best_baseline": best,
        "rows": {},
    }
    lines = []
    for row in rows:
        if row.name not in found:
            continue
        one = results[row.name]
        entry: dict[str, Any] = {"title": row.title, "train_faces": one[0].train_faces, "steps": one[0].steps}
        entry |= {"trainings": len(one), "figures": figures[row.name]}
        gains: list[Any] = [None] * 3
        if row.name not in baselines:
            entry["gain_over"] = {name: compared(labels, found[row.name], found[name], rounds=rounds) for name in baselines}
            gains = [entry["gain_over"][best[key]][key] for key in SHOWN[1:]]
        content["rows"][row.name] = entry
        lines.append([row.title, one[0].train_faces, len(one), *(figures[row.name][key] for key in SHOWN), *gains])
    content["notes"] = [
        f"Real test split, {SCHEMES[scheme]}, {content['test_faces']:,} faces; {bench.steps:,} steps a training (stage 2: a "
        "fifth more). Means over trainings; gain: over the baseline that is best by that very figure. Brackets: 95 %, "
        f"bootstrap over test faces and trainings. `{command}`"
    ]
    return write_tables(bench.folder, "augmentation", content, columns, lines)


cli = command(main)


if __name__ == "__main__":
    cli()
