"""What each setting of generation does on its own: one is changed at a time from a base, the defaults with no face refused."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from configs.cli import UserError
from configs.loader import validate
from encoder.emotions import EMOTION_NAMES
from eval.experiments.experiment import Figures
from eval.experiments.grid import Grid, GridPoint
from eval.experiments.options import numbers, whole, words
from eval.faces.real import DRAWN
from eval.measures.distances import bootstrap
from eval.measures.floors import RealFeatures, as_ratio, diversity
from eval.output.chart import Panel, in_rows, write_chart
from eval.output.table import write_tables
from generation.request import FaceRequest
from vqvae.config import SamplingConfig, TokenizerConfig

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import Prediction
    from generation.faces import FaceBatch


@dataclass(frozen=True)
class Knob:
    """One setting: the values it takes if none are named, and what else must be on for it to do anything."""

    values: tuple[Any, ...]
    needs: Mapping[str, Any] = field(default_factory=dict)


# By the names of FaceRequest; without values where the weights say which there are. In the order of the table and, three a row,
# of the charts.
KNOBS: Mapping[str, Knob] = {
    "steps": Knob((4, 8, 12, 16)),
    "guidance": Knob((0, 1, 3, 5)),
    "temperature": Knob((0.6, 0.8, 1)),
    "cooled": Knob((0.25, 0.5, 1)),
    "autoguidance": Knob(()),
    "encoder_guidance": Knob((0, 1, 4, 16)),
    "candidates": Knob((2, 4, 8), {"encoder_guidance": 4.0}),
    "identity": Knob((False, True)),
    "threshold": Knob((0, 0.5, 0.8)),
    "max_tries": Knob((1, 2, 4, 32), {"threshold": 0.5}),
    "best_of": Knob((1, 2, 4, 8), {"threshold": 0.5}),
    "look": Knob(()),
    "precision": Knob(("float32", "bf16")),
    "intensity": Knob((0.25, 0.5, 0.75, 1)),
    "avoidance": Knob((0, 0.25, 0.5, 1)),
}
AUTOGUIDANCE = (0.0, 0.5, 1.0, 2.0)
WHOLE = ("steps", "candidates", "max_tries", "best_of")
COLUMNS = ("knob", "value", "accuracy, judge", "accuracy, encoder", "diversity / real", "avoided, judge", "avoided, encoder",
           "delivered", "seconds a face", "× base")  # fmt: skip
READERS = {"judge": "second judge", "encoder": "encoder"}
# What each emotion is guided away from while avoidance is varied: one that it is often taken for.
AVOIDED = {"anger": "disgust", "disgust": "anger", "fear": "surprise", "happiness": "surprise", "sadness": "neutral",
           "surprise": "fear", "neutral": "sadness"}  # fmt: skip


def option(knob: str) -> str:
    """How a knob is spelled on the command line and in tables."""
    return knob.replace("_", "-")


def label(value: Any) -> str:
    """A knob's value as it is written."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}"


def stored_settings(weights: str) -> tuple[SamplingConfig, dict[str, tuple[Any, ...]]]:
    """How the prior in ``weights`` is best sampled, and the values that it has for the knobs that have none of their own.

    The looks that it knows, the default first; and autoguidance, where it has an early exit. Read from what is stored beside
    it, without its weights.

    Raises:
        UserError: there are no such weights.
    """
    from engine.storage.weights import read_config, resolve_folder
    from generation.settle import known_looks
    from vqvae.prior import KIND, PriorShape
    from vqvae.tokenizer import KIND as TOKENIZER

    root = resolve_folder(weights)
    prior, tokenizer = read_config(root / "prior", KIND), read_config(root / "tokenizer", TOKENIZER)
    shape = validate(PriorShape, prior["model"], f"{root}/prior/config.json")
    config = validate(TokenizerConfig, tokenizer["model"], f"{root}/tokenizer/config.json")
    sampling = validate(SamplingConfig, prior.get("calibration", {}), f"{root}/prior/config.json")
    return sampling, {"look": known_looks(shape, config), "autoguidance": AUTOGUIDANCE if shape.exit else ()}


def base_settings(look: str, sampling: SamplingConfig) -> dict[str, Any]:
    """The settings from which one is changed at a time: defaults, nothing avoided, and no verification (threshold None)."""
    stored = {name: field.default for name, field in FaceRequest.model_fields.items() if name in KNOBS} | sampling.model_dump()
    settings = {**stored, "look": look, "threshold": None, "intensity": 1.0, "avoidance": 0.0}
    return {name: settings[name] for name in KNOBS}


def _values(name: str, given: Sequence[Any], base: Mapping[str, Any]) -> list[Any]:
    """Those given and, where the knob works on its own, that of the base: sorted numbers, words as given."""
    values = [whole(f"--{option(name)}", value) if name in WHOLE else value for value in given]
    if not KNOBS[name].needs:
        values = [base[name], *(value for value in values if value != base[name])]
    numeric = [value for value in values if isinstance(value, int | float)]
    return [value for value in values if value not in numeric] + sorted(numeric)


def point_name(settings: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Name of a point's file: what differs from the base."""
    changed = [f"{option(name)}-{label(value)}" for name, value in settings.items() if value != base[name]]
    return "_".join(changed) or "base"


@dataclass(frozen=True)
class KnobRow:
    """A line of the table: a value of a knob, whether it is the default, and the name of the point that has it."""

    knob: str
    value: Any
    default: bool
    point: str


class Knobs(Grid):
    """One knob turned at a time."""

    name = "knobs"
    per_emotion = 24
    examples = """examples:
  python -m eval.knobs --data DATA --out out/knobs
  python -m eval.knobs --data DATA --only encoder-guidance,candidates --encoder-guidance 0,2,4,8,16
  python -m eval.knobs --data DATA --per-emotion 64 --out out/knobs-64
  python -m eval.knobs --data drawn --weights runs/vqvae/weights --encoder pretrained/encoder --only steps --steps 4,8

Written to OUT: knobs.md, knobs.csv, knobs.json and knobs.png, a chart a knob. For each value of each knob: the share of faces
to which the second judge and the encoder give the emotion asked for; diversity (mean distance between faces of one emotion,
in the second judge's features) as a multiple of that of real train faces; seconds a face, and as a multiple of the base's.
Faces are first draws, none refused, but for threshold, max-tries and best-of: there only those that the encoder accepts count.
bf16 is faster only where the hardware multiplies it; elsewhere leave it out (--precision float32).
Intervals are 95 %: Wilson for shares, else bootstrap.

All points draw the same seeds. Those that are done are kept in OUT/points: run the same command again to go on, or add
values. As many faces as by default take about 9 minutes where 15 guided faces a second are drawn; do nothing else meanwhile,
or the seconds say nothing. With --data drawn the look of the base is drawn."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        super().options(parser)
        parser.add_argument("--only", type=words, metavar="KNOB,KNOB", help=f"default: all of {', '.join(map(option, KNOBS))}")
        for name, knob in KNOBS.items():
            if name == "identity":  # off or on: nothing to choose
                continue
            kind = words if name in ("look", "precision") else numbers
            on = f" with {_settings(knob.needs)}" if knob.needs else ""
            help = f"default: {','.join(map(str, knob.values)) or 'those that the weights know'}{on}"
            parser.add_argument(f"--{option(name)}", type=kind, default=knob.values, metavar="LIST", help=help)

    def plan(self) -> dict[str, GridPoint]:
        """Points that the rows of the table need, the base first; :attr:`rows` are the rows.

        Raises:
            UserError: an unknown knob, or a value out of range.
        """
        chosen = tuple(name.replace("-", "_") for name in self.arguments.only or KNOBS)
        if unknown := [name for name in chosen if name not in KNOBS]:
            raise UserError(f"--only: no knob {option(unknown[0])!r}; known are {', '.join(map(option, KNOBS))}")
        sampling, known = stored_settings(self.arguments.weights)
        self.base = base = base_settings(DRAWN if self.arguments.data == DRAWN else known["look"][0], sampling)
        default = {**base, "threshold": FaceRequest.model_fields["threshold"].default}
        points = {"base": self.point(base)}
        self.rows = []
        for name in (name for name in KNOBS if name in chosen):
            for value in _values(name, getattr(self.arguments, name, KNOBS[name].values) or known[name], base):
                settings = {**base, **KNOBS[name].needs, name: value}
                point = point_name(settings, base)
                points[point] = points.get(point) or self.point(settings, _away(settings["avoidance"]))
                self.rows.append(KnobRow(name, value, value == default[name], point))
        self.points = points
        return points

    def load(self) -> None:
        """Warm up too: the first pass through the networks takes longer than any other, in each precision."""
        super().load()
        import torch

        # Seconds of another machine must not stand in the same table.
        machine = {"device": self.pipe.encoder.device.type, "threads": torch.get_num_threads()}
        self.made_from |= {"base": self.base, "avoided": AVOIDED, **machine}
        for precision in {point.settings["precision"] for point in self.points.values()}:
            request = self.points["base"].requests["neutral"]
            self.pipe.draw_all(request.model_copy(update={"count": 2, "precision": precision}))

    def draw(self, point: GridPoint, request: FaceRequest) -> FaceBatch:
        """First draws, or where a threshold is set the faces that the encoder accepts.

        Raises:
            KeyboardInterrupt: also where ``generate`` took it for the wish to have the faces accepted by then; a point of
                such faces would be kept as if it were whole.
        """
        if point.settings["threshold"] is None:
            return super().draw(point, request)
        batch = self.pipe.generate(request)
        if batch.interrupted:
            raise KeyboardInterrupt
        return batch

    def head(self, point: GridPoint, batches: list[FaceBatch]) -> Figures:
        seconds, count = sum(batch.seconds for batch in batches), sum(len(batch.faces) for batch in batches)
        return {
            "settings": dict(point.settings),
            "faces": count,
            "asked": sum(request.count for request in point.requests.values()),
            "drawn": sum(batch.tried for batch in batches),
            "seconds": round(seconds, 3),
            "seconds_per_face": float(f"{seconds / count:.4g}") if count else None,
        }

    def see(self, readings: list[Prediction], real: RealFeatures) -> Figures:
        import numpy as np

        rounds = self.arguments.bootstrap
        spread = diversity([each.embeddings.numpy() for each in readings], real, rounds=rounds)
        unwanted = [EMOTION_NAMES.index(AVOIDED[name]) for name in EMOTION_NAMES]
        seen = np.concatenate([each.distributions[:, column] for each, column in zip(readings, unwanted, strict=True)])
        found: Figures = {name: {"diversity": figure} for name, figure in spread.items()}
        found["avoided"] = None
        if len(seen):
            ends = bootstrap(lambda rows: float(seen[rows].mean()), len(seen), rounds=rounds)
            found["avoided"] = {"value": round(float(seen.mean()), 4), "interval": [round(end, 4) for end in ends]}
        return found

    def write(self, done: Mapping[str, Figures]) -> str:
        rows, out = self.rows, self.arguments.out
        content = {**self.made_from, "notes": self._notes(done["base"]), "points": done, "rows": [asdict(row) for row in rows]}
        text = write_tables(out, "knobs", content, COLUMNS, [_cells(row, done) for row in rows])
        by_knob = [list(group) for _, group in itertools.groupby(rows, lambda row: row.knob)]
        panels = in_rows([_panel(group, done) for group in by_knob])
        write_chart(out / "knobs.png", panels, f"{self.faces_line()}. *: default. ×: seconds a face, base = 1")
        return text

    def _notes(self, base: Mapping[str, Any]) -> list[str]:
        made_from, names = self.made_from, dict.fromkeys(row.knob for row in self.rows)
        real = [f"{base[reader]['all']['accuracy']['floor']:.2f} ({reader})" for reader in READERS]
        pairs = ", ".join(f"{name} without {unwanted}" for name, unwanted in AVOIDED.items())
        return [
            f"{self.faces_line()}; real faces: {made_from['data']}, train for diversity, {made_from['split']} for accuracy: they "
            f"are read right at a rate of {' and '.join(real)}.",
            f"Base, from which one thing is changed at a time: {_settings(self.base)}.",
            f"Seconds on {made_from['device']}, {made_from['threads']} threads.",
            *(f"Rows of {option(name)} have {_settings(needs)} as well." for name in names if (needs := KNOBS[name].needs)),
            *([f'"avoided" is the mean probability of the emotion that is avoided: {pairs}.'] if "avoidance" in names else []),
        ]


def _away(avoidance: float) -> dict[str, dict[str, Any]]:
    return {name: {"avoid": AVOIDED[name], "avoidance": avoidance} if avoidance else {} for name in EMOTION_NAMES}


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{option(name)} {label(value)}" for name, value in settings.items())


def _figures(row: KnobRow, point: Mapping[str, Any]) -> list[Any]:
    """Accuracy by both readers, diversity, and what is left of what is avoided, by both; None of what says nothing."""
    spread = point["judge"]["all"]["diversity"]
    avoided = [point[reader]["avoided"] if row.knob == "avoidance" else None for reader in READERS]
    return [*(point[reader]["all"]["accuracy"] for reader in READERS), spread and as_ratio(spread), *avoided]


def _seconds(point: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Seconds a face, and as a multiple of the base's; None where no face was delivered."""
    one = point["seconds_per_face"]
    return (None, None) if one is None else (f"{one:.3g}", f"{one / base['seconds_per_face']:.2f}")


def _cells(row: KnobRow, points: Mapping[str, Any]) -> list[Any]:
    point, value = points[row.point], label(row.value) + (" (default)" if row.default else "")
    delivered = f"{point['faces']}/{point['asked']}"
    return [option(row.knob), value, *_figures(row, point), delivered, *_seconds(point, points["base"])]


def _panel(rows: Sequence[KnobRow], points: Mapping[str, Any]) -> Panel:
    names = [*(f"accuracy, {who}" for who in READERS.values()), "diversity / real"]
    names += [f"avoided emotion, {who}" for who in READERS.values()]
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    ticks = []
    for place, row in enumerate(rows):
        point = points[row.point]
        for name, figure in zip(names, _figures(row, point), strict=True):
            if figure and figure["value"] is not None:
                lines.setdefault(name, []).append((place, figure["value"], *figure["interval"]))
        _, times = _seconds(point, points["base"])
        ticks.append(f"{label(row.value)}{' *' if row.default else ''}\n{f'{times}×' if times else '–'}")
    knob = rows[0].knob
    on = f" (with {_settings(KNOBS[knob].needs)})" if KNOBS[knob].needs else ""
    return Panel(option(knob) + on, "", "", lines, ticks)
