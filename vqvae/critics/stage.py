"""Training of a critic on pairs of real and made faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.config import AugmentConfig
from encoder.fitting.augment import NUM_UNIFORMS, augment
from engine.storage.weights import WEIGHTS_FILE, file_sha256
from engine.training.batches import GlobalBatches, uniforms
from engine.training.ema import Ema
from engine.training.optimization import adamw, decay_groups, gathering, rate_factor, set_learning_rate, take_step
from engine.training.task import TrainingTask
from vqvae.config import VqvaeConfig
from vqvae.critics.critic import CriticConfig, RealismCritic, separation
from vqvae.critics.pairs import FacePairs, make_pairs
from vqvae.prior import MaskedPrior
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.store import TokenStore

if TYPE_CHECKING:
    from accelerate import Accelerator

CRITICS = ("critic", "critic_judge")
ARCHITECTURES: tuple[Literal["strided", "pooled"], ...] = ("strided", "pooled")
# Where a face lies and how bright it is says nothing of whether it is real.
GENTLE = AugmentConfig(rotation=4, scale=0.06, shift=0.04, shear=0, contrast=0.2, brightness=0.1, erase=0.2, saturation=0.3)


class CriticTask(TrainingTask):
    """Binary cross-entropy on as many real faces as made ones."""

    def __init__(
        self, config: VqvaeConfig, critic: RealismCritic, train: FacePairs, valid: FacePairs, accelerator: Accelerator, name: str
    ) -> None:
        self._config, self._accelerator, self._name = config, accelerator, name
        stage, device = config.critic_stage, accelerator.device
        critic.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = adamw(decay_groups(critic, stage.weight_decay), lr=stage.learning_rate)
        self._critic, self._optimizer = accelerator.prepare(critic, optimizer)
        self.modules: dict[str, nn.Module] = {name: critic}
        self.optimizers: dict[str, torch.optim.Optimizer] = {name: optimizer}
        self.emas = {name: Ema(critic, stage.ema_decay)}
        self._train, self._valid = train, valid
        self.batches = GlobalBatches.shared(accelerator, len(train), stage.batch_size // 2, seed=config.seed)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Faces (2B, C, P, P), a real one and the made one that goes with it in turn, and (2B,) 1 for real."""
        epoch, index = self.batches(step)
        both = np.stack([self._train.real[index], self._train.made[index]], axis=1).reshape(-1, *self._train.real.shape[1:])
        faces = torch.from_numpy(both).to(self._accelerator.device).float().div_(255.0)
        # Each of the two is changed in its own way: else their difference would tell.
        u = uniforms(self._config.seed, epoch, index, 2 * NUM_UNIFORMS).reshape(-1, NUM_UNIFORMS)
        faces = augment(faces, torch.from_numpy(u).to(faces.device), GENTLE)
        real = torch.tensor([1.0, 0.0], device=faces.device).repeat(len(index))
        return faces.contiguous(memory_format=torch.channels_last), real

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        accelerator, stage = self._accelerator, self._config.critic_stage
        factor = rate_factor(stage.schedule, step, progress, stage.decay_from)
        set_learning_rate(self._optimizer, stage.learning_rate * factor)
        parts = list(zip(*(tensor.chunk(stage.accumulate) for tensor in self._batch(step)), strict=True))
        total = torch.zeros((), device=accelerator.device)
        for faces, real in gathering(accelerator, self._critic, parts):
            with accelerator.autocast():
                logits = self._critic(faces)
            loss = F.binary_cross_entropy_with_logits(logits.float(), real) / len(parts)
            accelerator.backward(loss)
            total += loss.detach()
        return {"loss": total, "gradient_norm": take_step(accelerator, self._critic, self._optimizer, 5.0)}

    def evaluate(self) -> dict[str, float]:
        """On valid: the area under the ROC curve, and the share of pairs in which each is told for what it is."""
        critic: RealismCritic = self.emas[self._name].module  # type: ignore[assignment]
        real, made = (self.logits(faces) for faces in (self._valid.real, self._valid.made))
        critic.measure(real)
        told = separation(real, made)
        return {"auc": told, "accuracy": float(((real > 0).mean() + (made <= 0).mean()) / 2), "score": told}

    @torch.inference_mode()
    def logits(self, faces: np.ndarray) -> np.ndarray:
        """(N,) logits of the averaged weights for (N, C, P, P) uint8 faces."""
        critic = self.emas[self._name].module
        # A copy of each part: the faces are mapped from a file that may not be written to.
        parts = (torch.from_numpy(np.array(faces[start : start + 64])) for start in range(0, len(faces), 64))
        return torch.cat([critic(part.to(self._accelerator.device).float() / 255.0).float().cpu() for part in parts]).numpy()

    def trained_on(self, weights: dict[str, str]) -> None:
        """Say whose faces these are: SHA-256 of tokenizer and prior."""
        critic: RealismCritic = self.emas[self._name].module  # type: ignore[assignment]
        critic.tokens = weights


def critic_task(
    name: str,
    config: VqvaeConfig,
    stores: Mapping[str, TokenStore],
    tokenizer: Tokenizer,
    prior: MaskedPrior,
    accelerator: Accelerator,
    out: Path,
) -> CriticTask:
    """The training of the critic called ``name``: each of the two has faces, an architecture and a seed of its own.

    Args:
        stores: real faces, of ``train`` and of ``valid``. out: the run folder, with the weights of ``tokenizer`` and ``prior``.

    Raises:
        UserError: the faces cannot be kept in the folder.
    """
    settings, number, pairs = config.critic_stage, CRITICS.index(name), {}
    # Who selects must learn what is malformed, not what is clean; who only judges, all that tells made faces.
    sampling = settings.refused if name == "critic" and settings.refused is not None else prior.sampling
    weights = {part: out / "weights" / part / WEIGHTS_FILE for part in ("tokenizer", "prior")}
    prior = prior.to(accelerator.device)
    for split, store in stores.items():
        mine = np.random.default_rng(config.seed).permutation(len(store))[number :: len(CRITICS)]
        count = settings.samples if split == "train" else max(64, settings.samples // 8)
        faces, folder, seed = np.sort(mine[:count]), out / "cache" / f"{name}-{split}", config.seed + number
        pairs[split] = make_pairs(
            store, tokenizer, prior, faces, accelerator, seed=seed, folder=folder, weights=weights, sampling=sampling
        )
    torch.manual_seed(config.seed + number)
    shape = CriticConfig(name=ARCHITECTURES[number], channels=tokenizer.config.painted_channels, widths=settings.widths)
    task = CriticTask(config, RealismCritic(shape), pairs["train"], pairs["valid"], accelerator, name)
    task.trained_on({part: file_sha256(file) for part, file in weights.items()})
    return task
