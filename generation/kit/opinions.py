"""What others say of the stimuli, none of whom chose them: a second encoder, a second critic, an embedder, the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from configs.cli import UserError
from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
from generation.dataset.selection import differences, thumbnails
from generation.weights import require_fit
from vqvae.critics.critic import RealismCritic

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.embeddings import Embedder
    from generation.draw import FaceModel

NONE = "none"
# Columns of what they say, one number a face; nan: nothing is said.
NUMBERS = ("critic_judge", "neutral_distance", "nearest_difference", "nearest_row")


@dataclass(frozen=True)
class Opinions:
    """Who is asked, of one set.

    Attributes:
        near: (M, 256) thumbnails of the faces that a stimulus may resemble; ``names``: (M) of them.
        about: what the manifest says of everybody. absent: why a column is empty, by its name.
    """

    judge: EmotionEncoder | None = None
    critic: RealismCritic | None = None
    embedder: Embedder | None = None
    near: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        model: FaceModel,
        look: str,
        *,
        judge: str = "pretrained/judge",
        critic: str = "pretrained/critic_judge",
        embedder: str | None = None,
        nearest: str = NONE,
    ) -> Self:
        """Load them; ``none`` in place of a name leaves one out.

        Args:
            look: of the faces, settled. embedder: None: dlib if it is installed.
            nearest: a data set, of whose train split the nearest face is looked for.

        Raises:
            UserError: one that was named cannot be had, or is the network that selects the faces.
        """
        from encoder.inference.emotion_encoder import EmotionEncoder

        about: dict[str, Any] = {}
        absent: dict[str, str] = {}
        reader = None
        if judge == NONE:
            absent["judge"] = "no second judge was asked (--judge none)"
        else:
            place = resolve_folder(judge)
            reader = EmotionEncoder.from_pretrained(place).to(model.device)
            about["judge"] = {"sha256": _other_than(model, "encoder", place, "--judge")}
        second = None
        painted = model.tokenizer.config.paints_photographs
        if critic == NONE:
            absent["critic_judge"] = "no second critic was asked (--critic-judge none)"
        elif painted and look != "photo":
            absent["critic_judge"] = f"critics judge photographs as they were painted, and these are of look {look}"
        else:
            place = resolve_folder(critic)
            second = RealismCritic.from_pretrained(place).to(model.device)
            require_fit(second, place, model.tokenizer, model.weights)
            about["critic_judge"] = {"sha256": _other_than(model, "critic", place, "--critic-judge")}
        network, why = _embedder(embedder)
        if network is None:
            absent["neutral_distance"] = why
        else:
            about["embedder"] = {"name": network.name, "metric": network.metric, "threshold": network.threshold}
        near, names = None, tuple[str, ...]()
        if nearest == NONE:
            absent["nearest_difference"] = "no data set was named (--nearest DATA)"
        else:
            near, names = _training_faces(nearest)
            about["nearest"] = {"data": Path(nearest).name, "faces": len(names)}
        return cls(reader, second, network, near, names, about, absent)

    def ask(self, images: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
        """What they say of one person's N faces, the neutral one first.

        Args:
            images: (H, W) grey or (H, W, 3) RGB, all of one shape.

        Returns:
            ``judge`` (N, 7) probabilities and (N,) of each of ``NUMBERS``; nan where nobody is there to say it.
        """
        unknown = np.full(len(images), np.nan)
        said = {"judge": np.full((len(images), 7), np.nan), **{name: unknown.copy() for name in NUMBERS}}
        if not images:
            return said
        if self.judge is not None:
            said["judge"] = self.judge.predict(np.stack(images), runtime="pytorch").distributions.double().cpu().numpy()
        if self.critic is not None:
            pixels = torch.from_numpy(np.stack(images))
            pixels = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
            device = next(self.critic.parameters()).device
            said["critic_judge"] = self.critic.realism(pixels.float().to(device) / 255.0).astype(np.float64)
        if self.embedder is not None:
            said["neutral_distance"] = _from_first(images, self.embedder)
        if self.near is not None:
            said["nearest_difference"], said["nearest_row"] = _nearest(images, self.near)
        return said


def _from_first(images: Sequence[NDArray[np.uint8]], embedder: Embedder) -> NDArray[np.float64]:
    from encoder.people.embeddings import checked_embeddings, distances

    # One by one, so that a face's vector does not depend on the faces beside it.
    vectors = np.concatenate([checked_embeddings(embedder, [image]) for image in images])
    return distances(vectors[:1], vectors, embedder.metric)[0]


def _nearest(images: Sequence[NDArray[np.uint8]], near: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smaller of the differences of a face and of its mirror image from the nearest of ``near``, and the row of that one."""
    table = np.minimum(*(differences(thumbnails(faces), near) for faces in (images, [image[:, ::-1] for image in images])))
    rows = table.argmin(axis=1)
    return table[np.arange(len(rows)), rows].astype(np.float64), rows.astype(np.float64)


def _other_than(model: FaceModel, part: str, place: Path, option: str) -> str:
    digest = file_sha256(place / WEIGHTS_FILE)
    if digest == model.weights.get(part):
        raise UserError(f"{option} {place}: is the {part} that selects the faces; name another, or none")
    return digest


def _embedder(name: str | None) -> tuple[Embedder | None, str]:
    """The embedder, or why there is none. One that was named must be there."""
    from encoder.people.embedders import DEFAULT_EMBEDDER, create_embedder

    if name == NONE:
        return None, "no embedder was asked (--embedder none)"
    try:
        return create_embedder(name or DEFAULT_EMBEDDER), ""
    except UserError as error:
        if name is not None:
            raise
        return None, str(error)


def _training_faces(data: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    from encoder.data.load import load_faces

    faces = load_faces(Path(data).expanduser(), "train", size=48)
    if not len(faces):
        raise UserError(f"--nearest {data}: its train split has no face")
    return thumbnails(list(faces.images)), tuple(faces.ids)
