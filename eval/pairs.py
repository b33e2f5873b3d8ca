"""Blind pairs: which of two generators makes the more believable faces, by people who do not know which face is whose."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, add_overwrite, command, command_parser
from eval.experiments import options
from eval.output.table import aligned, figure_text, markdown, write_files

if TYPE_CHECKING:
    from eval.blind.answers import Answers
    from eval.blind.key import Key

EXAMPLES = """examples:
  python -m eval.pairs make old/ new/ --out pairs/
  python -m eval.pairs make old/ new/ --grey 64 --seed 7 --per-emotion 20 --out pairs-grey/
  python -m eval.pairs score pairs/ answers.csv
  python -m eval.pairs score pairs/ answers_*.csv --names old,new --out out/pilot

make: A and B are folders of python -m generation.sample or generation.dataset; a folder of such folders, one an emotion, is
taken, too. Face 1 of an emotion in A stands beside face 1 in B, and so on. OUT/raters is for those who judge: pairs.html to
click, or pairs_01.png, ... with answers.csv to fill in (left or right). OUT/key.json says whose each face is: keep it from them.
score: how often B was chosen. Wilson's 95 % interval and an exact test against one half, both over pairs: for each pair counts
what most raters chose. A tie is half a choice in the share; the test leaves it out. Several raters: also the share of all
answers, over other pairs and other raters, and how far they agree (Fleiss' kappa)."""
_OWN = {"make": ("per_emotion", "seed", "grey", "ties"), "score": ("names",)}
_COLUMNS = ("", "pairs", "chosen", "tied", "share", "p")


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.pairs", __doc__, EXAMPLES)
    parser.add_argument("step", choices=("make", "score"), help="make pairs, or score the answers to them")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="make: A and B; score: the pairs and files of answers"
    )
    parser.add_argument("--per-emotion", type=int, metavar="N", help="make: pairs of each emotion (default: 10)")
    parser.add_argument("--seed", type=int, help="make: draws the order of the pairs, and the sides (default: 0)")
    parser.add_argument(
        "--grey",
        type=int,
        metavar="SIZE",
        help="make: all faces grey and SIZE pixels, so that neither tells (default: as they are)",
    )
    parser.add_argument("--ties", action="store_true", default=None, help="make: raters may say that they cannot tell")
    parser.add_argument("--names", metavar="A,B", help="score: what to call the two (default: their folders)")
    parser.add_argument(
        "--out", type=Path, help="make: folder of the pairs (default: out/pairs); score: of the figures (that one)"
    )
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Make pairs or score them; returns the exit code."""
    arguments = build_parser().parse_intermixed_args(argv)
    for step, names in _OWN.items():
        for name in names:
            if step != arguments.step and getattr(arguments, name) is not None:
                option = f"--{name}".replace("_", "-")
                raise UserError(f"{option}: does nothing with {arguments.step}; leave it out")
    said = shlex.join(["python", "-m", "eval.pairs", *argv])
    return (_make if arguments.step == "make" else _score)(arguments, said)


def _make(arguments: argparse.Namespace, said: str) -> int:
    from engine.storage.atomic import require_new

    if len(arguments.paths) != 2:
        raise UserError(f"make: takes two folders of faces, A and B, got {len(arguments.paths)}")
    options.at_least(arguments, per_emotion=1, seed=0, grey=8)
    out = arguments.out or Path("out/pairs")
    require_new([out / "key.json", out / "raters" / "pairs.html", out / "score.json"], arguments.overwrite)
    from eval.blind.faces import read_sides
    from eval.blind.key import KEY, draw_pairs, key_of, write_key
    from eval.blind.material import RATERS, write_material

    count, seed = arguments.per_emotion or 10, arguments.seed or 0
    a, b = read_sides(arguments.paths, count, arguments.grey)
    pairs, ties = draw_pairs(a, b, seed), bool(arguments.ties)
    key = key_of(a, b, pairs, seed=seed, grey=arguments.grey, ties=ties, command=said)
    # The key of former pairs would score new ones wrong, and their score would pass for that of the new ones.
    for name in (KEY, "score.json", "score.csv", "score.md"):
        (out / name).unlink(missing_ok=True)
    written = write_material(out / RATERS, pairs, key["set"], ties=ties)
    write_key(out, key)
    print(f"{len(pairs)} pairs, {count} each of {', '.join(a.faces)}")
    if a.looks != b.looks:
        both = (f"{side.folder}: {' and '.join(sorted(side.looks))}" for side in (a, b))
        print(f"note: raters can tell the two apart by size or colour ({'; '.join(both)}); --grey SIZE makes them alike")
    sheets = f"{written[2]}{f' to {written[-1].name}' if len(written) > 3 else ''}"
    print(f"for raters: {written[0]}, or {sheets} with {written[1].name}")
    print(f"not for raters: {out / KEY}, which says whose each face is")
    return 0


def _score(arguments: argparse.Namespace, said: str) -> int:
    from engine.storage.atomic import require_new

    folder, *files = arguments.paths
    if not files:
        raise UserError("score: takes the folder of the pairs and files of answers; name these, too")
    names = None if arguments.names is None else options.words(arguments.names)
    if names is not None and (len(names) != 2 or not all(names)):
        raise UserError(f"--names {arguments.names}: give two names, of A and of B, such as old,new")
    out = arguments.out or folder
    require_new([out / "score.json"], arguments.overwrite)
    from eval.blind.answers import read_answers
    from eval.blind.key import read_key

    key = read_key(folder)
    figures = _figures(key, read_answers(files, key), names or key.folders)
    content = {"command": said, "set": key.name, **{name: key.content[name] for name in ("A", "B", "seed", "grey")}, **figures}
    rows = _rows(figures)
    lines = [f"{figures['names'][1]} against {figures['names'][0]}: share of pairs in which it was chosen", *_together(figures)]
    text = "\n".join([lines[0], "", markdown(_COLUMNS, [_cells(row) for row in rows]), "", *lines[1:], "", f"`{said}`", ""])
    write_files(out, "score", content, [_flat(row) for row in rows], text)
    first = max(len(name) for name, _ in rows) + 1
    print(lines[0])
    print(f"{aligned(_COLUMNS[:4], _COLUMNS[:4], first)}  {_COLUMNS[4]:<20}  {_COLUMNS[5]}")
    for row in rows:
        cells = _cells(row)
        print(f"{aligned(cells[:4], _COLUMNS[:4], first)}  {cells[4]:<20}  {cells[5]}")
    print("\n".join([*lines[1:], f"written to {out}"]))
    return 0


def _figures(key: Key, answers: Answers, names: Sequence[str]) -> dict[str, Any]:
    """Everything that is said of the answers: of all pairs, of each emotion, of each rater, and of raters together."""
    import numpy as np

    from eval.measures.preference import preference, preferences, verdicts

    verdict, emotion = verdicts(answers.chosen), np.array(key.emotion)
    raters = dict(zip(answers.raters, map(preference, answers.chosen), strict=True))
    return {
        "names": list(names),
        "raters": len(answers.raters),
        "all": preference(verdict),
        "emotions": {name: preference(verdict[emotion == name]) for name in _in_order(key)},
        "by_rater": raters,
        "answers": preferences(answers.chosen) if len(raters) > 1 else None,
        "left": round(float(answers.left.mean()), 4),
    }


def _in_order(key: Key) -> list[str]:
    """The emotions of the pairs, in the order of the enum."""
    from encoder.emotions import EMOTION_NAMES

    return sorted(set(key.emotion), key=lambda name: (EMOTION_NAMES.index(name) if name in EMOTION_NAMES else 99, name))


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    several = figures["raters"] > 1
    return [
        ("all", figures["all"]),
        *figures["emotions"].items(),
        *((f"rater {name}", each) for name, each in figures["by_rater"].items() if several),
    ]


def _together(figures: Mapping[str, Any]) -> list[str]:
    """What is said below the table."""
    both = figures["answers"]
    more = [] if both is None else [
        f"{figures['raters']} raters; for a pair counts what most of them chose. All answers: {figure_text(both['share'])}, "
        "over other pairs and other raters",
        f"two raters gave a pair the same answer in {both['agreed']:.2f} of cases; kappa {figure_text(both['kappa'])}",
    ]  # fmt: skip
    return [*more, f"the left face was chosen in {figures['left']:.2f} of answers (ties half)"]


def _cells(row: tuple[str, Mapping[str, Any]]) -> list[Any]:
    name, each = row
    p = "< 0.001" if each["p"] < 0.001 else f"{each['p']:.3f}"
    return [name, each["pairs"], each["chosen"], each["tied"], figure_text(each["share"]), p]


def _flat(row: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    name, each = row
    low, high = each["share"]["interval"]
    counts = {column: each[column] for column in ("pairs", "chosen", "tied")}
    return {"of": name, **counts, "share": each["share"]["value"], "low": low, "high": high, "p": each["p"]}


cli = command(main)


if __name__ == "__main__":
    cli()
