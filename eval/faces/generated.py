"""The faces a report is about: a verified set on disk, and first draws that nobody selected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from configs.cli import UserError
from encoder.data.face_set import Split
from encoder.data.load import load_faces
from encoder.emotions import EMOTION_NAMES, Emotion, one_hot

if TYPE_CHECKING:
    from generation.pipeline import FacePipeline


@dataclass(frozen=True)
class GeneratedSet:
    """Generated faces: ``images`` (N, S, S) uint8, ``labels`` (N,) what was asked for, and the set's manifest."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    manifest: dict[str, Any]

    def counts(self) -> dict[str, int]:
        return {name: int((self.labels == k).sum()) for k, name in enumerate(EMOTION_NAMES)}

    def first(self, per_emotion: dict[str, int]) -> GeneratedSet:
        """The first faces of each emotion.

        Raises:
            UserError: an emotion has fewer.
        """
        rows = []
        for name, count in per_emotion.items():
            found = np.flatnonzero(self.labels == Emotion[name.upper()])
            if len(found) < count:
                raise UserError(f"the generated set has {len(found)} faces of {name}, but {count} are needed: make a larger one")
            rows.append(found[:count])
        chosen = np.concatenate(rows) if rows else np.zeros(0, np.intp)
        return GeneratedSet(self.images[chosen], self.labels[chosen], tuple(self.names[row] for row in chosen), self.manifest)


@dataclass(frozen=True)
class FirstDraws:
    """The first draw of every seed, accepted or not, and how many were drawn a second.

    ``refused``: of each emotion some that were not accepted, as they were painted.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    accepted: npt.NDArray[np.bool_]
    per_second: float
    refused: Mapping[str, Sequence[npt.NDArray[np.uint8]]]


def read_set(folder: Path, size: int) -> GeneratedSet:
    """A set that :mod:`generation.dataset` wrote, both splits together, emotion by emotion in the order of the seeds.

    Raises:
        UserError: no such set, or one with an unreadable file.
    """
    from generation.dataset.files import MANIFEST

    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: holds no finished set; make one with python -m generation.dataset") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / MANIFEST}: cannot be read ({error})") from None
    if not manifest.get("ai_generated") or not isinstance(manifest.get("splits"), dict):
        raise UserError(f"{folder / MANIFEST}: is no manifest of a generated set")
    if manifest.get("request", {}).get("mark"):
        raise UserError(f"{folder}: its faces carry a visible mark, which would be measured too; make a set without --mark")
    if not manifest["splits"]:
        raise UserError(f"{folder}: this set has no faces")
    # Of folders without valid the reader holds out a tenth of train by itself, so both splits are read there in any case.
    splits: Sequence[Split] = ("train", "valid") if (folder / "train").is_dir() else tuple(manifest["splits"])
    parts = [load_faces(folder, split, size=size) for split in splits]
    names = [Path(name).name for part in parts for name in part.ids]
    order = sorted(range(len(names)), key=lambda row: _place(names[row]))
    images = np.concatenate([part.images for part in parts])[order]
    labels = np.concatenate([part.labels for part in parts])[order].astype(np.int64)
    return GeneratedSet(images, labels, tuple(names[row] for row in order), manifest)


def _place(name: str) -> tuple[int, int]:
    emotion, _, seed = Path(name).stem.partition("-")
    return EMOTION_NAMES.index(emotion), int(seed)


def obtain_set(pipe: FacePipeline, counts: dict[str, int], seed: int, folder: Path) -> GeneratedSet:
    """Make the set in ``folder``, or go on with one that was interrupted, and read it at the generator's own size."""
    pipe.dataset(folder, counts=counts, seed=seed, valid=0.0, format="parquet")
    return read_set(folder, pipe.tokenizer.config.size)


def draw_first(pipe: FacePipeline, per_emotion: int, seed: int, settings: dict[str, Any], *, refused: int = 0) -> FirstDraws:
    """``per_emotion`` first draws of each emotion, face i of each seeded ``seed + i``, as real faces are measured.

    Args:
        refused: so many of each emotion that were not accepted are kept as they were painted.
    """
    from eval.faces.look import as_real_ones

    images, labels, accepted, seconds = [], [], list[bool](), 0.0
    kept = dict[str, list[npt.NDArray[np.uint8]]]()
    for emotion in tqdm(Emotion, desc="first draws", unit="emotion", leave=False, disable=None):
        batch = pipe.draw_all(pipe.request(one_hot(emotion), per_emotion, seed, **settings))
        images += [face.image for face in batch.faces]
        labels += [int(emotion)] * len(batch.faces)
        accepted += [face.accepted for face in batch.faces]
        kept[emotion.label] = [face.image for face in batch.faces if not face.accepted][:refused]
        seconds += batch.seconds
    small = as_real_ones(images, pipe.tokenizer.config.size)
    return FirstDraws(small, np.array(labels), np.array(accepted), len(images) / seconds, kept)
