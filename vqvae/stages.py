"""Runs the stages of a training one after the other and leaves weights and pictures in the run directory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from configs.cli import UserError
from encoder.accelerators import compile_backend, describe, make_accelerator
from encoder.agreement import Agreement
from encoder.classifier import EmotionEncoder
from encoder.evaluate import resolve_folder
from encoder.run_folder import CONFIG, open_run_once
from encoder.tracking import Tracker
from encoder.training import LoopSettings, TrainingTask, run_training
from encoder.weights import CONFIG_FILE, WEIGHTS_FILE, file_sha256
from vqvae.config import StageConfig, VqvaeConfig
from vqvae.faces import Faces, TrainingFaces, load_training_faces, open_training_shards
from vqvae.grids import emotion_grid, reconstruction_grid
from vqvae.prior import MaskedPrior
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import TokenizerTask

if TYPE_CHECKING:
    from accelerate import Accelerator


def stage_minutes(config: VqvaeConfig, stages: tuple[str, ...], total: float | None) -> dict[str, float | None]:
    """Time of each stage: its own ``max_minutes``, or its share of ``total``."""
    own = {"tokenizer": config.tokenizer_stage.max_minutes, "prior": config.prior_stage.max_minutes}
    if total is None:
        return {stage: own[stage] for stage in stages}
    if total <= 0:
        raise UserError(f"--max-minutes: must be positive, got {total:g}")
    parts = {stage: own[stage] or 1.0 for stage in stages}
    return {stage: total * part / sum(parts.values()) for stage, part in parts.items()}


class _Runner:
    """One invocation of the program: what all stages share."""

    def __init__(self, config: VqvaeConfig, arguments: argparse.Namespace) -> None:
        self.config, self.out, self.resume = config, arguments.out, arguments.resume
        self.accelerator: Accelerator = make_accelerator(config.device, config.precision)
        self.main = self.accelerator.is_main_process
        self.train, self.valid = self._faces()
        self.encoder = None
        if config.encoder is not None:
            self.encoder = EmotionEncoder.from_pretrained(resolve_folder(config.encoder))
        if self.main:
            print(
                f"vqvae: {len(self.train)} training and {len(self.valid)} validation faces, "
                f"{describe(self.accelerator, compile_backend(config.compile))}",
                file=sys.stderr,
            )

    def _faces(self) -> tuple[Faces, TrainingFaces]:
        config = self.config
        if config.faces.source != "shards":
            return load_training_faces(config, "train"), load_training_faces(config, "valid")
        cache, agreement = self.out / "cache", Agreement(self.accelerator)
        problem = None
        if self.main:
            # The first process indexes shards that have no index, the others then find it.
            try:
                for split in ("train", "valid"):
                    open_training_shards(config, split, cache)
            except UserError as error:
                problem = str(error)
        agreement.end_if(problem)
        train = open_training_shards(config, "train", cache)
        return train, open_training_shards(config, "valid", cache).spread()

    def start(self, stage: str) -> tuple[Path | None, bool]:
        """(checkpoint to resume from, whether the stage is complete already)."""
        folder = self.out / stage
        # Of the two files of weights, the last to be written.
        done = (self.out / "weights" / stage / CONFIG_FILE).is_file()
        if self.resume == "latest" and done:
            return None, True
        # A run that ended in its first stage has no folder of the second yet.
        resume = self.resume if self.resume != "latest" or (folder / CONFIG).is_file() else None
        return open_run_once(self.accelerator, folder, self.config, resume), False

    def loop(self, stage: str, task: TrainingTask, settings: StageConfig, minutes: float | None, source: Path | None) -> int:
        every = task.batches.steps_per_epoch
        interval = settings.evaluate_every or max(20, 20 * round(min(every, 500) / 20))
        folder = self.out / stage
        outcome = run_training(
            task,
            self.accelerator,
            folder,
            LoopSettings(
                total_steps=max(1, round(settings.epochs * every)),
                seed=self.config.seed,
                max_minutes=minutes,
                evaluate_every=interval,
                checkpoint_every=settings.checkpoint_every or interval,
                log_every=settings.log_every,
                keep=settings.keep_checkpoints,
            ),
            label=stage,
            resume_from=source,
            tracker=Tracker(folder, enabled=self.main, wandb=self.config.wandb, config=self.config.model_dump()),
        )
        if outcome.exit_code == 0 and self.main:
            notes = {
                "training": {
                    "config": self.config.without_folders(),
                    "steps": outcome.step,
                },
                "metrics": {"split": "valid", **{name: round(value, 6) for name, value in outcome.figures.items()}},
                "data": {"train_faces": len(self.train)},
            }
            task.emas[stage].module.save_pretrained(self.out / "weights" / stage, **notes)  # type: ignore[operator]
        self.accelerator.wait_for_everyone()
        return outcome.exit_code

    def tokenizer(self, minutes: float | None) -> int:
        source, done = self.start("tokenizer")
        if not done:
            task = TokenizerTask(self.config, self.train, self.valid, self.encoder, self.accelerator)
            code = self.loop("tokenizer", task, self.config.tokenizer_stage, minutes, source)
            if code:
                return code
        if self.main:
            path = self.out / "reconstructions.png"
            reconstruction_grid(Tokenizer.from_pretrained(self.out / "weights" / "tokenizer"), self.valid.images, path)
            print(f"vqvae: faces above, reconstructions below: {path}")
        return 0

    def prior(self, minutes: float | None) -> int:
        weights = self.out / "weights" / "tokenizer"
        if not weights.is_dir():
            raise UserError(f"{weights}: the prior needs a trained tokenizer there; run --stage tokenizer first")
        tokenizer = Tokenizer.from_pretrained(weights)
        if tokenizer.config != self.config.tokenizer:
            raise UserError(f"{weights}: was trained with other tokenizer settings than this configuration has")
        source, done = self.start("prior")
        if not done:
            digest = file_sha256(weights / WEIGHTS_FILE)
            task = PriorTask(
                self.config,
                self.train,
                self.valid,
                tokenizer,
                self.encoder,
                self.accelerator,
                tokenizer_sha256=digest,
                cache=self.out / "cache",
            )
            code = self.loop("prior", task, self.config.prior_stage, minutes, source)
            if code:
                return code
        if self.main:
            path = self.out / "generated.png"
            prior = MaskedPrior.from_pretrained(self.out / "weights" / "prior")
            emotion_grid(prior, tokenizer.to("cpu"), int(self.valid.sources[0]), path)
            print(f"vqvae: generated faces, one emotion a row: {path}")
        return 0


def train_stages(config: VqvaeConfig, arguments: argparse.Namespace) -> int:
    """Train what ``--stage`` asks for; returns the exit code."""
    stages = ("tokenizer", "prior") if arguments.stage == "both" else (arguments.stage,)
    if arguments.resume not in (None, "latest") and len(stages) > 1:
        raise UserError("--resume CHECKPOINT: say which stage it is of: --stage tokenizer or --stage prior")
    if arguments.resume == "latest" and not arguments.out.is_dir():
        raise UserError(f"--resume latest: {arguments.out} holds no run; start without --resume")
    minutes = stage_minutes(config, stages, arguments.max_minutes)
    runner = _Runner(config, arguments)
    for stage in stages:
        code = runner.tokenizer(minutes[stage]) if stage == "tokenizer" else runner.prior(minutes[stage])
        if code:
            return code
    if runner.main and config.faces.source == "drawn":
        print(
            "vqvae: these were drawn faces. Real ones: accelerate launch vqvae/train.py "
            "--config configs/vqvae/base.yaml faces.fer2013=FOLDER --out runs/faces"
        )
    torch.set_grad_enabled(True)
    return 0


__all__ = ["TrainingFaces", "stage_minutes", "train_stages"]
