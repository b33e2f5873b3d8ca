"""Where a run's figures go: always ``metrics.jsonl``, and Weights & Biases when asked for."""

from __future__ import annotations

import json
import netrc
import os
import re
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from configs.cli import UserError
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, explain_write_error

WANDB_ID = "wandb-id.txt"
SAMPLES = "samples"
_WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")


class Tracker:
    """Append figures to ``run_dir/metrics.jsonl`` and, with ``wandb=True``, to a W&B run.

    W&B is online only for who has logged in (``wandb login`` or ``WANDB_API_KEY``), else offline under ``run_dir``: without
    a key its client stops with an error. A resumed run goes on as the same W&B run. A tracker that fails is reported once
    and left out; it never stops training.
    """

    def __init__(self, run_dir: Path, *, enabled: bool = True, wandb: bool = False, config: Any = None) -> None:
        self._folder = run_dir
        self._path = run_dir / "metrics.jsonl" if enabled else None
        self._run: Any = None
        self._said: set[str] = set()
        if enabled and wandb:
            self._start_wandb(run_dir, config)

    def _start_wandb(self, run_dir: Path, config: Any) -> None:
        try:
            import wandb
        except ImportError:
            self._say("W&B is not installed: figures go to metrics.jsonl only (pip install wandb)")
            return
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
        try:
            self._run = wandb.init(
                project="mimique",
                name=run_dir.name,
                id=_run_id(run_dir),
                # Offline too: the client keeps this mark, by which `wandb sync` joins the parts of a resumed run.
                resume="allow",
                dir=str(run_dir),
                mode=mode,
                config=config,
                settings=wandb.Settings(init_timeout=20, silent=True),
            )
        except (wandb.Error, OSError, UserError) as error:
            self._say(f"W&B could not start ({error}): figures go to metrics.jsonl only")

    def rewind(self, step: int) -> None:
        """Forget the figures after ``step``, which a run that goes on from there will log again, and a cut-off last line."""
        if self._path is None or not self._path.is_file():
            return
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
            if kept != lines:
                atomic_write_text(self._path, "".join(kept))
        except (OSError, UserError) as error:
            self._say(f"{self._path}: cannot be mended ({error}); it may hold some steps twice")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record ``figures`` at ``step``."""
        if self._path is None:
            return
        line = json.dumps({"step": step, "time": round(time.time(), 3), **figures})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self._say(f"{self._path}: cannot be written: {explain_write_error(error)}; training goes on")
        self._to_wandb(dict(figures), step)

    def pictures(self, step: int, files: Mapping[str, bytes]) -> None:
        """Keep PNG files under ``run_dir/samples``, named by step and name."""
        if self._path is None or not files:
            return
        folder = self._folder / SAMPLES
        try:
            folder.mkdir(exist_ok=True)
            for name, data in files.items():
                atomic_write_bytes(folder / f"{name}-{step:08d}.png", data)
        except (OSError, UserError) as error:
            self._say(f"{folder}: no picture could be written ({error}); training goes on")
            return
        if self._run is not None:
            import wandb

            images = {name: wandb.Image(str(folder / f"{name}-{step:08d}.png")) for name in files}
            self._to_wandb(images, step)

    def finish(self) -> None:
        """Close the W&B run, if there is one."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _to_wandb(self, content: dict[str, Any], step: int) -> None:
        if self._run is None:
            return
        try:
            self._run.log(content, step=step)
        except Exception as error:
            self._say(f"W&B stopped taking figures ({error}): metrics.jsonl goes on")
            self._run = None

    def _say(self, line: str) -> None:
        if line not in self._said:
            print(line, file=sys.stderr)
        self._said.add(line)


def _logged_in() -> bool:
    """Whether W&B's client has a key, by its variable or in the file that ``wandb login`` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = os.environ.get("WANDB_BASE_URL")
    hosts = _WANDB_HOSTS if server is None else (urlsplit(server).hostname,)
    try:
        known = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any(host in known for host in hosts)


def _run_id(run_dir: Path) -> str:
    """The W&B id of the run in ``run_dir``: made once, then always the same."""
    path = run_dir / WANDB_ID
    if path.is_file():
        found = path.read_text(encoding="utf-8").strip()
        if re.fullmatch(r"[a-z0-9]{8}", found):
            return found
    made = secrets.token_hex(4)
    run_dir.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, made + "\n")
    return made


def _step_of(line: str) -> float:
    """The step of a line of figures; one that is damaged counts as after everything."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
