"""What each part of the tokenizer is worth: train it again with one thing changed, on one schedule, and measure all alike."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from configs.cli import UserError
from configs.loader import StrictModel, load_config
from eval.experiments.experiment import Experiment, Figures, Stopped
from eval.experiments.options import DEFAULT, add_data, add_out, words
from eval.experiments.training import GO_ON
from eval.faces.real import DRAWN, data_name, load_real
from eval.measures.reconstruction import measure_tokenizer, require_ssim
from eval.output.table import NOTHING, markdown, write_files
from vqvae.config import VqvaeConfig

if TYPE_CHECKING:
    import numpy as np

    from encoder.inference.emotion_encoder import EmotionEncoder

# The name of a row is the name of its folder.
RowName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
# Column, decimals, and where its value is found.
COLUMNS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("usage", 3, ("codebook_usage",)),
    ("perplexity", 0, ("codebook_perplexity",)),
    ("PSNR dB", 2, ("psnr_db",)),
    ("SSIM", 3, ("ssim",)),
    ("Fréchet, judge", 3, ("frechet", "second_judge")),
    ("Fréchet, encoder", 3, ("frechet", "encoder")),
    ("kept, judge", 3, ("emotion_kept", "second_judge", "share")),
    ("kept, encoder", 3, ("emotion_kept", "encoder", "share")),
    ("positions", 0, ("positions",)),
    ("parameters", 0, ("parameters",)),
    ("images/s", 0, ("images_per_second",)),
    ("images seen", 0, ("images_seen",)),
)


class AblationConfig(StrictModel):
    """Variants of one training: settings as on the command line of ``vqvae/train.py``."""

    base: str = Field("configs/vqvae/base.yaml", description="configuration that every row starts from")
    schedule: tuple[str, ...] = Field((), description="key=value for all rows")
    rows: dict[RowName, tuple[str, ...]] = Field(min_length=1, description="key=value of each row")


@dataclass(frozen=True)
class TokenizerRow:
    """One row with one seed, and the settings that these make."""

    row: str
    seed: int
    config: VqvaeConfig

    @property
    def name(self) -> str:
        return f"{self.row}/seed-{self.seed}"

    @property
    def label(self) -> str:
        return f"{self.row}, seed {self.seed}"


class Ablation(Experiment[TokenizerRow]):
    """The points are rows by seeds. One that fails is reported, and the rest goes on."""

    name = "ablation"
    redrawn = True
    examples = """examples:
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

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--config", default="configs/vqvae/ablation.yaml", help=f"its rows ({DEFAULT})")
        add_data(parser, ("valid", "test"))
        parser.add_argument("--rows", type=words, help="some rows only, e.g. default,fsq")
        parser.add_argument("--seeds", default="0", help=f"each row once for every seed, e.g. 0,1,2 ({DEFAULT})")
        parser.add_argument("--minutes-per-row", type=float, help="time of each training, instead of epochs")
        parser.add_argument("--encoder", default="pretrained/encoder", help=f"measures; {DEFAULT}")
        parser.add_argument("--judge", default="pretrained/judge", help=f"measures; {DEFAULT}")
        add_out(parser, cls.name)
        parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of every row")
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]

    def plan(self) -> dict[str, TokenizerRow]:
        """Rows by seeds with their settings; all are checked here.

        Raises:
            UserError: a row or seed that there is not, or a setting that is refused.
        """
        asked = self.arguments
        self.config = load_config(AblationConfig, asked.config)
        names = asked.rows or tuple(self.config.rows)
        if unknown := [name for name in names if name not in self.config.rows]:
            raise UserError(f"--rows: no row {unknown[0]!r}; {asked.config} has {', '.join(self.config.rows)}")
        try:
            seeds = list(dict.fromkeys(int(seed) for seed in asked.seeds.split(",")))
        except ValueError:
            raise UserError(f"--seeds: {asked.seeds!r} is no list of whole numbers like 0,1,2") from None
        if asked.minutes_per_row is not None and asked.minutes_per_row <= 0:
            raise UserError(f"--minutes-per-row {asked.minutes_per_row:g}: must be positive")
        require_ssim()
        where = "faces.source=drawn" if asked.data == DRAWN else f"faces.fer2013={json.dumps(asked.data)}"
        planned = []
        for name, seed in itertools.product(names, seeds):
            settings = [*self.config.schedule, where, *asked.settings, *self.config.rows[name], f"seed={seed}"]
            planned.append(TokenizerRow(name, seed, load_config(VqvaeConfig, self.config.base, settings)))
        self.points = {point.name: point for point in planned}
        return self.points

    def load(self) -> None:
        from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder

        asked = self.arguments
        self.folders = {"encoder": resolve_folder(asked.encoder), "second_judge": resolve_folder(asked.judge)}
        judges = {name: file_sha256(folder / WEIGHTS_FILE) for name, folder in self.folders.items()}
        self.made_from = {"data": data_name(asked.data), "split": asked.split, "judges": judges}
        self.images: dict[int, np.ndarray] = {}

    def folder(self, name: str) -> Path:
        return Path(self.arguments.out) / name

    def place(self, name: str) -> Path:
        return self.folder(name) / f"figures-{self.arguments.split}.json"

    def basis(self, name: str) -> Figures:
        settings = self.points[name].config.without_folders()
        return {"settings": settings, "minutes": self.arguments.minutes_per_row, **self.made_from}

    def measure(self, point: TokenizerRow) -> Figures:
        """Train the row if it is not there yet, and measure it; ``failed`` says why where that cannot be done.

        Raises:
            Stopped: Ctrl-C or SIGTERM; what is done is kept.
        """
        folder = self.folder(point.name)
        report = folder / "failure.txt"
        print(f"ablation: {point.label}", file=sys.stderr)
        try:
            if not _trained(folder, point.config.without_folders()):
                self._train(folder, point.config)
            figures = self._measure(folder, point.config)
        except Stopped:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())
            folder.mkdir(parents=True, exist_ok=True)
            report.write_text(traceback.format_exc(), encoding="utf-8")
            print(f"ablation: {point.label} failed: {reason} ({report})", file=sys.stderr)
            return {"failed": reason}
        report.unlink(missing_ok=True)
        return figures

    def write(self, done: Mapping[str, Figures]) -> str:
        rows = []
        for name, found in done.items():
            point = self.points[name]
            changes = {} if "failed" in found else {"changes": list(self.config.rows[point.row])}
            rows.append({"row": point.row, "seed": point.seed, **changes, **found})
        text = to_markdown(self.made_from, rows)
        write_files(self.arguments.out, "ablation", {**self.made_from, "rows": rows}, [_line(row) for row in rows], text)
        return text

    def _train(self, folder: Path, config: VqvaeConfig) -> None:
        """The tokenizer of a row, from its newest checkpoint if there is one."""
        from vqvae.stages import train_stages

        resume = "latest" if folder.is_dir() else None
        how = argparse.Namespace(stage="tokenizer", out=folder, resume=resume, max_minutes=self.arguments.minutes_per_row)
        if code := train_stages(config, how, go_on=GO_ON):
            raise Stopped(code)

    def _measure(self, folder: Path, config: VqvaeConfig) -> Figures:
        from engine.storage.weights import read_config
        from vqvae.tokenizer import KIND, Tokenizer

        weights, readers = folder / "weights" / "tokenizer", self.readers
        tokenizer = Tokenizer.from_pretrained(weights).to(readers["encoder"].device)
        size, grid = tokenizer.config.size, tokenizer.config.grid
        if size not in self.images:
            self.images[size] = load_real(self.arguments.data, self.arguments.split, size).images
        log = folder / "tokenizer" / "metrics.jsonl"
        # A training too short to be logged has no speed.
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        speeds = [line["images_per_second"] for line in map(json.loads, lines) if "images_per_second" in line]
        whole, outside = (sum(each.numel() for each in part.parameters()) for part in (tokenizer, tokenizer.quantizer))
        return {
            **measure_tokenizer(tokenizer, readers, self.images[size]),
            "positions": grid**2,
            "codes": grid**2 * tokenizer.config.groups,
            "parameters": whole - outside,
            "images_per_second": round(statistics.median(speeds), 1) if speeds else None,
            "images_seen": read_config(weights, KIND)["training"]["steps"] * config.tokenizer_stage.batch_size,
        }

    @cached_property
    def readers(self) -> dict[str, EmotionEncoder]:
        from encoder.inference.emotion_encoder import EmotionEncoder
        from engine.devices import resolve_device

        device = resolve_device("auto")
        return {name: EmotionEncoder.from_pretrained(folder).to(device) for name, folder in self.folders.items()}


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


def _value(figures: Mapping[str, Any], place: Sequence[str]) -> float | None:
    return reduce(getitem, place, figures)  # type: ignore[return-value]


def _line(row: Mapping[str, Any]) -> Figures:
    """A row and seed in the CSV."""
    failed = "failed" in row
    figures = {column: "" if failed else _value(row, place) for column, _, place in COLUMNS}
    changes = " ".join(row.get("changes", ()))
    return {"row": row["row"], "seed": row["seed"], "changes": changes, **figures, "failed": row.get("failed", "")}


def to_markdown(judged: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each row: the mean over its seeds, with their standard deviation where there are several.

    Args:
        judged: data, split and readers, the same for all rows.
        rows: per row and seed its figures, or ``failed`` with the reason.
    """
    counts = sorted({row["count"] for row in rows if "failed" not in row})
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    faces = f"{counts[0]} faces" if len(counts) == 1 else "no faces yet" if not counts else "faces"
    lines = []
    for name in dict.fromkeys(row["row"] for row in rows):
        each = [row for row in rows if row["row"] == name]
        done = [row for row in each if "failed" not in row]
        failures = [f"seed {row['seed']} failed: {row['failed']}".replace("|", "/") for row in each if "failed" in row]
        cells = [_cell([_value(row, place) for row in done], decimals) for _, decimals, place in COLUMNS]
        lines.append([f"{name} ({'; '.join(failures)})" if failures else name, *cells])
    table = markdown(["row", *(column for column, _, _ in COLUMNS)], lines)
    return f"{judged['data']}, {judged['split']} split, {faces}; training seed(s) {seeds}.\n\n{table}\n"


def _cell(values: Sequence[float | None], decimals: int) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return NOTHING
    mean = f"{statistics.fmean(known):,.{decimals}f}"
    return mean if len(known) < 2 else f"{mean} ± {statistics.stdev(known):,.{decimals}f}"
