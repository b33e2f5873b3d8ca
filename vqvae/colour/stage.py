"""Training of a tokenizer that sees grey faces of web quality and paints photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from configs.cli import UserError
from encoder.data.colour_faces import COLOUR_SPLITS
from engine.training.batch_stream import BatchStream
from vqvae.colour.batches import HalfAndHalf, PairBatches
from vqvae.colour.losses import Targets, painted_losses
from vqvae.colour.measures import photograph_figures
from vqvae.colour.photographs import Photographs
from vqvae.config import VqvaeConfig
from vqvae.faces import Faces, TrainingFaces
from vqvae.grids import before_after_png
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import VALID_FACES, Part, ReconstructionTask, TokenizerStart

if TYPE_CHECKING:
    from accelerate import Accelerator


class PaintingTask(ReconstructionTask):
    """Half of every batch is grey faces, half photographs, of which the tokenizer sees a web picture."""

    def __init__(
        self,
        config: VqvaeConfig,
        start: TokenizerStart,
        train: Faces,
        valid: TrainingFaces,
        photographs: Photographs,
        valid_photographs: Photographs,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(config, start, accelerator)
        size, batch_size = config.tokenizer.size, config.tokenizer_stage.batch_size
        ranks = {"rank": accelerator.process_index, "world": accelerator.num_processes}
        batches = HalfAndHalf(len(train), len(photographs), batch_size, seed=config.seed, **ranks)
        codes, noise = config.tokenizer.grid**2 * config.tokenizer.groups, config.loss.token_noise
        make = PairBatches(train, photographs, batches, seed=config.seed, size=size, codes=codes, token_noise=noise)
        self.batches = batches
        self.stream = BatchStream(make, config.faces.workers, pin=accelerator.device.type == "cuda")
        some = np.unique(np.linspace(0, len(valid) - 1, min(len(valid), VALID_FACES)).astype(np.int64))
        self._valid = valid.images[some]
        self._photographs, self._web_pictures = valid_photographs.with_web_pictures(VALID_FACES, size)

    def _batch(self, step: int) -> Part:
        device = self._accelerator.device
        grey, web, photographs, *numbers = (tensor.to(device, non_blocking=True) for tensor in self.stream(step))
        seen = (tensor.unsqueeze(1).float().div_(255.0) for tensor in (grey, web))
        return (*seen, photographs.permute(0, 3, 1, 2).float().div_(255.0), *numbers)

    def _seen(self, part: Part) -> tuple[Tensor | None, ...]:
        grey, web, _, _, _, *noise = part
        faces = torch.cat([grey, web]).contiguous(memory_format=torch.channels_last)
        return (faces, torch.cat(noise)) if self._config.loss.token_noise else (faces,)

    def _real(self, part: Part) -> Tensor:
        return part[2]

    def _judge(self, made: Tensor, part: Part, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        grey, _, photographs, *looking = part[:5]
        loss = self._config.loss
        emotion = loss.emotion > 0 and progress >= loss.emotion_start
        judge = self._emotion_loss if emotion or loss.perceptual > 0 else None
        parts = painted_losses(made, Targets(grey, photographs), torch.cat(looking), loss, judge, emotion=emotion)
        return torch.stack(list(parts.values())).sum(), parts

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        tokenizer: Tokenizer = self.emas["tokenizer"].module  # type: ignore[assignment]
        figures = self._seen_figures(torch.from_numpy(self._valid).unsqueeze(1))
        return {**figures, **photograph_figures(tokenizer, self._photographs, self._web_pictures)}

    def pictures(self) -> dict[str, bytes]:
        tokenizer: Tokenizer = self.emas["tokenizer"].module  # type: ignore[assignment]
        return {"reconstructions": before_after_png(tokenizer, self._valid, self._photographs, self._web_pictures)}


def load_photographs(config: VqvaeConfig) -> tuple[Photographs, Photographs]:
    """Those for training and for validation, at the size that is painted.

    Raises:
        UserError: they cannot be read.
    """
    folder = config.faces.colour128 or ""
    return tuple(Photographs.open(folder, split, config.tokenizer.painted) for split in COLOUR_SPLITS)  # type: ignore[return-value]


def check_painting(config: VqvaeConfig, processes: int) -> None:
    """Refuse settings that a tokenizer that paints photographs cannot be trained with.

    Raises:
        UserError: naming the setting.
    """
    faces = config.faces
    if faces.source != "real" or faces.fer2013 is None or faces.colour128 is None or faces.faces128 is not None:
        raise UserError(
            "faces: a tokenizer that paints photographs learns from grey faces and from photographs, in equal parts: set "
            "faces.source=real, faces.fer2013=ALIGNED and faces.colour128=DATA, and no faces.faces128"
        )
    stage = config.tokenizer_stage
    multiple = 2 * processes * stage.accumulate
    if stage.batch_size % multiple:
        raise UserError(
            f"tokenizer_stage.batch_size: {stage.batch_size} cannot be half grey and half colour in {processes} process(es) "
            f"and {stage.accumulate} part(s) each; use a multiple of {multiple}"
        )
    if config.loss.uses_lpips:
        raise UserError("loss.perceptual_net=lpips: is not there for a tokenizer that paints photographs; use encoder")
