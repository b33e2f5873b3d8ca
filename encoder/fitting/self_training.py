"""Self-training: what teachers say of faces that nobody labelled, mixed with what people say of those they did.

Noisy student (Xie et al., 2020): the teachers see clean faces, the pupil sees degraded and augmented ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from configs.cli import UserError
from encoder.config import EncoderConfig
from encoder.data.face_parquet import read_rows
from encoder.data.face_set import FaceCollector, FaceSet
from encoder.data.load import load_faces
from encoder.fitting.degrade import NUM_UNIFORMS, degrade
from encoder.fitting.lessons import Lessons, labelled_targets
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.weights import resolve_folder
from engine.training.batches import uniforms

# Photographs are degraded from this size, not from that of the network, whose own shrinking would hide it.
_PHOTOGRAPH_SIZE = 96
_AT_ONCE = 512


def load_teachers(config: EncoderConfig) -> list[EmotionEncoder]:
    """The frozen teachers. Raises UserError: one cannot be loaded, or lacks a head that is trained."""
    teachers = []
    for where in config.self_training.teachers:
        teacher = EmotionEncoder.from_pretrained(resolve_folder(where))
        missing = [head for head in config.model.heads if head not in teacher.net.config.heads]
        if missing:
            raise UserError(f"self_training.teachers: {where} has no head {missing[0]}; train with model.heads that it has")
        teachers.append(teacher)
    return teachers


def self_training_lessons(config: EncoderConfig, train: FaceSet, teachers: Sequence[EmotionEncoder]) -> Lessons:
    """Labelled faces, stored and aligned, and photographs, sharp and degraded, with mixed targets.

    The teachers read every crop of a labelled face and the sharp one of a photograph, and their mirror images.

    Raises:
        UserError: files are missing or broken, or the aligned faces are not those of the data set.
    """
    settings, size = config.self_training, config.preprocessing.size
    second = train.images if settings.aligned is None else _aligned(settings.aligned, train, size)
    labelled = np.stack([train.images, second], axis=1)
    said = labelled_targets(train, config.train.label_smoothing)
    answers = teacher_answers(teachers, labelled, settings.sharpening, config.model.heads)
    targets = {head: [_mixed(said[head], answer, settings.teacher_share)] for head, answer in answers.items()}
    crops, weights = [labelled], [np.full(len(train), (1 - settings.photograph_share) / len(train))]
    if settings.photographs:
        shown = np.concatenate([load_photographs(file) for file in settings.photographs])
        both = np.stack([_resized(shown, size), _degraded(shown, size, config.train.seed)], axis=1)
        answers = teacher_answers(teachers, both[:, :1], settings.sharpening, config.model.heads)
        for head, answer in answers.items():
            targets[head].append(answer)
        crops.append(both)
        weights.append(settings.photograph_share * _balanced(answers[config.model.heads[-1]], settings.balance))
    return Lessons(
        crops=torch.from_numpy(np.concatenate(crops)),
        targets={head: torch.cat(parts) for head, parts in targets.items()},
        weights=torch.from_numpy(np.concatenate(weights)),
    )


def load_photographs(file: str | Path) -> NDArray[np.uint8]:
    """(N, 96, 96) uint8 grey faces of a Parquet file with an ``image`` column. Raises UserError: a missing or broken file."""
    place = Path(file).expanduser()
    if not place.is_file():
        raise UserError(f"self_training.photographs: {place}: no such file; give Parquet files with an image column")
    collector = FaceCollector(place.stem, size=_PHOTOGRAPH_SIZE, on_error="refuse")
    for number, row in read_rows(place, ("image",), required=("image",)):
        collector.add((row["image"] or {}).get("bytes"), f"{place.name}:{number}", place=f"{place} row {number}")
    if not len(faces := collector.finish()):
        raise UserError(f"self_training.photographs: {place}: holds no face")
    return faces.images


@torch.inference_mode()
def teacher_answers(
    teachers: Sequence[EmotionEncoder], crops: NDArray[np.uint8], sharpening: float, heads: Sequence[str]
) -> dict[str, Tensor]:
    """Per head (N, classes) distributions: the calibrated answers of all teachers for all V ``crops`` (N, V, S, S) and their
    mirror images, averaged as log-probabilities and divided by the temperature ``sharpening``."""
    rows: dict[str, list[Tensor]] = {head: [] for head in heads}
    parts = range(0, len(crops), _AT_ONCE)
    for start in tqdm(parts, desc="asking the teachers", unit=f"{_AT_ONCE} faces", delay=1, leave=False, disable=None):
        part = torch.from_numpy(crops[start : start + _AT_ONCE])
        count = len(part)
        views = torch.cat([part, part.flip(-1)], dim=1)
        # PyTorch reads in the precision of the training, which is twice as fast in bfloat16.
        predictions = [teacher.predict(views.flatten(0, 1).unsqueeze(1), runtime="pytorch") for teacher in teachers]
        for head in heads:
            logs = [
                each.heads[head].float().clamp_min(1e-8).log().view(count, views.shape[1], -1).mean(dim=1) for each in predictions
            ]
            rows[head].append(torch.softmax(torch.stack(logs).mean(dim=0) / sharpening, dim=1))
    return {head: torch.cat(parts) for head, parts in rows.items()}


def _mixed(said: Tensor, answer: Tensor, share: float) -> Tensor:
    """People and teachers; the teachers alone where people said nothing."""
    known = (said.sum(dim=1, keepdim=True) > 0).float()
    return known * ((1 - share) * said + share * answer) + (1 - known) * answer


def _balanced(answers: Tensor, balance: float) -> NDArray[np.float64]:
    """(N,) weights that sum to 1: each face by its class's size to the power of minus ``balance``."""
    classes = answers.argmax(dim=1).numpy()
    counts = np.bincount(classes, minlength=answers.shape[1])
    weights = np.maximum(counts, 1)[classes] ** -balance
    return weights / weights.sum()


def _aligned(path: str, train: FaceSet, size: int) -> NDArray[np.uint8]:
    faces = load_faces(Path(path).expanduser(), "train", size=size)
    if faces.ids != train.ids:
        raise UserError(f"self_training.aligned: {path} holds other faces than data.path, or in another order")
    return faces.images


def _resized(faces: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    import cv2

    return np.stack([cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in faces])


def _degraded(faces: NDArray[np.uint8], size: int, seed: int) -> NDArray[np.uint8]:
    numbers = uniforms(seed, 0, np.arange(len(faces)), NUM_UNIFORMS)
    return _resized(np.stack([degrade(face, u) for face, u in zip(faces, numbers, strict=True)]), size)
