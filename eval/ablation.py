"""What each part of the tokenizer is worth: train it again with one thing changed, on one schedule, and measure all alike."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from eval.ablation_table import AblationConfig
    from vqvae.config import VqvaeConfig

EXAMPLES = """examples:
  python -m eval.ablation --data DATA --out out/ablation
  python -m eval.ablation --data DATA --minutes-per-row 15 --rows default,no-emotion,simvq --seeds 0,1,2
  python -m eval.ablation --data DATA --split test --out out/ablation          measures again, trains nothing twice
  python -m eval.ablation --data drawn encoder=runs/encoder/weights tokenizer_stage.epochs=1

key=value changes a setting of every row (see configs/vqvae/base.yaml); what a row itself changes wins.
A run that was stopped goes on where it was: the same command again. A row that fails is reported and the rest goes on.
OUT/ablation.md, .csv and .json hold the table, OUT/ROW/seed-N the training, its weights and reconstructions.png.

--minutes-per-row lays every schedule over the same time instead of the same epochs: then a row that is slower sees fewer
faces; the table says how many. Run it on an otherwise idle machine.
exit codes: 0 done, 1 a row failed, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM (both resumable)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.ablation", __doc__, EXAMPLES)
    parser.add_argument("--config", default="configs/vqvae/ablation.yaml", help="its rows (default: %(default)s)")
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="measured on (default: %(default)s)")
    parser.add_argument("--rows", type=lambda text: text.split(","), help="some rows only, e.g. default,fsq")
    parser.add_argument("--seeds", default="0", help="each row once for every seed, e.g. 0,1,2 (default: %(default)s)")
    parser.add_argument("--minutes-per-row", type=float, help="time of each training, instead of epochs")
    parser.add_argument("--encoder", default="pretrained/encoder", help="measures; default: %(default)s")
    parser.add_argument("--judge", default="pretrained/judge", help="measures; default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("out/ablation"), help="default: %(default)s")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of every row")
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    return parser


def plan(arguments: argparse.Namespace, config: AblationConfig) -> dict[tuple[str, int], tuple[list[str], VqvaeConfig]]:
    """Per row and seed its arguments for ``vqvae/train.py`` and the settings they make; all are checked here.

    Raises:
        UserError: a row or seed that there is not, or a setting that is refused.
    """
    from configs.loader import load_config
    from vqvae.config import VqvaeConfig

    names = arguments.rows or list(config.rows)
    for name in names:
        if name not in config.rows:
            raise UserError(f"--rows: no row {name!r}; {arguments.config} has {', '.join(config.rows)}")
    try:
        seeds = list(dict.fromkeys(int(seed) for seed in arguments.seeds.split(",")))
    except ValueError:
        raise UserError(f"--seeds: {arguments.seeds!r} is no list of whole numbers like 0,1,2") from None
    if arguments.minutes_per_row is not None and arguments.minutes_per_row <= 0:
        raise UserError(f"--minutes-per-row {arguments.minutes_per_row:g}: must be positive")
    where = ["faces.source=drawn"] if arguments.data == "drawn" else [f"faces.fer2013={json.dumps(arguments.data)}"]
    planned = {}
    for name in dict.fromkeys(names):
        for seed in seeds:
            settings = [*config.schedule, *where, *arguments.settings, *config.rows[name], f"seed={seed}"]
            planned[name, seed] = settings, load_config(VqvaeConfig, config.base, settings)
    return planned


def main(argv: Sequence[str]) -> int:
    """Train and measure the rows that are not there yet; write the table of all that this command names."""
    arguments = build_parser().parse_args(argv)
    from configs.loader import load_config
    from eval.ablation_table import AblationConfig, write_table

    config = load_config(AblationConfig, arguments.config)
    planned = plan(arguments, config)
    try:
        import torchmetrics  # noqa: F401
    except ImportError:
        raise UserError("SSIM comes from torchmetrics: pip install 'mimique[eval]'") from None
    from engine.storage.atomic import require_place
    from engine.storage.kept_rows import keep_row, kept_row
    from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder

    require_place(arguments.out)
    folders = {"encoder": resolve_folder(arguments.encoder), "second_judge": resolve_folder(arguments.judge)}
    judged = {
        "data": arguments.data if arguments.data == "drawn" else "fer2013",
        "split": arguments.split,
        "judges": {name: file_sha256(folder / WEIGHTS_FILE) for name, folder in folders.items()},
    }
    images: dict[int, Any] = {}
    rows, failed = [], False
    for (name, seed), (settings, row_config) in planned.items():
        folder = arguments.out / name / f"seed-{seed}"
        kept_settings = row_config.without_folders()
        made_from = {"settings": kept_settings, "minutes": arguments.minutes_per_row, **judged}
        kept = folder / f"figures-{arguments.split}.json"
        found = kept_row(kept, made_from)
        if found is None:
            print(f"ablation: {name}, seed {seed}", file=sys.stderr)
            try:
                if not _trained(folder, kept_settings):
                    code = _train(config.base, folder, settings, arguments.minutes_per_row)
                    if code:
                        return code
                found = _measure(folder, row_config, arguments, _judges(folders), images)
            except Exception as error:
                failed = True
                reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                reason = " ".join(reason.split())
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
                print(f"ablation: {name}, seed {seed} failed: {reason} ({folder / 'failure.txt'})", file=sys.stderr)
                rows.append({"row": name, "seed": seed, "failed": reason})
                continue
            keep_row(kept, made_from, found)
            (folder / "failure.txt").unlink(missing_ok=True)
        rows.append({"row": name, "seed": seed, "changes": list(config.rows[name]), **found})
        write_table(arguments.out, judged, rows)
    print(write_table(arguments.out, judged, rows))
    return 1 if failed else 0


def _trained(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the row's weights are there already.

    Raises:
        UserError: they were trained with other settings.
    """
    from engine.storage.weights import CONFIG_FILE, read_config
    from vqvae.tokenizer import KIND

    weights = folder / "weights" / "tokenizer"
    if not (weights / CONFIG_FILE).is_file():
        return False
    if read_config(weights, KIND)["training"]["config"] != settings:
        raise UserError(f"{weights}: was trained with other settings; choose another --out or delete {folder}")
    return True


def _train(base: str, folder: Path, settings: Sequence[str], minutes: float | None) -> int:
    """One row's tokenizer, from its newest checkpoint if there is one; returns the exit code."""
    from vqvae.train import main as train

    options = ["--config", base, "--stage", "tokenizer", "--out", str(folder)]
    options += [] if minutes is None else ["--max-minutes", str(minutes)]
    options += ["--resume", "latest"] if folder.is_dir() else []
    return train([*options, *settings], go_on="run the same command again to go on")


def _judges(folders: Mapping[str, Path]) -> dict[str, EmotionEncoder]:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.devices import resolve_device

    return {name: EmotionEncoder.from_pretrained(folder).to(resolve_device("auto")) for name, folder in folders.items()}


def _measure(
    folder: Path, config: VqvaeConfig, arguments: argparse.Namespace, judges: dict[str, EmotionEncoder], images: dict[int, Any]
) -> dict[str, Any]:
    """What the table says of a trained row; ``images`` keeps the faces of each size between rows."""
    import statistics

    from engine.storage.weights import read_config
    from eval.reconstruction import load_images, measure
    from vqvae.tokenizer import KIND, Tokenizer

    weights = folder / "weights" / "tokenizer"
    tokenizer = Tokenizer.from_pretrained(weights).to(judges["encoder"].device)
    size = tokenizer.config.size
    if size not in images:
        images[size] = load_images(arguments.data, arguments.split, size)
    log = folder / "tokenizer" / "metrics.jsonl"
    # A training too short to be logged has no speed.
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    speeds = [line["images_per_second"] for line in map(json.loads, lines) if "images_per_second" in line]
    outside = sum(parameter.numel() for parameter in tokenizer.quantizer.parameters())
    return {
        **measure(tokenizer, judges, images[size]),
        "positions": tokenizer.config.grid**2,
        "codes": tokenizer.config.grid**2 * tokenizer.config.groups,
        "parameters": sum(parameter.numel() for parameter in tokenizer.parameters()) - outside,
        "images_per_second": round(statistics.median(speeds), 1) if speeds else None,
        "images_seen": read_config(weights, KIND)["training"]["steps"] * config.tokenizer_stage.batch_size,
    }


cli = command(main)


if __name__ == "__main__":
    cli()
