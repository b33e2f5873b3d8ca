"""One rung after the other: train, judge, measure, keep the row; every program in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from configs.cli import USER_ERROR_EXIT, UserError
from encoder.evaluation.ladder_table import figures_of, write_table
from encoder.experiments.ladder_rungs import RUNGS, Rung
from engine.storage.atomic import atomic_write_text, make_folder
from engine.storage.checkpoint import latest_checkpoint
from engine.storage.weights import CONFIG_FILE
from engine.training.stop_request import HANGUP_EXIT, INTERRUPTED_EXIT, TERMINATED_EXIT, StopRequest

ROW = "row.json"
_STOPPED = (INTERRUPTED_EXIT, TERMINATED_EXIT, HANGUP_EXIT)


class _RungError(Exception):
    """A program of a rung ended with ``code``; the message is its last word."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Ladder:
    """What all rungs have in common; ``out`` is the folder of one schedule."""

    data: str
    schedule: str
    out: Path
    split: str
    device: str
    max_minutes: float | None
    overrides: tuple[str, ...]
    command: str

    def climb(self, rungs: Sequence[Rung]) -> int:
        """Run those rungs, writing the table after each; returns the exit code.

        Raises UserError: a rung of ``out`` was run with other settings.
        """
        make_folder(self.out)
        reasons: dict[str, str] = {}
        asked = {rung.name for rung in rungs}
        found = {rung.name: self._kept_row(rung, asked=rung.name in asked) for rung in RUNGS}
        kept = {name: row for name, row in found.items() if row is not None}
        code = 0
        for number, rung in enumerate(rungs, 1):
            if rung.name in kept:
                print(f"ladder {number}/{len(rungs)}: {rung.name}: done before", file=sys.stderr)
                continue
            print(f"ladder {number}/{len(rungs)}: {rung.name} (log: {self.out / rung.name / 'log.txt'})", file=sys.stderr)
            try:
                kept[rung.name] = self._run(rung)
            except _RungError as error:
                reasons[rung.name] = str(error)
                print(f"ladder: {rung.name}: {error}", file=sys.stderr)
                code = error.code if error.code in _STOPPED else max(code, int(error.code != USER_ERROR_EXIT))
            self._write(kept, reasons)
            if code in _STOPPED:
                return code
        self._write(kept, reasons)
        return code

    def _write(self, kept: dict[str, dict[str, Any]], reasons: dict[str, str]) -> None:
        rows = [
            kept.get(rung.name)
            or {"name": rung.name, "title": rung.title, "ran": False, "reason": reasons.get(rung.name, "not asked for yet")}
            for rung in RUNGS
        ]
        write_table(rows, self.out, command=self.command, schedule=self.schedule)

    def _settings(self, rung: Rung) -> list[str]:
        """What ``encoder.train`` is told besides the configuration file."""
        where = ["data.source=drawn", "model.heads=[fer2013]"] if self.data == "drawn" else [f"data.path={json.dumps(self.data)}"]
        own = rung.settings(self.schedule, self.max_minutes)
        return [*where, f"train.device={self.device}", *own, *self.overrides]

    def _identity(self, rung: Rung) -> dict[str, Any]:
        """What must be equal for a stored row to be this rung's."""
        return {"data": self.data, "split": self.split, "settings": self._settings(rung) if rung.config else []}

    def _kept_row(self, rung: Rung, *, asked: bool) -> dict[str, Any] | None:
        """The row of a finished rung; of one that is not asked for, whatever settings it ran with.

        Raises UserError: the rung was run, or begun, on other data or with other settings.
        """
        path = self.out / rung.name / ROW
        if not path.is_file():
            return None
        try:
            stored = json.loads(path.read_text())
            row, (data, split, settings) = stored["row"], itemgetter("data", "split", "settings")(stored["identity"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; remove it, and the rung is judged again") from None
        begun = row is not None or any((self._run_folder(rung) / name).exists() for name in ("weights", "checkpoints"))
        wanted = self._identity(rung)
        other = (data, split) != (wanted["data"], wanted["split"]) or (asked and settings != wanted["settings"])
        if begun and other:
            raise UserError(
                f"{path.parent}: this rung was run on other data or with other settings; choose another --out, or remove "
                f"that folder and {self._run_folder(rung)}"
            )
        return None if row is None else dict(row)

    def _run_folder(self, rung: Rung) -> Path:
        """Run directory of ``encoder.train``. Landmarks are kept beside it: there, for all rungs that read them."""
        return self.out / f"run-{rung.name}"

    def _run(self, rung: Rung) -> dict[str, Any]:
        folder = self.out / rung.name
        folder.mkdir(exist_ok=True)
        log = folder / "log.txt"
        # Before anything is trained, so that it is never mistaken for a training with other settings.
        self._keep(rung, None)
        weights = self._weights(rung, folder, log)
        out = folder / "evaluation"
        judge = ["--data", self.data, "--weights", str(weights), "--split", self.split, "--out", str(out), "--overwrite"]
        _program("encoder.evaluate", [*judge, "--device", self.device], log)
        try:
            row = self._row(rung, weights, json.loads((out / "evaluation.json").read_text()))
        except UserError as error:
            raise _RungError(str(error), USER_ERROR_EXIT) from None
        self._keep(rung, row)
        return row

    def _keep(self, rung: Rung, row: dict[str, Any] | None) -> None:
        content = {"identity": self._identity(rung), "row": row}
        atomic_write_text(self.out / rung.name / ROW, json.dumps(content, indent=2) + "\n")

    def _weights(self, rung: Rung, folder: Path, log: Path) -> Path:
        """The folder of the rung's weights, trained or imported if it is not there yet."""
        from engine.storage.weights import resolve_folder

        if rung.weights == "deepface":
            weights = folder / "weights"
            if not (weights / CONFIG_FILE).is_file():
                _program("encoder.import_deepface", ["--out", str(weights), "--overwrite"], log)
            return weights
        if rung.weights is not None:
            return resolve_folder(rung.weights)
        run = self._run_folder(rung)
        if not (run / "weights" / CONFIG_FILE).is_file():
            arguments = ["--config", str(rung.config), *self._settings(rung), "--out", str(run)]
            if (run / "checkpoints").is_dir() and latest_checkpoint(run) is not None:
                arguments += ["--resume", "latest"]
            _program("encoder.train", arguments, log)
        return run / "weights"

    def _row(self, rung: Rung, weights: Path, evaluation: dict[str, Any]) -> dict[str, Any]:
        from encoder.experiments.model_cost import cost_of
        from encoder.inference.emotion_encoder import KIND
        from encoder.landmarks.classifier import KIND as LANDMARKS
        from engine.storage.weights import read_config

        stored = read_config(weights, (KIND, LANDMARKS))
        training = stored.get("training", {}) if rung.config else {}
        schedule = self.schedule if rung.config else ("published weights" if rung.weights == "deepface" else "shipped weights")
        return {
            "name": rung.name,
            "title": rung.title,
            "ran": True,
            "schedule": schedule,
            "settings": [*rung.settings(self.schedule, self.max_minutes), *self.overrides] if rung.config else [],
            "seed": training.get("config", {}).get("train", {}).get("seed"),
            "epochs": training.get("epochs"),
            "minutes": training.get("minutes"),
            "weights": str(weights),
            **cost_of(weights, self.data, self.split, self.device),
            **figures_of(evaluation),
        }


def _program(module: str, arguments: Sequence[str], log: Path) -> None:
    """Run ``python -m module``; what it says goes to the end of ``log``.

    Ctrl-C and SIGTERM are handed on once, so that a training can write its checkpoint. Raises _RungError: it did not end with
    0.
    """
    command = [sys.executable, "-m", module, *arguments]
    with log.open("a", encoding="utf-8") as file, StopRequest() as stop:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        start = file.tell()
        # A session of its own: else Ctrl-C in a terminal would reach the program twice.
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)  # noqa: S603
        handed_on = False
        try:
            while (code := process.poll()) is None:
                if stop.exit_code and not handed_on:
                    process.send_signal(stop.exit_code - 128)
                    handed_on = True
                time.sleep(0.2)
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise
    if stop.exit_code:
        raise _RungError("stopped; run the same command again to continue", stop.exit_code)
    if code:
        # The one line with which a program of this project says what is wrong, else where to read more.
        lines = log.read_bytes()[start:].decode(errors="replace").replace("\r", "\n").splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise _RungError(said[-1] if said else f"{module} ended with code {code}; see {log}", code)
