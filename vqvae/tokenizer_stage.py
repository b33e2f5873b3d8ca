"""Training of the tokenizer: reconstruction, emotion loss, and a discriminator that joins late."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import AugmentConfig
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.devices import compile_parts
from engine.storage.weights import resolve_folder
from engine.training.batch_stream import BatchStream
from engine.training.batches import GlobalBatches
from engine.training.ema import Ema
from engine.training.optimization import adamw, decay_groups, gathering, rate_factor, set_learning_rate, take_step
from engine.training.task import TrainingTask
from vqvae.colour.discriminator import BrightnessDiscriminator
from vqvae.config import VqvaeConfig
from vqvae.faces import FaceBatches, Faces, TrainingFaces
from vqvae.grids import reconstruction_png
from vqvae.losses import EmotionLoss, PatchDiscriminator, discriminator_loss, lpips_distance, pixel_loss
from vqvae.quantizers.quantizer import usage
from vqvae.tokenizer import Tokenizer

if TYPE_CHECKING:
    from accelerate import Accelerator

# Small enough that no face looks unnatural: the prior will learn whatever the tokenizer is shown.
GENTLE = AugmentConfig(flip=True, rotation=6.0, scale=0.08, shift=0.03, shear=0.0, contrast=0.15, brightness=0.08, erase=0.0)
VALID_FACES = 1024
Discriminator = PatchDiscriminator | BrightnessDiscriminator
# What a step, or a part of it, learns from.
Part = tuple[Tensor, ...]


def initial_tokenizer(config: VqvaeConfig) -> Tokenizer:
    """A fresh tokenizer, or the one in ``tokenizer_stage.init``, ready to be trained as far as ``trainable`` says.

    Raises:
        UserError: the weights to start from are missing, damaged or of another shape.
    """
    init = config.tokenizer_stage.init
    if init is None:
        return Tokenizer(config.tokenizer)
    tokenizer = Tokenizer.from_pretrained(resolve_folder(init))
    if tokenizer.config != config.tokenizer:
        raise UserError(f"tokenizer_stage.init: {init} has other tokenizer settings than this configuration")
    tokenizer.train().requires_grad_(True)
    return tokenizer.keep_tokens() if config.tokenizer_stage.trainable == "decoder" else tokenizer


class TokenizerStart:
    """The networks that the training of the tokenizer starts from, and those that judge its reconstructions.

    Raises:
        UserError: weights to start from are missing or of another shape, or a loss lacks its encoder or LPIPS.
    """

    def __init__(self, config: VqvaeConfig, encoder: EmotionEncoder | None, device: torch.device) -> None:
        loss = config.loss
        needed = loss.emotion > 0 or (loss.perceptual > 0 and loss.perceptual_net == "encoder")
        if needed and encoder is None:
            raise UserError("encoder: loss.emotion and loss.perceptual need one; set encoder=FOLDER, or both losses to 0")
        self.encoder = encoder.to(device) if encoder is not None else None
        self.emotion_loss = EmotionLoss(self.encoder) if self.encoder is not None and needed else None
        self.lpips = lpips_distance(device) if loss.uses_lpips else None
        torch.manual_seed(config.seed)
        self.tokenizer = initial_tokenizer(config)
        # Photographs have four times the pixels and three times the channels: a narrower one costs as much.
        photographs = config.tokenizer.paints_photographs
        if loss.discriminator == "brightness":
            if self.encoder is None or not photographs:
                raise UserError(
                    "loss.discriminator=brightness: needs the frozen encoder, and a tokenizer that paints photographs; "
                    "leave it out, or see configs/vqvae/colour.yaml"
                )
            self.discriminator: Discriminator = BrightnessDiscriminator(self.encoder)
        else:
            self.discriminator = PatchDiscriminator(32, channels=3, whole=True) if photographs else PatchDiscriminator()
        for net in (self.tokenizer, self.discriminator):
            net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class ReconstructionTask(TrainingTask):
    """One step moves a tokenizer and, once it takes part, a discriminator of what it paints.

    What the faces are, what the tokenizer sees of them and what is asked of its pictures is said by the classes below.
    """

    stream: BatchStream

    def __init__(self, config: VqvaeConfig, start: TokenizerStart, accelerator: Accelerator) -> None:
        self._config, self._accelerator = config, accelerator
        tokenizer, discriminator, stage = start.tokenizer, start.discriminator, config.tokenizer_stage
        optimizers = [
            adamw(decay_groups(module, stage.weight_decay), lr=stage.learning_rate, betas=(discriminator.momentum, 0.99))
            for module in (tokenizer, discriminator)
        ]
        self._tokenizer, self._optimizer = accelerator.prepare(tokenizer, optimizers[0])
        self._discriminator, self._discriminator_optimizer = accelerator.prepare(discriminator, optimizers[1])
        self.modules: dict[str, nn.Module] = {"tokenizer": tokenizer, "discriminator": discriminator}
        self.optimizers = {"tokenizer": optimizers[0], "discriminator": optimizers[1]}
        self.emas = {"tokenizer": Ema(tokenizer, stage.ema_decay)}
        self._pace = discriminator.pace
        self._encoder, self._emotion_loss, self._lpips = start.encoder, start.emotion_loss, start.lpips
        compile_parts(self._compiled(tokenizer, discriminator), config.compile)

    @staticmethod
    def _compiled(tokenizer: Tokenizer, discriminator: Discriminator) -> list[nn.Module]:
        tail = [tokenizer.tail] if tokenizer.tail is not None else []
        return [tokenizer.down, tokenizer.up, *tail, discriminator.body]

    @abstractmethod
    def _batch(self, step: int) -> Part:
        """What this rank learns from in ``step``, as tensors of one length that can be cut into parts."""

    @abstractmethod
    def _seen(self, part: Part) -> tuple[Tensor | None, ...]:
        """What the tokenizer is given."""

    @abstractmethod
    def _real(self, part: Part) -> Tensor:
        """The faces that the discriminator is told are real."""

    @abstractmethod
    def _judge(self, made: Tensor, part: Part, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Everything but the discriminator and the commitment, as one weighted sum and its parts."""

    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        config, accelerator = self._config, self._accelerator
        stage = config.tokenizer_stage
        rate = stage.learning_rate * rate_factor(stage.schedule, step, progress, stage.decay_from)
        set_learning_rate(self._optimizer, rate)
        set_learning_rate(self._discriminator_optimizer, self._pace * rate)
        count = stage.accumulate
        parts = list(zip(*(tensor.chunk(count) for tensor in self._batch(step)), strict=True))
        totals: dict[str, Tensor] = {}
        pairs: list[tuple[Tensor, Tensor]] = []
        for part in gathering(accelerator, self._tokenizer, parts):
            made, losses = self._reconstruct(part, progress, 1.0 / count)
            pairs.append((self._real(part), made))
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / count
        totals["gradient_norm"] = take_step(accelerator, self._tokenizer, self._optimizer, 1.0)
        # The discriminator learns from a little before it is listened to: a blind one ruins what is there.
        if config.loss.adversarial > 0 and progress >= config.loss.adversarial_start - 0.05:
            totals |= self._train_discriminator(pairs)
        return totals

    def _reconstruct(self, part: Part, progress: float, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruct one part of a batch and add ``share`` of its gradients; the reconstructions and their losses."""
        config = self._config
        adversarial = config.loss.adversarial > 0 and progress >= config.loss.adversarial_start
        with self._accelerator.autocast():
            output, _, commitment, codebook = self._tokenizer(*self._seen(part))
            # The losses are differentiated down to the picture only: what follows needs no second pass through them.
            made = output.detach().requires_grad_()
            total, parts = self._judge(made, part, progress)
            (gradient,) = torch.autograd.grad(total, made)
            if adversarial:
                discriminator = self.modules["discriminator"].requires_grad_(False)
                (pull,) = torch.autograd.grad(-discriminator(made).mean(), made)
                discriminator.requires_grad_(True)
                scale = self._at_last_layer(output, gradient) / (self._at_last_layer(output, pull) + 1e-8)
                gradient = gradient + config.loss.adversarial * scale.clamp(max=1e4) * pull
        whole = (output * gradient).sum() + config.loss.commitment * commitment + codebook
        self._accelerator.backward(share * whole)
        return output.detach(), {"loss": total, "commitment": commitment, **parts}

    def _at_last_layer(self, output: Tensor, gradient: Tensor) -> Tensor:
        """Norm that ``gradient`` of the pictures has at the decoder's last layer (Esser et al. 2021, eq. 7).

        Not its norm in the pictures: a discriminator pulls all faces of a batch the same way, errors of reconstruction
        cancel out between them, and a balance struck per pixel lets the former win.
        """
        weights: list[Tensor] = self.modules["tokenizer"].last_layers  # type: ignore[assignment]
        there = torch.cat([part.flatten() for part in torch.autograd.grad((output * gradient).sum(), weights, retain_graph=True)])
        # Of the whole batch: processes that weighed by their own share would each train another tokenizer.
        return self._accelerator.reduce(there, "mean").norm()

    def _train_discriminator(self, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """One step on real and on painted faces of each part of the batch."""
        total = torch.zeros((), device=self._accelerator.device)
        for real, made in gathering(self._accelerator, self._discriminator, pairs):
            with self._accelerator.autocast():
                scores = self._discriminator(torch.cat([real, made]))
            loss = discriminator_loss(*scores.split([len(real), len(made)])) / len(pairs)
            self._accelerator.backward(loss)
            total += loss.detach()
        norm = take_step(self._accelerator, self._discriminator, self._discriminator_optimizer)
        return {"discriminator": total, "discriminator_gradient_norm": norm}

    @torch.inference_mode()
    def _seen_figures(self, valid: Tensor) -> dict[str, float]:
        """How well (N, 1, S, S) uint8 faces come back, as the tokenizer's own encoder would see them."""
        tokenizer: Tokenizer = self.emas["tokenizer"].module  # type: ignore[assignment]
        config = tokenizer.config
        counts = torch.zeros(config.groups, config.codebook_size)
        error, kept = 0.0, 0
        for chunk in valid.split(256):
            faces = chunk.to(self._accelerator.device).float().div_(255.0)
            tokens = tokenizer.encode(faces)
            made = tokenizer.as_seen(tokenizer.decode(tokens))
            for group in range(config.groups):
                counts[group] += torch.bincount(tokens[..., group].flatten().cpu(), minlength=config.codebook_size)
            error += float((made - faces).square().mean(dim=(1, 2, 3)).clamp(min=1e-8).log10().mul(-10).sum())
            if self._encoder is not None:
                before, after = (self._encoder.predict(each, runtime="pytorch").distributions for each in (faces, made))
                kept += int((after.argmax(dim=1) == before.argmax(dim=1)).sum())
        share, perplexity = usage(counts)
        psnr = error / len(valid)
        figures = {"psnr": psnr, "usage": share, "perplexity": perplexity}
        if self._encoder is not None:
            figures["emotion_kept"] = kept / len(valid)
        return {**figures, "score": figures.get("emotion_kept", psnr)}


class TokenizerTask(ReconstructionTask):
    """A tokenizer that paints faces as it sees them."""

    def __init__(
        self,
        config: VqvaeConfig,
        start: TokenizerStart,
        train: Faces,
        valid: TrainingFaces,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(config, start, accelerator)
        some = np.random.default_rng(0).permutation(len(valid))[:VALID_FACES]
        self._valid = torch.from_numpy(valid.images[np.sort(some)]).unsqueeze(1)
        order = {"seed": config.seed, "block": config.faces.shuffle_block, "window": config.faces.shuffle_window}
        self.batches = GlobalBatches.shared(accelerator, len(train), config.tokenizer_stage.batch_size, **order)
        self.stream = BatchStream(
            FaceBatches(train, self.batches, config.seed, 2 * NUM_UNIFORMS),
            config.faces.workers,
            fresh=train.remote,
            pin=accelerator.device.type == "cuda",
        )

    def _batch(self, step: int) -> Part:
        """Faces (B, 1, S, S) of this rank, and numbers (B, ``NUM_UNIFORMS``) that perturb them for the emotion loss."""
        device = self._accelerator.device
        images, u = (tensor.to(device, non_blocking=True) for tensor in self.stream(step))
        faces = images.unsqueeze(1).float().div_(255.0)
        gentle, perturbing = u.split(NUM_UNIFORMS, dim=1)
        return augment(faces, gentle, GENTLE).contiguous(memory_format=torch.channels_last), perturbing

    def _seen(self, part: Part) -> tuple[Tensor, ...]:
        return part[:1]

    def _real(self, part: Part) -> Tensor:
        return part[0]

    def _judge(self, made: Tensor, part: Part, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        (faces, u), loss = part, self._config.loss
        parts = {"pixel": loss.pixel * pixel_loss(made, faces)}
        # What an encoder reads in the grey blots of the first steps says nothing, and its divergence there, many times all
        # other parts, would hold them back.
        emotion = loss.emotion > 0 and progress >= loss.emotion_start
        perceptual = loss.perceptual > 0 and loss.perceptual_net == "encoder"
        if self._emotion_loss is not None and (emotion or perceptual):
            features, divergence = self._emotion_loss(made.clamp(0.0, 1.0), faces, u)
            if emotion:
                parts["emotion"] = loss.emotion * divergence
            if perceptual:
                parts["perceptual"] = loss.perceptual * features
        if self._lpips is not None:
            parts["perceptual"] = loss.perceptual * self._lpips(made, faces)
        return torch.stack(list(parts.values())).sum(), parts

    def evaluate(self) -> dict[str, float]:
        return self._seen_figures(self._valid)

    def pictures(self) -> dict[str, bytes]:
        tokenizer: Tokenizer = self.emas["tokenizer"].module  # type: ignore[assignment]
        return {"reconstructions": reconstruction_png(tokenizer, self._valid.squeeze(1).numpy())}
