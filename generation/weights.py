"""The networks of a generator in their folders: which there are, and whether they belong together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from configs.cli import UserError
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
from vqvae.critics.critic import RealismCritic
from vqvae.prior import MaskedPrior
from vqvae.tokenizer import Tokenizer

PARTS, CRITIC = ("encoder", "tokenizer", "prior"), "critic"


class Networks(NamedTuple):
    """A generator's parts, and SHA-256 of the weights of each."""

    encoder: EmotionEncoder
    tokenizer: Tokenizer
    prior: MaskedPrior
    weights: dict[str, str]
    critic: RealismCritic | None


def load_networks(folder: str | Path, encoder: str | Path | None = None) -> Networks:
    """The parts in ``folder``; see :meth:`generation.draw.FaceModel.from_pretrained`."""
    root = resolve_folder(str(folder))
    places = {part: root / part for part in PARTS}
    if encoder is not None:
        places["encoder"] = resolve_folder(str(encoder))
    for part, place in places.items():
        if not place.is_dir():
            hint = " (or name one: --encoder FOLDER)" if part == "encoder" else ""
            raise UserError(f"{place}: no such folder; weights need {', '.join(PARTS)}{hint}")
    reader = EmotionEncoder.from_pretrained(places["encoder"])
    tokenizer, prior = Tokenizer.from_pretrained(places["tokenizer"]), MaskedPrior.from_pretrained(places["prior"])
    trained_on = prior.shape.tokenizer_sha256
    if trained_on and trained_on != tokenizer.encoding_sha256():
        raise UserError(f"{places['prior']}: was trained on tokens that {places['tokenizer']} does not make")
    weights = {part: file_sha256(place / WEIGHTS_FILE) for part, place in places.items()}
    critic, place = None, root / CRITIC
    if place.is_dir():
        critic = RealismCritic.from_pretrained(place)
        require_fit(critic, place, tokenizer, weights)
        weights[CRITIC] = file_sha256(place / WEIGHTS_FILE)
    return Networks(reader, tokenizer, prior, weights, critic)


def require_fit(critic: RealismCritic, place: Path, tokenizer: Tokenizer, weights: dict[str, str]) -> None:
    """Refuse the critic in ``place`` where it judges other faces than tokenizer and prior of these ``weights`` make.

    Raises:
        UserError: which of its properties does not fit, and how to mend it.
    """
    if critic.tokens != {part: weights[part] for part in ("tokenizer", "prior")}:
        raise UserError(f"{place}: was trained on faces of another tokenizer or prior; train it anew, or remove it")
    if critic.config.channels != tokenizer.config.painted_channels:
        raise UserError(f"{place}: judges faces of {critic.config.channels} channels, and this tokenizer paints others")
    if not critic.scale.real:
        raise UserError(f"{place}: was never measured on real faces, and has no scale; train it anew, or remove it")
