"""Training of a model on landmarks: the same configuration, data, calibration and weights folder as a network's."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from configs.cli import UserError
from configs.loader import to_yaml
from encoder.config import CalibrationConfig, EncoderConfig
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix, macro_f1
from encoder.fitting.calibration import TAUS, fit_calibration
from encoder.fitting.fit import load_split
from encoder.landmarks.classifier import HEAD, LandmarkClassifier, standardised
from encoder.landmarks.features import features
from encoder.landmarks.finding import with_landmarks
from encoder.landmarks.models import LANDMARK_MODELS, Examples
from engine.storage.atomic import atomic_write_text, make_folder


def landmark_cache(run_dir: Path) -> Path:
    """Where found landmarks are kept: beside the run, for the other runs there."""
    return run_dir.resolve().parent / "landmarks"


def fit_landmarks(config: EncoderConfig, run_dir: Path, resume: str | None) -> int:
    """Train as configured; returns the exit code. Writes ``run_dir/weights``.

    Raises UserError: landmarks cannot be found, an emotion without a training face, or a folder that holds a run.
    """
    name = config.model.name
    if resume is not None:
        raise UserError(f"--resume: {name} trains in one go and leaves no checkpoint; start again without --resume")
    if config.data.sixfold_rotation is not None:
        raise UserError("data.sixfold_rotation: landmarks are brought upright, so that turned copies are equal; leave it out")
    if (run_dir / "weights").exists():
        raise UserError(f"{run_dir} already holds a run: choose another --out")
    make_folder(run_dir)
    atomic_write_text(run_dir / "config.yaml", to_yaml(config))
    cache = landmark_cache(run_dir)
    train, valid = (with_landmarks(labelled(load_split(config, split)), cache) for split in ("train", "valid"))
    started = time.monotonic()
    model = fit_model(config, train, valid)
    minutes = (time.monotonic() - started) / 60
    table = confusion_matrix(valid.labels.astype(np.int64), model.probabilities(_points(valid)).argmax(axis=1), NUM_EMOTIONS)
    figures = {f"{HEAD}_accuracy": accuracy(table), f"{HEAD}_macro_recall": balanced_accuracy(table)}
    figures[f"{HEAD}_macro_f1"] = macro_f1(table)
    model.save_pretrained(
        run_dir / "weights",
        training={
            "config": config.model_dump(mode="json", exclude={"data": {"path"}, "train": {"init", "teacher"}}),
            "minutes": round(minutes, 2),
        },
        metrics={"split": "valid", "count": len(valid), **{key: round(value, 6) for key, value in figures.items()}},
        data={"source": train.source, "train_faces": len(train)},
    )
    print(f"{name}: valid accuracy {figures[f'{HEAD}_accuracy']:.4f}", file=sys.stderr)
    print(f"{name}: weights in {run_dir / 'weights'}; judge them with")
    print(f"  python -m encoder.evaluate --weights {run_dir / 'weights'} --data {config.data.path or 'drawn'}")
    return 0


def fit_model(config: EncoderConfig, train: FaceSet, valid: FaceSet) -> LandmarkClassifier:
    """Fit on ``train``; choose temperature and prior correction on ``valid``. Both have labels and landmarks throughout.

    Raises UserError: an emotion without a training face.
    """
    seed, most = config.train.seed, config.landmarks.most_faces
    if most is not None and most < len(train):
        train = train.subset(np.random.default_rng(seed).permutation(len(train))[:most])
    y, y_valid = train.labels.astype(np.int64), valid.labels.astype(np.int64)
    counts = np.bincount(y, minlength=NUM_EMOTIONS)
    if not counts.all():
        raise UserError(f"{train.source}: no training face shows {EMOTION_NAMES[int(counts.argmin())]}, which {HEAD} needs")
    if not len(valid):
        raise UserError(f"{valid.source}: no face of the valid split has a label")
    x = features(_points(train))
    deviation = x.std(axis=0)
    scale = {"mean": x.mean(axis=0), "deviation": np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)}
    examples = Examples(standardised(x, scale), y)
    judged = Examples(standardised(features(_points(valid)), scale), y_valid)
    fitted = LANDMARK_MODELS[config.model.name](examples, judged, config.landmarks, seed)
    arrays = {name: np.ascontiguousarray(array) for name, array in (fitted | scale).items()}
    model = LandmarkClassifier(config.model.name, arrays, int(train.images.shape[1]), CalibrationConfig())
    heads = {HEAD: fit_calibration(model.scores(_points(valid)), y_valid, counts.astype(np.float64), TAUS)}
    model.calibration = CalibrationConfig(answer=HEAD, heads=heads)
    return model


def labelled(faces: FaceSet) -> FaceSet:
    """The faces with a label, the others left out."""
    return faces if (faces.labels >= 0).all() else faces.subset(faces.labels >= 0)


def _points(faces: FaceSet) -> np.ndarray:
    if faces.landmarks is None:
        raise ValueError("these faces have no landmarks; see encoder.landmarks.finding.with_landmarks")
    return faces.landmarks
