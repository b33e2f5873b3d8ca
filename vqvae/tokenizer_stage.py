"""Training of the tokenizer: reconstruction, emotion loss, and a discriminator that joins late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.cli import UserError
from encoder.augment import NUM_UNIFORMS, augment
from encoder.batches import GlobalBatches, uniforms
from encoder.classifier import EmotionEncoder
from encoder.config import AugmentConfig
from encoder.ema import Ema
from encoder.evaluate import resolve_folder
from encoder.training import TrainingTask, cosine_schedule, decay_groups, set_learning_rate
from vqvae.config import VqvaeConfig
from vqvae.faces import TrainingFaces
from vqvae.losses import EmotionLoss, PatchDiscriminator, discriminator_loss, lpips_distance, pixel_loss
from vqvae.quantizer import usage
from vqvae.tokenizer import Tokenizer

if TYPE_CHECKING:
    from accelerate import Accelerator

# Small enough that no face looks unnatural: the prior will learn whatever the tokenizer is shown.
GENTLE = AugmentConfig(flip=True, rotation=6.0, scale=0.08, shift=0.03, shear=0.0, contrast=0.15, brightness=0.08, erase=0.0)
VALID_FACES = 1024


def initial_tokenizer(config: VqvaeConfig) -> Tokenizer:
    """A fresh tokenizer, or the one in ``tokenizer_stage.init``, ready to be trained.

    Raises:
        UserError: the weights to start from are missing, damaged or of another shape.
    """
    init = config.tokenizer_stage.init
    if init is None:
        return Tokenizer(config.tokenizer)
    tokenizer = Tokenizer.from_pretrained(resolve_folder(init))
    if tokenizer.config != config.tokenizer:
        raise UserError(f"tokenizer_stage.init: {init} has other tokenizer settings than this configuration")
    return tokenizer.train().requires_grad_(True)


class TokenizerTask(TrainingTask):
    """One step moves the tokenizer and, once it takes part, the discriminator."""

    def __init__(
        self,
        config: VqvaeConfig,
        train: TrainingFaces,
        valid: TrainingFaces,
        encoder: EmotionEncoder | None,
        accelerator: Accelerator,
    ) -> None:
        loss = config.loss
        needs_encoder = loss.emotion > 0 or (loss.perceptual > 0 and loss.perceptual_net == "encoder")
        if encoder is None and needs_encoder:
            raise UserError("encoder: loss.emotion and loss.perceptual need one; set encoder=FOLDER, or both losses to 0")
        self._config, self._accelerator = config, accelerator
        device = accelerator.device
        torch.manual_seed(config.seed)
        tokenizer = initial_tokenizer(config).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = PatchDiscriminator().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        stage = config.tokenizer_stage
        optimizers = [
            torch.optim.AdamW(decay_groups(module, stage.weight_decay), lr=stage.learning_rate, betas=(0.9, 0.99))
            for module in (tokenizer, discriminator)
        ]
        self._tokenizer, self._optimizer = accelerator.prepare(tokenizer, optimizers[0])
        self._discriminator, self._discriminator_optimizer = accelerator.prepare(discriminator, optimizers[1])
        self.modules: dict[str, nn.Module] = {"tokenizer": tokenizer, "discriminator": discriminator}
        self.optimizers = {"tokenizer": optimizers[0], "discriminator": optimizers[1]}
        self.emas = {"tokenizer": Ema(tokenizer, stage.ema_decay)}
        self._encoder = encoder.to(device) if encoder is not None else None
        self._emotion_loss = EmotionLoss(encoder) if encoder is not None and needs_encoder else None
        self._lpips = lpips_distance(device) if loss.perceptual and loss.perceptual_net == "lpips" else None
        self._images = torch.from_numpy(train.images).unsqueeze(1)
        some = np.random.default_rng(0).permutation(len(valid))[:VALID_FACES]
        self._valid = torch.from_numpy(valid.images[np.sort(some)]).unsqueeze(1)
        self._batches = GlobalBatches(
            len(train),
            stage.batch_size,
            seed=config.seed,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        self.images_per_step, self.steps_per_epoch = stage.batch_size, self._batches.steps_per_epoch

    def _batch(self, step: int) -> Tensor:
        epoch, index = self._batches(step)
        device = self._accelerator.device
        u = torch.from_numpy(uniforms(self._config.seed, epoch, index, NUM_UNIFORMS)).to(device)
        faces = self._images[torch.from_numpy(index)].to(device).float().div_(255.0)
        return augment(faces, u, GENTLE).contiguous(memory_format=torch.channels_last)

    def _judge(self, made: Tensor, faces: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Everything but the discriminator and the commitment, as one weighted sum and its parts."""
        loss = self._config.loss
        parts = {"pixel": loss.pixel * pixel_loss(made, faces)}
        if self._emotion_loss is not None:
            features, divergence = self._emotion_loss(made.clamp(0.0, 1.0), faces)
            parts["emotion"] = loss.emotion * divergence
            if loss.perceptual_net == "encoder":
                parts["perceptual"] = loss.perceptual * features
        if self._lpips is not None:
            parts["perceptual"] = loss.perceptual * self._lpips(made, faces)
        return torch.stack(list(parts.values())).sum(), parts

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        config, accelerator = self._config, self._accelerator
        rate = config.tokenizer_stage.learning_rate * cosine_schedule(progress)
        for optimizer in (self._optimizer, self._discriminator_optimizer):
            set_learning_rate(optimizer, rate)
        faces = self._batch(step)
        with accelerator.autocast():
            output, _, commitment, codebook = self._tokenizer(faces)
            # The losses are differentiated down to the picture only: what follows needs no second pass through them.
            made = output.detach().requires_grad_()
            total, parts = self._judge(made, faces)
            (gradient,) = torch.autograd.grad(total, made)
            adversarial = config.loss.adversarial > 0 and progress >= config.loss.adversarial_start
            if adversarial:
                self._discriminator.requires_grad_(False)
                fooling = -self._discriminator(made).mean()
                (pull,) = torch.autograd.grad(fooling, made)
                scale = self._at_last_layer(output, gradient) / (self._at_last_layer(output, pull) + 1e-8)
                gradient = gradient + config.loss.adversarial * scale.clamp(max=1e4) * pull
                self._discriminator.requires_grad_(True)
        accelerator.backward((output * gradient).sum() + config.loss.commitment * commitment + codebook)
        accelerator.clip_grad_norm_(self._tokenizer.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        parts = {"loss": total, "commitment": commitment, **parts}
        # The discriminator learns from a little before it is listened to: a blind one ruins what is there.
        if config.loss.adversarial > 0 and progress >= config.loss.adversarial_start - 0.05:
            parts["discriminator"] = self._train_discriminator(faces, output.detach())
        return {name: value.detach() for name, value in parts.items()}

    def _at_last_layer(self, output: Tensor, gradient: Tensor) -> Tensor:
        """Norm that ``gradient`` of the pictures has at the decoder's last layer (Esser et al. 2021, eq. 7).

        Not its norm in the pictures: a discriminator pulls all faces of a batch the same way, errors of reconstruction
        cancel out between them, and a balance struck per pixel lets the former win.
        """
        weight: Tensor = self.modules["tokenizer"].last_layer  # type: ignore[assignment]
        (there,) = torch.autograd.grad((output * gradient).sum(), weight, retain_graph=True)
        return there.norm()

    def _train_discriminator(self, faces: Tensor, made: Tensor) -> Tensor:
        with self._accelerator.autocast():
            scores = self._discriminator(torch.cat([faces, made]))
        loss = discriminator_loss(*scores.chunk(2))
        self._accelerator.backward(loss)
        self._discriminator_optimizer.step()
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        return loss

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        tokenizer: Tokenizer = self.emas["tokenizer"].module  # type: ignore[assignment]
        config = tokenizer.config
        counts = torch.zeros(config.groups, config.codebook_size)
        error, kept = 0.0, 0
        for chunk in self._valid.split(256):
            faces = chunk.to(self._accelerator.device).float().div_(255.0)
            tokens = tokenizer.encode(faces)
            made = tokenizer.decode(tokens)
            for group in range(config.groups):
                counts[group] += torch.bincount(tokens[..., group].flatten().cpu(), minlength=config.codebook_size)
            error += float((made - faces).square().mean(dim=(1, 2, 3)).clamp(min=1e-8).log10().mul(-10).sum())
            if self._encoder is not None:
                before = self._encoder.predict(faces).distributions.argmax(dim=1)
                kept += int((self._encoder.predict(made).distributions.argmax(dim=1) == before).sum())
        share, perplexity = usage(counts)
        psnr = error / len(self._valid)
        figures = {"psnr": psnr, "usage": share, "perplexity": perplexity}
        if self._encoder is not None:
            figures["emotion_kept"] = kept / len(self._valid)
        return {**figures, "score": figures.get("emotion_kept", psnr)}


def reconstruct_pairs(tokenizer: Tokenizer, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """(faces, reconstructions), both (N, 1, S, S) in [0, 1], from uint8 images (N, S, S)."""
    device = next(tokenizer.parameters()).device
    faces = torch.from_numpy(images).unsqueeze(1).to(device).float().div_(255.0)
    size = tokenizer.config.size
    if faces.shape[-1] != size:
        faces = F.interpolate(faces, size=(size, size), mode="bilinear", antialias=True)
    return faces, tokenizer.decode(tokenizer.encode(faces))
