"""Post-training of a decoder: it learns to paint what the prior draws, and not only what real faces are made of.

A prior makes combinations of tokens that no face has. What a decoder makes of them is judged by the discriminator alone, as
there is no picture they should look like; real faces in the same batch keep the decoder true.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from engine.storage.atomic import sync_folder
from engine.storage.weights import CONFIG_FILE, WEIGHTS_FILE, file_sha256
from vqvae.colour.losses import net
from vqvae.colour.photographs import Photographs
from vqvae.colour.stage import PaintingTask
from vqvae.colour.ycbcr import chroma, luma
from vqvae.config import DecoderLossConfig, VqvaeConfig
from vqvae.faces import Faces, TrainingFaces
from vqvae.prior import MaskedPrior
from vqvae.tokenizer_stage import Part, TokenizerStart
from vqvae.tokens.redrawn import redrawn_tokens
from vqvae.tokens.store import TokenStore

if TYPE_CHECKING:
    from accelerate import Accelerator

_REDRAWN = 4
FORMER = "tokenizer_before_decoder"


def decoder_config(config: VqvaeConfig, weights: Path) -> VqvaeConfig:
    """The settings for a training that starts from the tokenizer in ``weights``, or from the one it was before.

    Raises:
        UserError: the tokenizer does not paint photographs, whose look the decoder is to learn.
    """
    if not config.tokenizer.paints_photographs:
        raise UserError("--stage decoder: is there for a tokenizer that paints photographs: configs/vqvae/colour.yaml")
    start = weights / (FORMER if (weights / FORMER).is_dir() else "tokenizer")
    usual = DecoderLossConfig(**{**config.loss.model_dump(), "emotion_start": 0.0, "adversarial_start": 0.05})
    loss = config.decoder_stage.loss or usual
    return config.model_copy(update={"tokenizer_stage": config.decoder_stage.as_tokenizer_stage(str(start)), "loss": loss})


def decoder_is_trained(weights: Path) -> bool:
    """Whether the tokenizer in ``weights`` has its decoder from this stage: it is not the one that is kept beside it."""
    files = [weights / folder / name for folder in (FORMER, "tokenizer") for name in (WEIGHTS_FILE, CONFIG_FILE)]
    return all(file.is_file() for file in files) and file_sha256(files[0]) != file_sha256(files[2])


def keep_former(weights: Path) -> None:
    """Copy the tokenizer in ``weights`` to where it stays when the trained one takes its place."""
    if (weights / FORMER).is_dir():
        return
    draft = weights / f".{FORMER}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(weights / "tokenizer", draft)
    draft.rename(weights / FORMER)
    sync_folder(weights)


class RepaintingTask(PaintingTask):
    """A third of what is painted was drawn by the prior: ``redrawn`` are the tokens (R, L, G) of such faces."""

    def __init__(
        self,
        config: VqvaeConfig,
        start: TokenizerStart,
        train: Faces,
        valid: TrainingFaces,
        photographs: Photographs,
        valid_photographs: Photographs,
        redrawn: NDArray,
        accelerator: Accelerator,
    ) -> None:
        # It says which colour stays, and lends a part of its weights in the end.
        self._former = copy.deepcopy(start.tokenizer).eval().requires_grad_(False)
        self._loss, self._share = DecoderLossConfig(**config.loss.model_dump()), config.decoder_stage.share
        super().__init__(config, start, train, valid, photographs, valid_photographs, accelerator)
        self._redrawn = redrawn

    def _batch(self, step: int) -> Part:
        accelerator, half = self._accelerator, self._config.tokenizer_stage.batch_size // 2
        chosen = np.random.default_rng((self._config.seed, _REDRAWN, step)).integers(len(self._redrawn), size=half)
        mine = chosen[accelerator.process_index :: accelerator.num_processes]
        drawn = torch.from_numpy(np.array(self._redrawn[mine]).astype(np.int64))
        return (*super()._batch(step), drawn.to(accelerator.device))

    def _seen(self, part: Part) -> tuple[Tensor | None, ...]:
        faces, *noise = super()._seen(part[:-1])
        return faces, noise[0] if noise else None, part[-1]

    def _judge(self, made: Tensor, part: Part, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        real, loss = part[:-1], self._loss
        total, parts = super()._judge(made[: 2 * len(real[0])], real, progress)
        more = {}
        if loss.former_colour:
            with torch.no_grad():
                before = self._former(*self._seen(part))[0]
            more["former_colour"] = loss.former_colour * (chroma(made) - chroma(before)).abs().mean()
        if loss.net:
            usual, mine = (net(luma(faces)) for faces in (self._real(part), made))
            more["net"] = loss.net * (mine - usual).clamp(min=0.0)
        return torch.stack([total, *more.values()]).sum(), {**parts, **more}

    @torch.no_grad()
    def blend(self) -> None:
        """Move the averaged decoder towards the one that it started from, as far as ``decoder_stage.share`` says.

        Between two networks, one of which was trained from the other, lie networks that paint what is between: less sharp,
        with fewer artefacts (network interpolation; Wang et al., 2018, ESRGAN).
        """
        if self._share < 1:
            for mine, former in zip(self.emas["tokenizer"].module.parameters(), self._former.parameters(), strict=True):
                if not torch.equal(mine, former):
                    mine.copy_(former.lerp(mine, self._share))

    @contextmanager
    def _as_kept(self) -> Iterator[None]:
        """The averaged decoder is as it will be kept; afterwards it is what it was."""
        parameters = list(self.emas["tokenizer"].module.parameters())
        before = [each.clone() for each in parameters]
        self.blend()
        try:
            yield
        finally:
            for each, was in zip(parameters, before, strict=True):
                each.data.copy_(was)

    def evaluate(self) -> dict[str, float]:
        with self._as_kept():
            return super().evaluate()

    def pictures(self) -> dict[str, bytes]:
        with self._as_kept():
            return super().pictures()


def repainting_task(
    config: VqvaeConfig,
    start: TokenizerStart,
    faces: tuple[Faces, TrainingFaces, Photographs, Photographs],
    store: TokenStore,
    prior: MaskedPrior,
    accelerator: Accelerator,
    out: Path,
) -> RepaintingTask:
    """The task, for faces of ``store`` that ``prior`` draws anew; ``out`` is the run folder, with its weights.

    Raises:
        UserError: the faces cannot be kept in the folder.
    """
    redrawn = redrawn_tokens(
        store,
        prior.to(accelerator.device),
        config.decoder_stage.redrawn,
        accelerator,
        seed=config.seed,
        folder=out / "cache" / "redrawn",
        prior_sha256=file_sha256(out / "weights" / "prior" / WEIGHTS_FILE),
    )
    return RepaintingTask(config, start, *faces, redrawn, accelerator)
