"""Where a run's figures go: always ``metrics.jsonl``, and Weights & Biases when asked for."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tracker:
    """Append figures to ``run_dir/metrics.jsonl`` and, with ``wandb=True``, to a W&B run.

    W&B is online only when ``WANDB_API_KEY`` is set, else offline under ``run_dir``: without a key its client stops with
    an error, and with a key but no network it blocks for minutes. A tracker that fails is reported once and left out;
    it never stops training.
    """

    def __init__(self, run_dir: Path, *, enabled: bool = True, wandb: bool = False, config: Any = None) -> None:
        self._path = run_dir / "metrics.jsonl" if enabled else None
        self._run: Any = None
        if enabled and wandb:
            self._start_wandb(run_dir, config)

    def _start_wandb(self, run_dir: Path, config: Any) -> None:
        try:
            import wandb
        except ImportError:
            print("W&B is not installed: figures go to metrics.jsonl only (pip install wandb)", file=sys.stderr)
            return
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        try:
            self._run = wandb.init(
                project="mimique",
                name=run_dir.name,
                dir=str(run_dir),
                mode=mode,
                config=config,
                settings=wandb.Settings(init_timeout=20, silent=True),
            )
        except (wandb.Error, OSError) as error:
            print(f"W&B could not start ({error}): figures go to metrics.jsonl only", file=sys.stderr)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record ``figures`` at ``step``."""
        if self._path is None:
            return
        line = json.dumps({"step": step, "time": round(time.time(), 3), **figures})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._run is not None:
            try:
                self._run.log(dict(figures), step=step)
            except Exception as error:
                print(f"W&B stopped taking figures ({error}): metrics.jsonl goes on", file=sys.stderr)
                self._run = None

    def finish(self) -> None:
        """Close the W&B run, if there is one."""
        if self._run is not None:
            self._run.finish()
            self._run = None
