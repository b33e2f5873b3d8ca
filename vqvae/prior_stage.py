"""Training of the prior on the tokens of all faces, each labelled with a distribution over emotions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from configs.cli import UserError
from engine.devices import compile_parts
from engine.storage.weights import resolve_folder
from engine.training.batch_stream import BatchStream
from engine.training.batches import GlobalBatches, uniforms
from engine.training.ema import Ema
from engine.training.optimization import adamw, decay_groups, gathering, rate_factor, set_learning_rate, take_step
from engine.training.task import TrainingTask
from vqvae.config import PriorConfig, PriorStageConfig, TokenizerConfig, VqvaeConfig
from vqvae.early_exit import fit_exit
from vqvae.faces import SOURCES
from vqvae.grids import emotion_png
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.batches import TokenBatches, hide_positions, sampling_weights
from vqvae.tokens.chosen import joined_weights, together
from vqvae.tokens.store import TokenStore

if TYPE_CHECKING:
    from accelerate import Accelerator


def prior_shape(config: PriorConfig, tokenizer: TokenizerConfig, tokenizer_sha256: str = "") -> PriorShape:
    """The prior that goes with the tokens of ``tokenizer``."""
    return PriorShape(
        prior=config,
        positions=tokenizer.grid**2,
        groups=tokenizer.groups,
        codebook_size=tokenizer.codebook_size,
        tokenizer_sha256=tokenizer_sha256,
        # Who goes on from a prior of three looks keeps its shape.
        looks=len(SOURCES) if tokenizer.paints_photographs else SOURCES.index("photo"),
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
    prior, stage = MaskedPrior.from_pretrained(resolve_folder(init)), config.prior_stage
    wanted = (stage.exit, stage.exit_rank if stage.exit else 0)
    if stage.share < 1 and (prior.shape.exit, prior.shape.exit_rank) != wanted:
        raise UserError(f"prior_stage.share: {init} has another early exit; set exit and exit_rank as it has them")
    prior.with_exit(0, 0)
    if prior.shape.model_copy(update={"tokenizer_sha256": ""}) != shape:
        raise UserError(f"prior_stage.init: {init} has another shape than this configuration asks for")
    return prior.train().requires_grad_(True)


def make_optimizers(prior: MaskedPrior, stage: PriorStageConfig) -> dict[str, torch.optim.Optimizer]:
    """AdamW for all of the prior, or for what is not a matrix of its blocks: those are then Muon's (Jordan et al., 2024).

    Embeddings, output biases and the modulation are no hidden matrices, and are badly served by Muon.
    """
    options = {"lr": stage.learning_rate, "betas": (0.9, 0.98)}
    if stage.optimizer == "adamw":
        return {"prior": adamw(decay_groups(prior, stage.weight_decay), **options)}
    hidden = [p for name, p in prior.blocks.named_parameters() if p.ndim == 2 and not name.endswith("table")]
    theirs = {id(parameter) for parameter in hidden}
    rest = nn.ParameterList([parameter for parameter in prior.parameters() if id(parameter) not in theirs])
    muon = torch.optim.Muon(hidden, lr=stage.muon_rate, weight_decay=stage.weight_decay, adjust_lr_fn="match_rms_adamw")
    return {"prior": adamw(decay_groups(rest, stage.weight_decay), **options), "hidden": muon}


class PriorTask(TrainingTask):
    """Hide a random share of positions, predict them."""

    stream: BatchStream

    def __init__(
        self,
        config: VqvaeConfig,
        prior: MaskedPrior,
        train: TokenStore,
        valid: TokenStore,
        tokenizer: Tokenizer,
        accelerator: Accelerator,
        *,
        chosen: TokenStore | None = None,
        fresh_workers: bool = False,
    ) -> None:
        """
        Args:
            chosen: drawn faces to learn from beside ``train``.
            fresh_workers: of :class:`engine.training.batch_stream.BatchStream`; where the faces came over a network.
        """
        self._config, self._accelerator = config, accelerator
        device, stage = accelerator.device, config.prior_stage
        self._tokenizer = tokenizer.to(device)
        self._valid_tokens = torch.from_numpy(valid.tokens[0].astype(np.int64))
        self._valid_labels = torch.from_numpy(np.array(valid.labels))
        self._valid_sources = torch.from_numpy(valid.sources.astype(np.int64))
        self._valid_attributes = torch.from_numpy(valid.attributes.astype(np.int64))
        prior.shape = prior_shape(config.prior, tokenizer.config, tokenizer.encoding_sha256())
        # What is drawn while it learns is drawn without the exit, which is fitted last.
        prior.sampling = stage.sampling.model_copy(update={"autoguidance": 0.0})
        prior.to(device)
        self.optimizers = make_optimizers(prior, stage)
        self._prior, *self._optimizers = accelerator.prepare(prior, *self.optimizers.values())
        self._rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers.values()]
        self.modules: dict[str, nn.Module] = {"prior": prior}
        self.emas = {"prior": Ema(prior, stage.ema_decay)}
        if chosen is None:
            self._train, self._weights = train, sampling_weights(train, stage.rare_sampling)
        else:
            self._weights = joined_weights(train, chosen, stage.rare_sampling, stage.chosen_share)
            self._train = train = together(train, chosen)
        self._dropouts = {"label_dropout": stage.label_dropout, "attribute_dropout": stage.attribute_dropout}
        self.batches = GlobalBatches.shared(accelerator, len(train), stage.batch_size, seed=config.seed, weights=self._weights)
        self.stream = BatchStream(
            TokenBatches(train, self.batches, seed=config.seed, **self._dropouts),
            config.faces.workers,
            fresh=fresh_workers,
            pin=device.type == "cuda",
        )
        compile_parts(prior.blocks, config.compile)

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        accelerator, stage = self._accelerator, self._config.prior_stage
        factor = rate_factor(stage.schedule, step, progress, stage.decay_from)
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            set_learning_rate(optimizer, rate * factor)
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
        return {"loss": total / mine, "gradient_norm": take_step(accelerator, self._prior, self._optimizers, 1.0)}

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
            told = self._valid_attributes[rows].to(device)
            weight = len(tokens) / count
            totals["loss"] += weight * float(prior(tokens, hidden, emotion, source, told))
            totals["loss_without_label"] += weight * float(prior(tokens, hidden, torch.zeros_like(emotion), source, told))
        return {**totals, "score": -totals["loss"]}

    def fit_exit(self) -> None:
        """Give the average of the weights its early exit, now that it is trained; what each process would fit is the same."""
        stage, device = self._config.prior_stage, self._accelerator.device
        prior: MaskedPrior = self.emas["prior"].module  # type: ignore[assignment]
        prior.with_exit(stage.exit, stage.exit_rank)
        prior.sampling = stage.sampling
        if not stage.exit:
            return
        batches = GlobalBatches(len(self._train), stage.batch_size, seed=self._config.seed + 1, weights=self._weights)
        make = TokenBatches(self._train, batches, seed=self._config.seed + 1, **self._dropouts)
        steps = (tuple(torch.from_numpy(part).to(device) for part in make(step)) for step in range(stage.exit_steps))
        loss = fit_exit(prior, steps, stage.exit_steps, self._accelerator.autocast)
        print(f"prior: its early exit after {stage.exit} of {len(prior.blocks)} blocks: loss {loss:.4f}", file=sys.stderr)

    @torch.no_grad()
    def blend(self) -> None:
        """Move the average of the weights towards those it started from, as far as ``prior_stage.share`` says.

        Between a prior and what it became by learning from its own faces lie priors that draw better than the one and more
        kinds of faces than the other (network interpolation; Wortsman et al., 2022, WiSE-FT).
        """
        stage, prior = self._config.prior_stage, self.emas["prior"].module
        if stage.share == 1 or stage.init is None:
            return
        former, mine = MaskedPrior.from_pretrained(resolve_folder(stage.init)).state_dict(), prior.state_dict()
        for name, each in mine.items():
            each.copy_(former[name].to(each).lerp(each, stage.share))

    def finish(self) -> None:
        """What is done once to the average of the weights, when all steps are."""
        self.fit_exit()
        self.blend()

    def pictures(self) -> dict[str, bytes]:
        prior: MaskedPrior = self.emas["prior"].module  # type: ignore[assignment]
        return {"generated": emotion_png(prior, self._tokenizer, int(self._valid_sources[-1]), columns=2)}
