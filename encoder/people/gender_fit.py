"""Training and assessment of the gender classifier on faces128, whose splits share no person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.fitting.calibration import fit_calibration
from encoder.inference.preprocessing import normalise
from encoder.people.gender import GENDERS, GenderClassifier, GenderNet
from encoder.people.gender_config import GenderCalibration, GenderConfig
from encoder.people.gender_data import count_people, gender_labels, load_gendered, sampling_weights, tight_crop
from engine.devices import describe
from engine.training import open_training
from engine.training.batches import GlobalBatches, uniforms
from engine.training.ema import Ema
from engine.training.optimization import adamw, cosine_schedule, decay_groups, set_learning_rate, take_step
from engine.training.task import LoopSettings, TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator


def _zoomed(faces: Tensor, u: Tensor, tight: float, size: int) -> Tensor:
    """(N, 1, size, size): of each face, the central part that is left when up to ``tight`` of it is cut off."""
    scale = 1.0 - u * tight
    zero = torch.zeros_like(scale)
    matrix = torch.stack([torch.stack([scale, zero, zero], 1), torch.stack([zero, scale, zero], 1)], 1)
    grid = F.affine_grid(matrix, [len(faces), 1, size, size], align_corners=False)
    return F.grid_sample(faces, grid, mode="bilinear", padding_mode="border", align_corners=False)


class GenderTask(TrainingTask):
    """Cross-entropy with label smoothing on faces drawn evenly from both genders, cropped and changed at random."""

    def __init__(self, config: GenderConfig, train: FaceSet, valid: FaceSet, accelerator: Accelerator) -> None:
        self._config, self._accelerator = config, accelerator
        settings = config.train
        torch.manual_seed(settings.seed)
        net = GenderNet(config.model).to(device=accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = adamw(decay_groups(net, settings.weight_decay), lr=settings.learning_rate)
        self._net, self._optimizer = accelerator.prepare(net, optimizer)
        self.modules: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"net": optimizer}
        self.emas = {"net": Ema(net, settings.ema_decay)}
        self._images = torch.from_numpy(train.images).unsqueeze(1)
        self._labels = torch.from_numpy(gender_labels(train))
        self._valid = valid
        weights = sampling_weights(train)
        self.batches = GlobalBatches.shared(accelerator, len(train), settings.batch_size, seed=settings.seed, weights=weights)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Network input (B, 1, S, S) and labels (B,) of this rank."""
        config, device = self._config, self._accelerator.device
        _, index = self.batches(step)
        # Keyed by the step, because a face that is drawn again within an epoch should look different.
        u = torch.from_numpy(uniforms(config.train.seed, step, index, NUM_UNIFORMS + 1)).to(device)
        picked = torch.from_numpy(index)
        faces = self._images[picked].to(device).float().div_(255.0)
        faces = _zoomed(faces, u[:, NUM_UNIFORMS], config.data.tight, config.preprocessing.size)
        faces = normalise(augment(faces, u[:, :NUM_UNIFORMS], config.augment), config.preprocessing)
        return faces.contiguous(memory_format=torch.channels_last), self._labels[picked].to(device)

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        faces, labels = self._batch(step)
        set_learning_rate(self._optimizer, self._config.train.learning_rate * cosine_schedule(progress))
        with self._accelerator.autocast():
            logits = self._net(faces)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self._config.train.label_smoothing)
        self._accelerator.backward(loss)
        norm = take_step(self._accelerator, self._net, self._optimizer, 5.0)
        return {"loss": loss.detach(), "gradient_norm": norm}

    def classifier(self) -> GenderClassifier:
        """The averaged weights, not yet calibrated."""
        net: Any = self.emas["net"].module
        return GenderClassifier(net, self._config.preprocessing, GenderCalibration())

    def evaluate(self) -> dict[str, float]:
        """Figures of the averaged weights on valid, whole and tight crop."""
        classifier, labels = self.classifier(), gender_labels(self._valid)
        figures: dict[str, float] = {}
        for prefix, images in (("", self._valid.images), ("tight_", tight_crop(self._valid.images))):
            table = confusion_matrix(labels, classifier.logits(images).argmax(axis=1), len(GENDERS))
            figures[f"{prefix}accuracy"] = accuracy(table)
            figures[f"{prefix}balanced_accuracy"] = balanced_accuracy(table)
        figures["score"] = 0.5 * (figures["balanced_accuracy"] + figures["tight_balanced_accuracy"])
        return figures


def calibrate_gender(classifier: GenderClassifier, valid: FaceSet) -> GenderCalibration:
    """The temperature that fits valid best, whole and tight crops together, both genders weighing the same."""
    labels = gender_labels(valid)
    logits = np.concatenate([classifier.logits(images) for images in (valid.images, tight_crop(valid.images))])
    labels = np.concatenate([labels, labels])
    # Repeating the rarer class to the length of the other is weighting without a second fitting routine.
    rows = [np.flatnonzero(labels == gender) for gender in range(len(GENDERS))]
    longest = max(len(row) for row in rows)
    even = np.concatenate([np.resize(row, longest) for row in rows])
    fitted = fit_calibration(logits[even], labels[even], np.ones(len(GENDERS)), (0.0,))
    return GenderCalibration(temperature=fitted.temperature)


def fit_gender(config: GenderConfig, run_dir: Path, resume: str | None) -> int:
    """Train as configured; returns the exit code. Writes ``run_dir/weights`` when the schedule is complete.

    Raises UserError: no ``data.path``, unreadable data, a run that exists already, or nothing to resume.
    """
    if config.data.path is None:
        raise UserError("data.path: say where faces128 is: --data FOLDER (the folder that holds faces.parquet)")
    path, data = Path(config.data.path).expanduser(), config.data
    training = open_training("gender", config, config.train, run_dir, resume, module="net", begin=False)
    train = load_gendered(path, "train", seed=data.split_seed, size=data.size)
    valid = load_gendered(path, "valid", seed=data.split_seed, size=data.size)
    training.agreement.say(f"gender: {len(train)} training and {len(valid)} validation faces, {describe(training.accelerator)}")
    task = GenderTask(config, train, valid, training.accelerator)
    every = task.batches.steps_per_epoch
    settings = LoopSettings(
        total_steps=max(1, round(config.train.epochs * every)),
        seed=config.train.seed,
        max_minutes=config.train.max_minutes,
        evaluate_every=2 * every,
        checkpoint_every=max(20, 2 * every),
    )
    outcome = training.run(task, settings)
    if outcome.exit_code or not training.accelerator.is_main_process:
        return outcome.exit_code
    classifier = task.classifier()
    classifier.calibration = calibrate_gender(classifier, valid)
    classifier.save_pretrained(
        run_dir / "weights",
        training={"config": config.model_dump(mode="json", exclude={"data": {"path"}}), "steps": outcome.step},
        metrics={"split": "valid", "count": len(valid), **{k: round(v, 6) for k, v in outcome.figures.items()}},
        data={"source": train.source, "train_faces": len(train), "train_people": count_people(train)},
    )
    print(f"gender: weights in {run_dir / 'weights'}; judge them with")
    print(f"  python -m encoder.evaluate_gender --weights {run_dir / 'weights'} --data {config.data.path}")
    return 0
