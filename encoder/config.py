"""Typed settings of the encoder: what it is, how its input is prepared, how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.loader import StrictModel, refuse_unread

LandmarkModelName = Literal[
    "landmarks-lightgbm", "landmarks-forest", "landmarks-linear-svc", "landmarks-svc", "landmarks-knn", "landmarks-mlp",
    "landmarks-net",
]  # fmt: skip
NetworkName = Literal["resnet", "plain", "deepface", "conv4-100", "conv4-bn-128", "conv4-1024", "vgg16", "resnet50"]
ModelName = Literal[NetworkName, LandmarkModelName]
# A stored configuration is refused before it can ask for absurd amounts of memory.
Width = Annotated[int, Field(ge=4, le=2048)]
Depth = Annotated[int, Field(ge=1, le=64)]


class ModelConfig(StrictModel):
    """Architecture: a name from the registry of :mod:`encoder.models.emotion_net` and, for ``resnet`` and ``plain``, its sizes.

    Names that begin with ``landmarks`` are the models of :mod:`encoder.landmarks.models`: they read 68 points of a face
    instead of its pixels, know FER-2013's labels only, and take their settings from :class:`LandmarkConfig`.
    """

    name: ModelName = "resnet"
    widths: tuple[Width, ...] = Field((64, 128, 256), min_length=1, max_length=8)
    depths: tuple[Depth, ...] = Field((2, 2, 2), min_length=1, max_length=8)
    dropout: float = Field(0.3, ge=0, lt=1)
    heads: tuple[Literal["fer2013", "ferplus"], ...] = Field(("fer2013", "ferplus"), min_length=1)


class CropConfig(StrictModel):
    """Where a face lies in the crop that a network reads; see :func:`encoder.detection.align.crop_face`.

    Shares of the side of the crop: the middle between the eyes lies at (0.5, ``eye_height``), the eyes are
    ``eye_distance`` apart and level.
    """

    eye_distance: float = Field(0.40, ge=0.1, le=0.8, description="from eye to eye, as a share of the side")
    eye_height: float = Field(0.36, ge=0.1, le=0.8, description="from the top to the eyes, as a share of the side")


class PreprocessingConfig(StrictModel):
    """Input convention; travels with the weights and is applied by :func:`encoder.inference.preprocessing.normalise`,
    the crop by :func:`encoder.detection.align.crop_face`.

    ``normalisation``: each face to mean 0 and deviation 1 (``per_image``); by ``mean`` and ``std`` (``fixed``); by mean
    and deviation of the training faces, which training measures and stores as ``fixed`` (``data_set``); grey repeated to
    three channels with the constants of ImageNet (``imagenet``).
    """

    size: int = Field(48, ge=16, le=512)
    channels: Literal["grey"] = "grey"
    normalisation: Literal["per_image", "fixed", "data_set", "imagenet"] = "per_image"
    mean: float = 0.5
    std: float = Field(0.25, gt=0)
    crop: CropConfig | None = Field(None, description="how faces are cut out of pictures; null: as FER-2013's were")


class HeadCalibration(StrictModel):
    """Post-hoc correction of one head, chosen on valid: ``softmax((logits - tau * log_prior) / temperature)``."""

    temperature: float = Field(1.0, gt=0, le=100)
    tau: float = Field(0.0, ge=-1, le=4)
    log_prior: tuple[float, ...] = ()


class CalibrationConfig(StrictModel):
    """Calibration of each head, and the head whose answer is the product's."""

    answer: Literal["fer2013", "ferplus"] = "fer2013"
    heads: dict[str, HeadCalibration] = Field(default_factory=dict)


class AugmentConfig(StrictModel):
    """Ranges of the random changes made to a training face; zero switches one off."""

    flip: bool = True
    rotation: float = Field(15.0, ge=0, le=180, description="degrees")
    scale: float = Field(0.2, ge=0, lt=1, description="zoom drawn from 1 - scale to 1 + scale")
    shift: float = Field(0.12, ge=0, lt=1, description="share of the width")
    shear: float = Field(0.1, ge=0, lt=1)
    contrast: float = Field(0.3, ge=0, lt=1)
    brightness: float = Field(0.2, ge=0, lt=1)
    erase: float = Field(0.4, ge=0, le=1, description="probability of one random rectangle")
    blur: float = Field(0.0, ge=0, le=1, description="largest share of a blurred copy mixed in")
    noise: float = Field(0.0, ge=0, lt=1, description="largest standard deviation of added noise, in grey levels of 0..1")
    saturation: float = Field(0.0, ge=0, le=1, description="saturation drawn from 1 - x to 1 + x; only for colour")


class DataConfig(StrictModel):
    """Where faces come from: ``drawn`` (made by the project) or ``real`` at ``path``."""

    source: Literal["drawn", "real"] = "real"
    path: str | None = None
    on_error: Literal["refuse", "skip"] = "refuse"
    drawn_count: int = Field(12000, ge=64)
    sixfold_rotation: float | None = Field(
        None, gt=0, le=180, description="degrees; every training face is replaced by six turned copies; null: off"
    )

    @model_validator(mode="after")
    def _nothing_unread(self) -> DataConfig:
        files = {"real": "configs/encoder/base.yaml", "drawn": "configs/encoder/drawn.yaml"}
        refuse_unread("data", self, {"path": "real", "drawn_count": "drawn"}, files)
        return self


class TrainConfig(StrictModel):
    """Optimisation."""

    epochs: float = Field(60, gt=0)
    batch_size: int = Field(128, ge=2, description="faces of one optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts in which each process takes its share: less memory, same step")
    learning_rate: float = Field(1.5e-3, gt=0)
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd: Nesterov momentum 0.9")
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="plateau: factor on the rate")
    plateau_patience: int = Field(3, ge=1, description="plateau: evaluations without improvement before the rate falls")
    early_stopping: int | None = Field(None, ge=1, description="evaluations without improvement before the run ends")
    evaluate_every: float = Field(2.0, gt=0, description="epochs between evaluations on valid")
    select: Literal["last", "best"] = Field("last", description="which weights are kept: of the end, or best on valid")
    trainable: Literal["all", "last_stage", "last4", "head"] = Field(
        "all", description="what learns besides the dense layers: everything, the last stage, the last four convolutions, nothing"
    )
    reset_heads: bool = Field(False, description="with init: start the heads afresh (classifier re-training)")
    trunk_rate: float = Field(1.0, gt=0, le=1, description="factor on the learning rate of everything but the heads")
    sampling: Literal["instance", "square_root", "balanced"] = Field(
        "instance", description="how often a face is drawn: all alike, by 1 / sqrt(size of its class), by 1 / size"
    )
    logit_adjustment: float = Field(
        0.0, ge=0, le=2, description="multiple of the log class frequencies added to the logits in the loss; 1: balanced softmax"
    )
    teacher: str | None = Field(None, description="folder of weights whose answers are learnt too (distillation)")
    teacher_weight: float = Field(0.7, gt=0, le=1, description="share of the teacher in the loss")
    teacher_temperature: float = Field(2.0, gt=0, description="softens the answers of teacher and pupil")
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    ferplus_weight: float = Field(1.0, ge=0, description="weight of the loss on FER+ votes")
    mixup: float = Field(0.2, ge=0, description="alpha of the Beta distribution; 0: off")
    ema_decay: float = Field(0.998, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    init: str | None = Field(None, description="folder of weights to start from, imagenet or deepface; null: fresh ones")
    max_minutes: float | None = Field(None, gt=0)
    checkpoint_every: int | None = Field(None, ge=1, description="steps; null: about ten times an epoch, at least 20 steps")
    keep_checkpoints: int = Field(2, ge=1, description="older ones are removed, the best one never")
    compile: bool = Field(False, description="torch.compile of the network; pays on a GPU and in long runs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "no", "bf16"] = "auto"
    wandb: bool = False


class SelfTrainingConfig(StrictModel):
    """A pupil that learns from people's labels and from its teachers' answers (noisy student, Xie et al., 2020).

    Every face is shown in two crops at once: a labelled one as it is stored and aligned, a photograph as it is and degraded.
    Off while ``teachers`` is empty.
    """

    teachers: tuple[str, ...] = Field((), description="folders of weights; their answers are averaged")
    aligned: str | None = Field(None, description="the faces of data.path once more, as encoder.prepare --align writes them")
    photographs: tuple[str, ...] = Field((), description="Parquet files of aligned faces; labels in them are not read")
    teacher_share: float = Field(0.4, ge=0, le=1, description="share of the teachers in the target of a labelled face")
    photograph_share: float = Field(0.5, ge=0, lt=1, description="share of photographs in every batch")
    balance: float = Field(0.5, ge=0, le=1, description="photographs: 0 as they come, 1 every emotion equally often")
    sharpening: float = Field(0.7, gt=0, le=2, description="temperature of the teachers' answers; below 1 they are surer")
    consistency: float = Field(0.3, ge=0, description="weight of the divergence between the answers for the two crops")

    @model_validator(mode="after")
    def _somebody_teaches(self) -> SelfTrainingConfig:
        if not self.teachers and (self.aligned is not None or self.photographs):
            raise ValueError("aligned and photographs do nothing without teachers: name one, e.g. teachers=[pretrained/encoder]")
        return self


class LandmarkConfig(StrictModel):
    """Settings of the models on landmarks; each reads those of its kind."""

    most_faces: int | None = Field(None, ge=7, description="training faces at most, drawn by the seed; null: all")
    trees: int = Field(300, ge=1, le=5000, description="forest: trees; lightgbm: rounds at most")
    leaves: int = Field(31, ge=2, le=1024, description="lightgbm: leaves of a tree")
    smallest_leaf: int = Field(5, ge=1, description="forest, lightgbm: faces in a leaf at least")
    penalty: float = Field(1.0, gt=0, description="linear-svc, svc: C, the price of an error")
    neighbours: int = Field(25, ge=1, description="knn: how many decide")
    hidden: tuple[Width, ...] = Field((256, 128), min_length=1, max_length=6, description="mlp, net: widths of the layers")
    epochs: int = Field(60, ge=1, description="mlp, net: passes over the training faces at most")


class EncoderConfig(StrictModel):
    """Everything ``python -m encoder.train`` reads."""

    model: ModelConfig = ModelConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    augment: AugmentConfig = AugmentConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    self_training: SelfTrainingConfig = SelfTrainingConfig()
    landmarks: LandmarkConfig = LandmarkConfig()

    @model_validator(mode="after")
    def _one_way_of_drawing(self) -> EncoderConfig:
        if self.self_training.teachers and self.train.sampling != "instance":
            raise ValueError(f"train.sampling={self.train.sampling} does nothing in self-training: use self_training.balance")
        return self
