"""The networks of a generator in their folders: which there are, whether they belong together, where they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch

from configs.cli import UserError
from encoder.attributes.probe import KIND as PROBE
from encoder.attributes.probe import FaceAttributes
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.devices import resolve_device
from engine.storage.atomic import make_folder
from engine.storage.weights import WEIGHTS_FILE, file_sha256, read_config, resolve_folder
from vqvae.critics.critic import RealismCritic
from vqvae.prior import MaskedPrior
from vqvae.tokenizer import Tokenizer

PARTS, CRITIC = ("encoder", "tokenizer", "prior"), "critic"
# What a weights folder says of how its network was made, and a network in memory does not know.
_NOTES = ("training", "metrics", "data")


class FaceNetworks:
    """Encoder, tokenizer and prior, and a realism critic and a probe for hands and closed eyes where there are any.

    Attributes:
        weights: SHA-256 of the weights of each part.
        notes: for each part what its folder said of its training, if it came from one.
    """

    def __init__(
        self,
        encoder: EmotionEncoder,
        tokenizer: Tokenizer,
        prior: MaskedPrior,
        weights: dict[str, str] | None = None,
        critic: RealismCritic | None = None,
        notes: dict[str, dict[str, Any]] | None = None,
        probe: FaceAttributes | None = None,
    ) -> None:
        shape, config = prior.shape, tokenizer.config
        have = (config.grid**2, config.groups, config.codebook_size)
        if (shape.positions, shape.groups, shape.codebook_size) != have:
            raise UserError("prior and tokenizer do not belong together: they differ in positions, groups or codebook size")
        self.encoder, self.tokenizer, self.prior, self.critic, self.probe = encoder, tokenizer, prior, critic, probe
        self.weights, self.notes = weights or {}, notes or {}

    @classmethod
    def from_pretrained(cls, folder: str | Path = "pretrained", *, encoder: str | Path | None = None) -> Self:
        """Load ``encoder``, ``tokenizer``, ``prior`` and, if they are there, ``critic`` and ``attributes`` from the folders of
        these names.

        Args:
            folder: that holds them; from the current directory, or as shipped with the project.
            encoder: another folder for the encoder. The probe in ``attributes`` reads by the one in ``folder`` all the same.

        Raises:
            UserError: a part is missing or refused, or the prior or the critic was trained on what others make.
        """
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
        critic = None
        if (root / CRITIC).is_dir():
            places[CRITIC] = root / CRITIC
            critic = RealismCritic.from_pretrained(places[CRITIC], reader=reader if encoder is None else None)
            require_fit(critic, places[CRITIC], tokenizer, weights)
            weights[CRITIC] = file_sha256(places[CRITIC] / WEIGHTS_FILE)
        probe = None
        if (root / PROBE).is_dir():
            places[PROBE] = root / PROBE
            own = reader if encoder is None else None
            probe = FaceAttributes.from_pretrained(places[PROBE], root / "encoder", reader=own)
            weights[PROBE] = file_sha256(places[PROBE] / WEIGHTS_FILE)
        stored = {part: read_config(place, part) for part, place in places.items()}
        notes = {part: {name: each[name] for name in _NOTES if name in each} for part, each in stored.items()}
        return cls(reader, tokenizer, prior, weights, critic, notes, probe)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write each part into a folder of its name in ``folder``, so that :meth:`from_pretrained` gives them again.

        Raises:
            UserError: ``folder`` is there and not empty, cannot be written, or critic or probe belong to other weights than
                those that are saved.
        """
        root = Path(folder)
        if root.is_dir() and any(root.iterdir()):
            raise UserError(f"{root}: is not empty; choose another folder for the weights")
        make_folder(root)
        self.encoder.save_pretrained(root / "encoder", **self.notes.get("encoder", {}))
        self.tokenizer.save_pretrained(root / "tokenizer", **self.notes.get("tokenizer", {}))
        self.prior.save_pretrained(root / "prior", **self.notes.get("prior", {}))
        if self.critic is not None:
            written = {name: file_sha256(root / name / WEIGHTS_FILE) for name in self.critic.tokens}
            if not written or self.critic.tokens != written:
                raise UserError(
                    f"{root}: the critic was trained on faces of another tokenizer or prior and is left out; train it anew"
                )
            self.critic.save_pretrained(root / CRITIC, **self.notes.get(CRITIC, {}))
        if self.probe is not None:
            if self.probe.config.encoder_sha256 != file_sha256(root / "encoder" / WEIGHTS_FILE):
                raise UserError(f"{root}: the probe in attributes was fitted on another encoder and is left out; fit it anew")
            self.probe.save_pretrained(root / PROBE, **self.notes.get(PROBE, {}))

    def to(self, device: torch.device | str) -> Self:
        """Move all parts to ``device`` (``auto``: CUDA where there is one); returns self."""
        place = resolve_device(str(device))
        for part in (self.encoder, self.tokenizer, self.prior, self.critic, self.probe):
            if part is not None:
                part.to(place)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.device


def require_fit(critic: RealismCritic, place: Path, tokenizer: Tokenizer, weights: dict[str, str]) -> None:
    """Refuse the critic in ``place`` where it judges other faces than tokenizer and prior of these ``weights`` make.

    Raises:
        UserError: which of its properties does not fit, and how to mend it.
    """
    # One that learned from ratings judges pictures, whichever prior chose them.
    if not critic.tokens or any(weights.get(part) != made for part, made in critic.tokens.items()):
        raise UserError(f"{place}: was trained on faces of another tokenizer or prior; train it anew, or remove it")
    if critic.config.channels != tokenizer.config.painted_channels:
        raise UserError(f"{place}: judges faces of {critic.config.channels} channels, and this tokenizer paints others")
    if not critic.scale.real:
        raise UserError(f"{place}: was never measured on real faces, and has no scale; train it anew, or remove it")
