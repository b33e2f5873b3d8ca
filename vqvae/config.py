"""Typed settings of the tokenizer and the prior."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from configs.loader import StrictModel, refuse_unread
from encoder.config import CropConfig, Width
from vqvae.attributes import AttributeName

Level = Annotated[int, Field(ge=3, le=1024)]


class TokenizerConfig(StrictModel):
    """Autoencoder and codebooks. A face of ``size`` pixels becomes ``grid`` x ``grid`` positions of ``groups`` codes."""

    size: int = Field(64, ge=16, le=256)
    crop: CropConfig | None = Field(None, description="where eyes lie in the faces it learned from; null: as in FER-2013's")
    widths: tuple[Width, ...] = Field((48, 96, 160), min_length=2, max_length=6)
    side: int | None = Field(None, ge=2, le=128, description="positions along one side; null: size halved by every width")
    depth: int = Field(1, ge=1, le=8, description="residual blocks per stage")
    quantizer: Literal["ema", "plain", "simvq", "fsq"] = Field("ema", description="see vqvae/quantizers/create.py")
    codebook_size: int = Field(512, ge=2, le=1 << 20)
    code_dim: int = Field(16, ge=1, le=256)
    levels: tuple[Level, ...] = Field((), max_length=16, description="of fsq: values of each channel; else empty")
    groups: int = Field(2, ge=1, le=8, description="codes per position, each from a codebook of its own")
    quantizer_decay: float = Field(0.99, gt=0, lt=1)
    restart_after: float = Field(0.1, ge=0, description="codes used less than this share of the mean use are restarted")
    painted_size: int | None = Field(None, ge=16, le=512, description="side of the faces that the decoder paints; null: size")
    painted_channels: Literal[1, 3] = Field(1, description="3: colour is painted, though the encoder sees grey only")

    @model_validator(mode="after")
    def _levels_fit(self) -> TokenizerConfig:
        if self.quantizer != "fsq":
            if self.levels:
                raise ValueError(f"levels belong to quantizer=fsq, and quantizer is {self.quantizer}")
            return self
        size, dim = math.prod(self.levels), len(self.levels)
        if not self.levels:
            raise ValueError("quantizer=fsq needs levels, e.g. levels=[8, 8, 8] with codebook_size=512 and code_dim=3")
        if (self.codebook_size, self.code_dim) != (size, dim):
            raise ValueError(f"levels {list(self.levels)} make codebook_size={size} and code_dim={dim}; set these")
        return self

    @model_validator(mode="after")
    def _side_fits(self) -> TokenizerConfig:
        if self.side is not None and not self.size >> len(self.widths) <= self.side <= self.size // 2:
            least = max(self.size >> len(self.widths), 2)
            raise ValueError(f"side={self.side} must lie between {least} and {self.size // 2} for size={self.size}")
        return self

    @model_validator(mode="after")
    def _painted_size_fits(self) -> TokenizerConfig:
        if self.painted not in [self.size << doublings for doublings in range(6)]:
            raise ValueError(f"painted_size={self.painted} must be size={self.size} or that doubled, once or more often")
        if self.painted != self.size and not self.paints_photographs:
            raise ValueError("a painted_size other than size belongs to painted_channels=3")
        return self

    @property
    def painted(self) -> int:
        """Side of the faces that the decoder paints."""
        return self.painted_size or self.size

    @property
    def paints_photographs(self) -> bool:
        """Whether the decoder paints colour photographs, and not faces as the encoder sees them."""
        return self.painted_channels == 3

    @property
    def grid(self) -> int:
        """Positions along one side."""
        return self.side or self.size >> len(self.widths)

    @property
    def halvings(self) -> int:
        """How many of the stages halve the map; the others keep it, as it would become smaller than the grid."""
        return sum(self.size >> stage >= self.grid for stage in range(1, len(self.widths) + 1))


class TokenizerLossConfig(StrictModel):
    """Weights of the parts of the tokenizer's loss; zero switches a part off."""

    pixel: float = Field(1.0, ge=0)
    perceptual: float = Field(0.5, ge=0, description="features of the frozen emotion encoder, or LPIPS")
    perceptual_net: Literal["encoder", "lpips"] = "encoder"
    emotion: float = Field(0.05, ge=0, description="divergence of the encoder's distributions")
    emotion_start: float = Field(0.3, ge=0, le=1, description="share of the schedule after which it takes part")
    commitment: float = Field(0.25, ge=0)
    adversarial: float = Field(0.1, ge=0, description="patch discriminator, scaled to the gradient of the other parts")
    adversarial_start: float = Field(0.4, ge=0, le=1, description="share of the schedule after which it takes part")
    chroma: float = Field(1.0, ge=0, description="colour of photographs")
    gradient: float = Field(0.5, ge=0, description="differences between neighbouring pixels of photographs: sharpness")
    fine: float = Field(
        1.0, ge=0, le=1, description="how much the error of pixels finer than the encoder sees counts in photographs"
    )
    token_noise: float = Field(0.1, ge=0, le=1, description="share of faces some of whose codes are swapped for near ones")
    discriminator: Literal["pixels", "brightness"] = Field(
        "pixels", description="what it sees; brightness: of photographs, as it is and in features of the frozen encoder"
    )

    @property
    def uses_lpips(self) -> bool:
        """Whether a part of the loss is LPIPS, whose weights are downloaded."""
        return self.perceptual > 0 and self.perceptual_net == "lpips"


class DecoderLossConfig(TokenizerLossConfig):
    """Weights of the parts of the loss of a decoder that learns to paint what a prior draws, too."""

    emotion_start: float = Field(0.0, ge=0, le=1)
    adversarial_start: float = Field(0.05, ge=0, le=1)
    former_colour: float = Field(0.0, ge=0, description="distance of the colour from what the decoder painted before")
    net: float = Field(0.0, ge=0, description="differences that repeat every second or fourth pixel, beyond those of photographs")


class PriorConfig(StrictModel):
    """Masked transformer over the tokens."""

    width: int = Field(256, ge=16, le=2048)
    depth: int = Field(6, ge=1, le=64)
    heads: int = Field(8, ge=1, le=64)
    dropout: float = Field(0.1, ge=0, lt=1)
    sees: Literal["last", "all"] = Field("last", description="which earlier codes of its position a code is predicted from")
    attributes: tuple[AttributeName, ...] = Field((), description="what it may be told besides emotion and look, in this order")

    @model_validator(mode="after")
    def _heads_fit(self) -> PriorConfig:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} cannot be divided among heads={self.heads}")
        return self


class SamplingConfig(StrictModel):
    """How faces are best sampled from a prior; travels with its weights, as it is chosen for them on valid.

    The defaults are those of priors that were stored without.
    """

    steps: int = Field(12, ge=1, le=1024)
    guidance: float = Field(3.0, ge=0, le=20)
    guided: tuple[float, float] | None = Field(None, description="see vqvae.sampler.sample_tokens")
    temperature: float = Field(0.8, ge=0, le=10)
    cooled: float | None = Field(None, ge=0, le=10, description="temperature at the end; none: no change")
    autoguidance: float = Field(0.0, ge=0, le=20, description="away from the prior's own early exit")


class FacesConfig(StrictModel):
    """Which faces train the tokenizer and the prior: drawn ones, FER-2013 and others from disk, any in shards, or, for the
    prior and the critics, those that are tokens already."""

    source: Literal["drawn", "real", "shards", "tokens"] = "real"
    tokens: str | None = Field(None, description="folder that python -m vqvae.pack wrote, for source=tokens")
    fer2013: str | None = None
    faces128: str | None = None
    colour128: str | None = Field(None, description="folder with colour photographs, for a tokenizer that paints colour")
    probe: str | None = Field(None, description="folder of the attribute probe, for prior.attributes hands and eyes; null: none")
    on_error: Literal["refuse", "skip"] = "refuse"
    drawn_count: int = Field(8000, ge=64)
    shards: str | None = Field(None, description="folder or URL of tar or Parquet shards; see python -m encoder.shard --help")
    look: Literal["fer2013", "faces128", "drawn"] = Field("fer2013", description="what the faces in shards look like")
    shuffle_block: int = Field(0, ge=0, description="neighbouring faces fetched together, for slow storage; 0: one by one")
    shuffle_window: int = Field(64, ge=1, le=128, description="blocks whose faces are shuffled among themselves")
    workers: int = Field(0, ge=0, le=64, description="processes per training process that make batches ahead of time")

    @model_validator(mode="after")
    def _nothing_unread(self) -> FacesConfig:
        real = dict.fromkeys(("fer2013", "faces128", "colour128", "probe"), "real")
        files = {"real": "configs/vqvae/base.yaml", "drawn": "configs/vqvae/drawn.yaml"}
        refuse_unread("faces", self, {**real, "drawn_count": "drawn", "shards": "shards", "look": "shards"}, files)
        return self


class StageConfig(StrictModel):
    """Optimisation of one stage."""

    epochs: float = Field(12, gt=0)
    max_minutes: float | None = Field(None, gt=0)
    init: str | None = Field(None, description="folder of weights to start from; they must have this configuration's shape")
    batch_size: int = Field(64, ge=2, description="faces of one optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts in which each process takes its share: less memory, same step")
    learning_rate: float = Field(5e-4, gt=0)
    schedule: Literal["cosine", "constant"] = Field("cosine", description="constant: for a run of unknown length, see decay_from")
    decay_from: float = Field(0.75, ge=0, le=1, description="constant: share of the run from which the rate falls to zero")
    weight_decay: float = Field(0.01, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    evaluate_every: int | None = Field(None, ge=1, description="steps; null: about once an epoch, at least every 500")
    checkpoint_every: int | None = Field(None, ge=1, description="steps; null: as often as evaluate_every")
    log_every: int = Field(20, ge=1, description="steps between lines of metrics.jsonl")
    checkpoint_minutes: float = Field(10.0, gt=0, description="at most so long without a checkpoint")
    keep_checkpoints: int = Field(2, ge=1, description="older ones are removed")


class TokenizerStageConfig(StageConfig):
    """Optimisation of the tokenizer, whole or in part."""

    trainable: Literal["all", "decoder"] = Field("all", description="decoder: faces keep their tokens, a prior stays valid")

    @model_validator(mode="after")
    def _something_to_decode(self) -> TokenizerStageConfig:
        if self.trainable == "decoder" and self.init is None:
            raise ValueError("trainable=decoder keeps the tokens of a trained tokenizer: name it in init")
        return self


class DecoderStageConfig(StageConfig):
    """Optimisation of a decoder that learns to paint what a prior draws, too; tokens stay as they are."""

    epochs: float = Field(2, gt=0)
    batch_size: int = Field(
        32, ge=2, multiple_of=2, description="half grey faces, half photographs; half as many drawn ones join"
    )
    learning_rate: float = Field(2e-4, gt=0)
    ema_decay: float = Field(0.998, ge=0, lt=1)
    redrawn: int = Field(16384, ge=64, description="faces that the prior draws anew, in part or as a whole, to paint")
    loss: DecoderLossConfig | None = Field(None, description="null: that of the tokenizer, from the start")
    share: float = Field(
        1.0, gt=0, le=1, description="of the trained weights in those that are kept; the rest is the former ones"
    )

    def as_tokenizer_stage(self, init: str) -> TokenizerStageConfig:
        """The settings for the training of the decoder in the folder ``init``."""
        return TokenizerStageConfig(
            **{**self.model_dump(exclude={"redrawn", "loss", "share"}), "init": init, "trainable": "decoder"}
        )


class PriorStageConfig(StageConfig):
    """Optimisation of the prior, and what its labels are made of."""

    optimizer: Literal["adamw", "muon"] = Field("adamw", description="muon: for the matrices of the blocks; AdamW the rest")
    muon_rate: float = Field(2e-3, gt=0, description="learning rate of Muon, scaled to match that of AdamW")
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of faces whose emotion is hidden (Ho & Salimans, 2022)")
    sampling: SamplingConfig = SamplingConfig(steps=16, guidance=1.0, guided=(0.1, 0.9), temperature=1.0, cooled=0.5)
    attribute_dropout: float = Field(0.2, ge=0, lt=1, description="share of faces from which each attribute is hidden")
    votes_weight: float = Field(0.5, ge=0, le=1, description="share of the annotators in the label, the rest: the encoder")
    rare_sampling: float = Field(0.5, ge=0, le=1, description="0: faces as they come, 1: every emotion equally often")
    chosen: tuple[str, ...] = Field(
        (), description="files of drawn faces that python -m generation.curate chose, to learn from, too"
    )
    chosen_share: float = Field(0.5, gt=0, lt=1, description="of these faces in what is learned from")
    share: float = Field(1.0, gt=0, le=1, description="of the trained weights in those that are kept; the rest is those of init")
    exit: int = Field(0, ge=0, le=63, description="blocks after which a weaker prior is read off, for autoguidance; 0: none")
    exit_rank: int = Field(24, ge=1, le=2048)
    exit_steps: int = Field(600, ge=1, description="steps that fit the exit, after all others")

    @model_validator(mode="after")
    def _something_to_keep(self) -> PriorStageConfig:
        if self.share < 1 and self.init is None:
            raise ValueError(f"share={self.share:g} keeps a part of a trained prior: name it in init")
        return self

    @model_validator(mode="after")
    def _nothing_leads_nowhere(self) -> PriorStageConfig:
        if self.sampling.autoguidance and not self.exit:
            raise ValueError(f"sampling.autoguidance={self.sampling.autoguidance:g} leads away from an early exit; set exit, too")
        return self


class CriticStageConfig(StageConfig):
    """Optimisation of a critic. The faces that it learns to tell are sampled as the prior's ``sampling`` says, but for those
    of the critic that selects, if ``refused`` says otherwise: of faces cleaner than real ones it would refuse the cleanest."""

    epochs: float = Field(10, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(64, ge=4, multiple_of=2, description="faces of one optimiser step, half of them real")
    ema_decay: float = Field(0.995, ge=0, lt=1)
    widths: tuple[Width, ...] = Field((24, 48, 96, 128), min_length=2, max_length=6, description="multiples of 8")
    samples: int = Field(8192, ge=64, description="made faces to learn from, and as many real ones")
    refused: SamplingConfig | None = Field(
        None, description="how the faces are sampled that the selecting critic learns to refuse"
    )


class VqvaeConfig(StrictModel):
    """Everything ``vqvae/train.py`` reads."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    loss: TokenizerLossConfig = TokenizerLossConfig()
    prior: PriorConfig = PriorConfig()
    faces: FacesConfig = FacesConfig()
    encoder: str | None = Field("pretrained/encoder", description="weights of the frozen emotion encoder; null: none")
    tokenizer_stage: TokenizerStageConfig = TokenizerStageConfig()
    prior_stage: PriorStageConfig = PriorStageConfig()
    decoder_stage: DecoderStageConfig = DecoderStageConfig()
    critic_stage: CriticStageConfig = CriticStageConfig()
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "no", "bf16"] = "auto"
    compile: bool = Field(False, description="torch.compile of the networks; pays on a GPU and in long runs")
    wandb: bool = False

    @model_validator(mode="after")
    def _exit_leaves_blocks_out(self) -> VqvaeConfig:
        if self.prior_stage.exit >= self.prior.depth:
            raise ValueError(f"prior_stage.exit={self.prior_stage.exit} must be below prior.depth={self.prior.depth}")
        return self

    def without_folders(self) -> dict[str, Any]:
        """The settings as stored beside weights: where somebody keeps their data is nobody else's business."""
        folders = {"fer2013", "faces128", "colour128", "shards", "tokens"}
        return self.model_dump(mode="json", exclude={"faces": folders, "prior_stage": {"chosen"}})
