"""Training of the prior on the tokens of all faces, each labelled with a distribution over emotions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.devices import compile_parts
from engine.storage.weights import resolve_folder
from engine.training.batch_stream import BatchStream
from engine.training.batches import Accept, GlobalBatches, uniforms
from engine.training.ema import Ema
from engine.training.optimization import adamw, cosine_schedule, decay_groups, gathering, set_learning_rate, take_step
from engine.training.task import TrainingTask
from vqvae.config import PriorConfig, TokenizerConfig, VqvaeConfig
from vqvae.faces import Faces, TrainingFaces
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.token_batches import TokenBatches, hide_positions
from vqvae.token_cache import Arrays, Write, array_sha256, cached
from vqvae.tokenizer import Tokenizer

if TYPE_CHECKING:
    from accelerate import Accelerator


# Faces that are turned into tokens at a time.
_PIECE = 2048
_MOST_WEIGHTS = 1 << 20


@torch.inference_mode()
def tokenise(tokenizer: Tokenizer, images: np.ndarray, batch_size: int = 256) -> Tensor:
    """Tokens of uint8 images (N, S, S) and of their mirror images: (2, N, L, G) int32."""
    from tqdm import tqdm

    device = next(tokenizer.parameters()).device
    rows: list[Tensor] = []
    chunks = torch.from_numpy(images).unsqueeze(1).split(batch_size)
    for chunk in tqdm(chunks, desc="tokens", unit="batch", disable=None, leave=False):
        faces = chunk.to(device).float().div_(255.0)
        both = tokenizer.encode(torch.cat([faces, faces.flip(-1)]))
        rows.append(both.view(2, len(chunk), *both.shape[1:]).to(torch.int32).cpu())
    return torch.cat(rows, dim=1)


def condition_labels(faces: TrainingFaces, encoder: EmotionEncoder | None, votes_weight: float) -> np.ndarray:
    """(N, 7) distribution that the prior is told: people's votes mixed with the encoder's reading.

    Votes alone are coarse (ten people) and absent for some faces; the encoder alone would teach its own mistakes.
    """
    if encoder is None:
        return faces.labels
    from tqdm import tqdm

    readings = []
    pieces = np.array_split(faces.images, max(1, len(faces) // 2048))
    for piece in tqdm(pieces, desc="labels", unit="batch", disable=None, leave=False):
        readings.append(encoder.predict(piece).distributions.numpy())
    reading = np.concatenate(readings)
    share = votes_weight * (faces.labels.sum(axis=1, keepdims=True) > 0)
    return (share * faces.labels + (1.0 - share) * reading).astype(np.float32)


def _fingerprint(encoder: EmotionEncoder | None) -> str:
    """What an encoder's answers depend on: its weights and its calibration."""
    if encoder is None:
        return "none"
    weights = array_sha256(*(tensor.detach().float().cpu().numpy() for tensor in encoder.net.state_dict().values()))
    return f"{weights} {encoder.calibration.model_dump_json()}"


def sampling_weights(labels: np.ndarray, rare_sampling: float) -> np.ndarray | Accept:
    """Frequency of each face in training: its top emotion's frequency to the power ``-rare_sampling``.

    (N,); for more than a million faces a function that gives those asked for, the rarest 1.
    """
    counts = np.zeros(labels.shape[1])
    for start in range(0, len(labels), _PIECE):
        counts += np.bincount(labels[start : start + _PIECE].argmax(axis=1), minlength=labels.shape[1])
    weights = np.where(counts > 0, counts, np.inf) ** -rare_sampling if rare_sampling else np.ones(len(counts))
    if len(labels) <= _MOST_WEIGHTS:
        return weights[labels.argmax(axis=1)]
    return _Rarity(labels, weights / weights.max())


class _Rarity:
    """The weight of each emotion, of the faces asked for; can be sent to another process."""

    def __init__(self, labels: np.ndarray, weights: np.ndarray) -> None:
        self._labels, self._weights = labels, weights

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return self._weights[self._labels[index].argmax(axis=1)]


def prior_shape(config: PriorConfig, tokenizer: TokenizerConfig, tokenizer_sha256: str = "") -> PriorShape:
    """The prior that goes with the tokens of ``tokenizer``."""
    return PriorShape(
        prior=config,
        positions=tokenizer.grid**2,
        groups=tokenizer.groups,
        codebook_size=tokenizer.codebook_size,
        tokenizer_sha256=tokenizer_sha256,
    )


def initial_prior(config: VqvaeConfig) -> MaskedPrior:
    """A fresh prior, or the one in ``prior_stage.init``, ready to be trained.

    The tokenizer may have moved on since ``init`` was trained: the tokens keep most of their meaning when it was trained
    further, and the loss tells when they do not.

    Raises:
        UserError: the weights to start from are missing, damaged or of another shape.
    """
    shape, init = prior_shape(config.prior, config.tokenizer), config.prior_stage.init
    torch.manual_seed(config.seed)
    if init is None:
        return MaskedPrior(shape)
    prior = MaskedPrior.from_pretrained(resolve_folder(init))
    if prior.shape.model_copy(update={"tokenizer_sha256": ""}) != shape:
        raise UserError(f"prior_stage.init: {init} has another shape than this configuration asks for")
    return prior.train().requires_grad_(True)


class PriorTask(TrainingTask):
    """Hide a random share of positions, predict them."""

    stream: BatchStream

    def __init__(
        self,
        config: VqvaeConfig,
        prior: MaskedPrior,
        train: Faces,
        valid: TrainingFaces,
        tokenizer: Tokenizer,
        encoder: EmotionEncoder | None,
        accelerator: Accelerator,
        tokenizer_sha256: str = "",
        cache: Path | None = None,
    ) -> None:
        self._config, self._accelerator = config, accelerator
        device, stage = accelerator.device, config.prior_stage
        self._tokenizer = tokenizer = tokenizer.to(device)
        encoder = encoder.to(device) if encoder is not None else None

        def read(faces: Faces, split: str) -> Arrays:
            grid, groups = tokenizer.config.grid, tokenizer.config.groups
            width = grid**2 * groups

            def fill(first: int, last: int, write: Write) -> None:
                if accelerator.is_main_process:
                    print(f"prior: reading {len(faces)} faces of {split} into tokens and labels", file=sys.stderr)
                for start in range(first, last, _PIECE):
                    piece = faces.part(np.arange(start, min(start + _PIECE, last)))
                    write("labels", start * NUM_EMOTIONS, condition_labels(piece, encoder, stage.votes_weight))
                    for mirrored, tokens in enumerate(tokenise(tokenizer, piece.images).numpy()):
                        write("tokens", (mirrored * len(faces) + start) * width, tokens)

            made_from = {
                "tokenizer": tokenizer_sha256,
                "encoder": _fingerprint(encoder),
                "faces": faces.digest(),
                "votes_weight": str(stage.votes_weight),
            }
            small = tokenizer.config.codebook_size <= 1 << 15
            shapes = {
                "tokens": ("int16" if small else "int32", (2, len(faces), grid**2, groups)),
                "labels": ("float32", (len(faces), NUM_EMOTIONS)),
            }
            path = None if cache is None else cache / f"tokens-{split}.safetensors"
            return cached(path, made_from, shapes, len(faces), fill, accelerator)

        known, judged = read(train, "train"), read(valid, "valid")
        self._valid_tokens = torch.from_numpy(judged["tokens"][0].astype(np.int64))
        self._valid_labels = torch.from_numpy(np.array(judged["labels"]))
        self._valid_sources = torch.from_numpy(valid.sources)
        prior.shape = prior_shape(config.prior, tokenizer.config, tokenizer_sha256)
        prior.to(device)
        optimizer = adamw(decay_groups(prior, stage.weight_decay), lr=stage.learning_rate, betas=(0.9, 0.98))
        self._prior, self._optimizer = accelerator.prepare(prior, optimizer)
        self.modules: dict[str, nn.Module] = {"prior": prior}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"prior": optimizer}
        self.emas = {"prior": Ema(prior, stage.ema_decay)}
        self.batches = GlobalBatches(
            len(train),
            stage.batch_size,
            seed=config.seed,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            weights=sampling_weights(known["labels"], stage.rare_sampling),
        )
        self.stream = BatchStream(
            TokenBatches(known, train, self.batches, seed=config.seed, label_dropout=stage.label_dropout),
            config.faces.workers,
            fresh=train.remote,
            pin=device.type == "cuda",
        )
        compile_parts(prior.blocks, config.compile)

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        accelerator, stage = self._accelerator, self._config.prior_stage
        set_learning_rate(self._optimizer, stage.learning_rate * cosine_schedule(progress))
        batch = [tensor.to(accelerator.device, non_blocking=True) for tensor in self.stream(step)]
        # Every hidden position of the batch weighs the same, in whichever process or part of the batch it stands.
        mine = batch[1].sum()
        share = accelerator.num_processes / accelerator.reduce(mine, "sum")
        total = torch.zeros((), device=accelerator.device)
        for part in gathering(accelerator, self._prior, list(zip(*(t.chunk(stage.accumulate) for t in batch), strict=True))):
            with accelerator.autocast():
                loss = self._prior(*part) * part[1].sum()
            accelerator.backward(share * loss)
            total += loss.detach()
        return {"loss": total / mine, "gradient_norm": take_step(accelerator, self._prior, self._optimizer, 1.0)}

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """Cross-entropy on valid under fixed masks, with and without the label: the gap is what the label tells."""
        prior: MaskedPrior = self.emas["prior"].module  # type: ignore[assignment]
        device = self._accelerator.device
        totals = {"loss": 0.0, "loss_without_label": 0.0}
        count = min(len(self._valid_tokens), 2048)
        for start in range(0, count, 256):
            rows = slice(start, min(start + 256, count))
            tokens = self._valid_tokens[rows].to(device)
            u = uniforms(0, 0, np.arange(start, rows.stop), 1 + tokens.shape[1])
            hidden = hide_positions(torch.from_numpy(u)).to(device)
            emotion, source = self._valid_labels[rows].to(device), self._valid_sources[rows].to(device)
            weight = len(tokens) / count
            totals["loss"] += weight * float(prior(tokens, hidden, emotion, source))
            totals["loss_without_label"] += weight * float(prior(tokens, hidden, torch.zeros_like(emotion), source))
        return {**totals, "score": -totals["loss"]}

    def pictures(self) -> dict[str, bytes]:
        from vqvae.grids import emotion_png

        prior: MaskedPrior = self.emas["prior"].module  # type: ignore[assignment]
        return {"generated": emotion_png(prior, self._tokenizer, int(self._valid_sources[0]), columns=2)}
