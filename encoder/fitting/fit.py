"""Training of an emotion encoder on labels and votes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import CalibrationConfig, EncoderConfig
from encoder.data.face_set import FaceSet, head_labels
from encoder.data.load import load_faces
from encoder.emotions import NUM_EMOTIONS
from encoder.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix, macro_f1
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.fitting.calibration import calibrate
from encoder.fitting.loss import EncoderLoss, load_teacher
from encoder.fitting.rebalancing import sampling_weights
from encoder.fitting.starting_point import PUBLISHED, make_net, make_optimizer, measured_preprocessing
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.preprocessing import normalise
from encoder.inference.views import averaged_logits
from encoder.models.emotion_net import EmotionNet
from engine.devices import compile_parts, describe
from engine.training import open_training
from engine.training.batches import GlobalBatches, uniforms
from engine.training.ema import Ema
from engine.training.optimization import (
    check_accumulation,
    cosine_schedule,
    gathering,
    plateau_schedule,
    set_learning_rate,
    take_step,
)
from engine.training.stop_request import GO_ON
from engine.training.task import LoopSettings, TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator


def load_split(config: EncoderConfig, split: str) -> FaceSet:
    """Faces of ``split`` ("train" or "valid") at the network's input size, as the configuration asks.

    Raises UserError: real faces are asked for without ``data.path``, or the data set is not readable.
    """
    data, size = config.data, config.preprocessing.size
    if data.source == "drawn":
        from encoder.drawing.faces import drawn_set

        count = data.drawn_count if split == "train" else max(data.drawn_count // 10, 64)
        faces = drawn_set(split, count, seed=config.train.seed, size=size)  # type: ignore[arg-type]
    elif data.path is None:
        raise UserError("data.path: say where FER-2013 is, e.g. data.path=~/fer2013 (python -m encoder.prepare checks it)")
    else:
        faces = load_faces(Path(data.path).expanduser(), split, on_error=data.on_error, size=size)  # type: ignore[arg-type]
    if split == "train" and data.sixfold_rotation is not None:
        from encoder.fitting.sixfold import sixfold

        return sixfold(faces, data.sixfold_rotation)
    return faces


class EncoderTask(TrainingTask):
    """Cross-entropy on hard labels and on annotators' votes, one head each, over augmented and mixed-up faces."""

    def __init__(
        self,
        config: EncoderConfig,
        net: EmotionNet,
        teacher: EmotionEncoder | None,
        train: FaceSet,
        valid: FaceSet,
        accelerator: Accelerator,
    ) -> None:
        self._config, self._accelerator = config, accelerator
        settings = config.train
        device = accelerator.device
        net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(net, settings)
        self._net, self._optimizer = accelerator.prepare(net, optimizer)
        self.modules: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"net": optimizer}
        self.emas = {"net": Ema(net, settings.ema_decay)}
        self._loss = EncoderLoss(config, train, teacher).to(device)
        set_learning_rate(optimizer, settings.learning_rate)
        self._plateau = plateau_schedule(optimizer, settings.plateau_factor, settings.plateau_patience)
        self._images = torch.from_numpy(train.images).unsqueeze(1)
        self._labels = torch.from_numpy(train.labels.astype(np.int64))
        self._votes = torch.from_numpy(train.votes)
        self.valid = valid
        weights = sampling_weights(train, settings.sampling)
        self.batches = GlobalBatches.shared(accelerator, len(train), settings.batch_size, seed=settings.seed, weights=weights)
        compile_parts([net], settings.compile)

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Augmented network input (B, 1, S, S), smoothed labels (B, 7), votes (B, 8) of this rank."""
        config, device = self._config, self._accelerator.device
        epoch, index = self.batches(step)
        # Drawn with weights, a face comes several times in an epoch, and should look different each time.
        moment = epoch if config.train.sampling == "instance" else step
        u = torch.from_numpy(uniforms(config.train.seed, moment, index, NUM_UNIFORMS)).to(device)
        picked = torch.from_numpy(index)
        faces = self._images[picked].to(device).float().div_(255.0)
        faces = normalise(augment(faces, u, config.augment), config.preprocessing)
        labels = self._labels[picked].to(device)
        smooth = config.train.label_smoothing
        targets = F.one_hot(labels.clamp(min=0), NUM_EMOTIONS).float() * (1 - smooth) + smooth / NUM_EMOTIONS
        targets = targets * (labels >= 0).float().unsqueeze(1)
        votes = self._votes[picked].to(device)
        if config.train.mixup:
            share = float(np.random.default_rng((config.train.seed, step)).beta(config.train.mixup, config.train.mixup))
            faces, targets, votes = (share * x + (1 - share) * x.roll(1, 0) for x in (faces, targets, votes))
        return faces.contiguous(memory_format=torch.channels_last), targets, votes

    def after_evaluation(self, figures: Mapping[str, float]) -> None:
        if self._config.train.schedule != "plateau":
            return
        before = self._plateau.get_last_lr()
        self._plateau.step(figures["score"])
        lowered = self._plateau.get_last_lr()
        if lowered != before and self._accelerator.is_main_process:
            print(f"encoder: no better on valid; learning rate {max(lowered):.2e}", file=sys.stderr)

    def state(self) -> dict[str, Any]:
        return {"plateau": self._plateau.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if self._config.train.schedule == "plateau":
            stored = dict(state["plateau"])
            if stored.keys() != self._plateau.state_dict().keys():
                raise UserError(
                    "the checkpoint is of an earlier release, which kept train.schedule=plateau otherwise; start anew"
                )
            self._plateau.load_state_dict(stored)

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        settings, count = self._config.train, self._config.train.accumulate
        if settings.schedule != "plateau":  # which lowers the rate itself
            falling = settings.schedule == "cosine"
            set_learning_rate(self._optimizer, settings.learning_rate * (cosine_schedule(progress) if falling else 1.0))
        parts = list(zip(*(tensor.chunk(count) for tensor in self._batch(step)), strict=True))
        totals: dict[str, Tensor] = {}
        for faces, targets, votes in gathering(self._accelerator, self._net, parts):
            with self._accelerator.autocast():
                output = self._net(faces)
                losses = self._loss(faces, output.logits, {"fer2013": targets, "ferplus": votes})
            loss = torch.stack(list(losses.values())).sum()
            self._accelerator.backward(loss / count)
            for name, value in {"loss": loss, **losses}.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / count
        return {**totals, "gradient_norm": take_step(self._accelerator, self._net, self._optimizer, 5.0)}

    def evaluate(self) -> dict[str, float]:
        """Figures of the averaged weights on valid, before calibration."""
        encoder = EmotionEncoder(self.emas["net"].module, self._config.preprocessing, CalibrationConfig())  # type: ignore[arg-type]
        logits = averaged_logits(encoder, self.valid)
        figures: dict[str, float] = {}
        for head, values in logits.items():
            labels = head_labels(self.valid, head)
            known = labels >= 0
            if not known.any():
                continue
            table = confusion_matrix(labels[known], values[known].argmax(axis=1), values.shape[1])
            figures[f"{head}_accuracy"] = accuracy(table)
            figures[f"{head}_macro_recall"] = balanced_accuracy(table)
            figures[f"{head}_macro_f1"] = macro_f1(table)
        figures["score"] = float(np.mean([value for name, value in figures.items() if name.endswith("accuracy")]))
        return figures


def fit_encoder(config: EncoderConfig, run_dir: Path, resume: str | None, *, go_on: str = GO_ON) -> int:
    """Train as configured; returns the exit code. Writes ``run_dir/weights`` when the schedule is complete.

    Whoever stops it is told to ``go_on``.
    """
    training = open_training("encoder", config, config.train, run_dir, resume, module="net", go_on=go_on)
    accelerator = training.accelerator
    # Before the faces, which take long to read, are asked for: what can be refused without them.
    check_accumulation("train.batch_size", config.train.batch_size, accelerator.num_processes, config.train.accumulate)
    net, teacher = training.agreement.in_turn(lambda: (make_net(config), load_teacher(config)))
    train, valid = load_split(config, "train"), load_split(config, "valid")
    training.agreement.say(
        f"encoder: {len(train)} training and {len(valid)} validation faces ({train.source}), "
        f"{describe(accelerator, config.train.compile)}"
    )
    if "ferplus" in config.model.heads and not train.votes.any():
        raise UserError("model.heads asks for ferplus, but this data set has no FER+ votes; use model.heads=[fer2013]")
    described = config
    config = config.model_copy(update={"preprocessing": measured_preprocessing(config.preprocessing, train)})
    task = EncoderTask(config, net, teacher, train, valid, accelerator)
    every = task.batches.steps_per_epoch
    settings = LoopSettings(
        total_steps=max(1, round(config.train.epochs * every)),
        seed=config.train.seed,
        max_minutes=config.train.max_minutes,
        evaluate_every=max(1, round(config.train.evaluate_every * every)),
        checkpoint_every=config.train.checkpoint_every or max(20, 20 * round(every / 10)),
        keep=config.train.keep_checkpoints,
        patience=config.train.early_stopping,
        keep_best=config.train.select == "best",
    )
    outcome = training.run(task, settings)
    if outcome.exit_code or not accelerator.is_main_process:
        return outcome.exit_code
    encoder = EmotionEncoder(task.emas["net"].module, config.preprocessing, CalibrationConfig())  # type: ignore[arg-type]
    encoder.calibration = calibrate(encoder, train, valid)
    encoder.save_pretrained(
        run_dir / "weights",
        training={
            "config": described.model_dump(mode="json", exclude={"data": {"path"}, "train": {"init", "teacher"}}),
            # A folder's name would say where it stood on this machine, and no more.
            "start": described.train.init if described.train.init in (None, *PUBLISHED) else "other weights",
            "steps": outcome.step,
            "kept_step": outcome.kept,
            "epochs": round(outcome.step / every, 2),
            "minutes": round(outcome.minutes, 2),
        },
        metrics={"split": "valid", "count": len(valid), **{k: round(v, 6) for k, v in outcome.figures.items()}},
        data={"source": train.source, "train_faces": len(train)},
    )
    print(f"encoder: weights in {run_dir / 'weights'}; judge them with")
    print(f"  python -m encoder.evaluate --weights {run_dir / 'weights'} --data {config.data.path or 'drawn'}")
    return 0
