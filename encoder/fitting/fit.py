"""Training of an emotion encoder on labels and votes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import CalibrationConfig, EncoderConfig
from encoder.data.face_set import FaceSet, head_labels
from encoder.data.load import load_faces
from encoder.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix, macro_f1
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.fitting.calibration import calibrate
from encoder.fitting.lessons import Lessons, labelled_lessons
from encoder.fitting.loss import EncoderLoss, disagreement, load_teacher
from encoder.fitting.self_training import load_teachers, self_training_lessons
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


# Where somebody keeps data and weights is nobody else's business.
_FOLDERS = {"data": {"path"}, "train": {"init", "teacher"}, "self_training": {"teachers", "aligned", "photographs"}}


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
        lessons: Lessons,
        valid: FaceSet,
        accelerator: Accelerator,
    ) -> None:
        """``train`` says how frequent the classes are; what is learnt is in ``lessons``."""
        self._config, self._accelerator = config, accelerator
        self._heads, self._consistency = config.model.heads, config.self_training.consistency
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
        self._lessons = lessons
        self.valid = valid
        weights = None if lessons.weights is None else lessons.weights.numpy()
        count = len(lessons.crops)
        self.batches = GlobalBatches.shared(accelerator, count, settings.batch_size, seed=settings.seed, weights=weights)
        compile_parts([net], settings.compile)

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        """Augmented network input (B, V, C, S, S), then the targets (B, classes) of each head, of this rank."""
        config, device = self._config, self._accelerator.device
        epoch, index = self.batches(step)
        # Drawn with weights, a face comes several times in an epoch, and should look different each time.
        moment = epoch if self._lessons.weights is None else step
        picked = torch.from_numpy(index)
        crops = self._lessons.crops[picked].to(device).float().div_(255.0)
        views = crops.shape[1]
        u = torch.from_numpy(uniforms(config.train.seed, moment, index, views * NUM_UNIFORMS)).to(device)
        faces = augment(crops.flatten(0, 1).unsqueeze(1), u.view(-1, NUM_UNIFORMS), config.augment)
        faces = normalise(faces, config.preprocessing).unflatten(0, (-1, views))
        batch = [faces, *(self._lessons.targets[head][picked].to(device) for head in config.model.heads)]
        if config.train.mixup:
            share = float(np.random.default_rng((config.train.seed, step)).beta(config.train.mixup, config.train.mixup))
            batch = [share * x + (1 - share) * x.roll(1, 0) for x in batch]
        return tuple(batch)

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
        for crops, *targets in gathering(self._accelerator, self._net, parts):
            views = crops.shape[1]
            faces = crops.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            # All crops of a face are asked for the same.
            wanted = {head: rows.repeat_interleave(views, 0) for head, rows in zip(self._heads, targets, strict=True)}
            with self._accelerator.autocast():
                output = self._net(faces)
                losses = self._loss(faces, output.logits, wanted)
                if views > 1:
                    losses["consistency"] = self._consistency * disagreement(output.logits, views)
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
    net, teacher, teachers = training.agreement.in_turn(lambda: (make_net(config), load_teacher(config), load_teachers(config)))
    train, valid = load_split(config, "train"), load_split(config, "valid")
    training.agreement.say(
        f"encoder: {len(train)} training and {len(valid)} validation faces ({train.source}), "
        f"{describe(accelerator, config.train.compile)}"
    )
    if "ferplus" in config.model.heads and not train.votes.any():
        raise UserError("model.heads asks for ferplus, but this data set has no FER+ votes; use model.heads=[fer2013]")
    described = config
    config = config.model_copy(update={"preprocessing": measured_preprocessing(config.preprocessing, train)})
    if teachers:
        with accelerator.autocast():
            lessons = self_training_lessons(config, train, teachers)
        training.agreement.say(
            f"encoder: with {len(lessons.crops) - len(train)} photographs that {len(teachers)} teacher(s) read"
        )
    else:
        lessons = labelled_lessons(train, config)
    task = EncoderTask(config, net, teacher, train, lessons, valid, accelerator)
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
            "config": described.model_dump(mode="json", exclude=_FOLDERS),
            # A folder's name would say where it stood on this machine, and no more.
            "start": described.train.init if described.train.init in (None, *PUBLISHED) else "other weights",
            "steps": outcome.step,
            "kept_step": outcome.kept,
            "epochs": round(outcome.step / every, 2),
            "minutes": round(outcome.minutes, 2),
        },
        metrics={"split": "valid", "count": len(valid), **{k: round(v, 6) for k, v in outcome.figures.items()}},
        data={"source": train.source, "train_faces": len(train), "photographs": len(lessons.crops) - len(train)},
    )
    print(f"encoder: weights in {run_dir / 'weights'}; judge them with")
    print(f"  python -m encoder.evaluate --weights {run_dir / 'weights'} --data {config.data.path or 'drawn'}")
    return 0
