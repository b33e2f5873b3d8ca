"""The rungs of the ladder: which configuration, and what the short schedule changes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SCHEDULES = ("short", "full")
_FOLDER = "configs/encoder/ladder"


@dataclass(frozen=True)
class Rung:
    """One system of the ladder.

    Attributes:
        name: of its folder and in the table; ``--only`` takes it.
        title: what it is, for the table.
        config: file that ``encoder.train`` reads; None: its weights are trained already.
        weights: folder of weights that need no training, ``deepface`` for DeepFace's published ones; None: it is trained.
        minutes: of training on the short schedule; None: it ends by itself.
        short: what else the short schedule sets.
    """

    name: str
    title: str
    config: str | None = None
    weights: str | None = None
    minutes: float | None = None
    short: tuple[str, ...] = ()

    def settings(self, schedule: str, max_minutes: float | None) -> list[str]:
        """``key=value`` arguments for ``encoder.train``; ``max_minutes`` caps the time that a network trains."""
        times = [self.minutes if schedule == "short" else None, max_minutes if not self.on_landmarks else None]
        limits = [time for time in times if time is not None]
        settings = list(self.short) if schedule == "short" else []
        if limits:
            # A run laid over a time ends annealed; stopping it early would waste the rest of its time.
            settings += ["train.schedule=cosine", "train.early_stopping=null", f"train.max_minutes={min(limits)}"]
            # Each evaluation costs as much as a sixth of an epoch, which this time has little of.
            settings += ["train.evaluate_every=4"]
        return settings

    @property
    def on_landmarks(self) -> bool:
        """Whether it reads 68 points instead of pixels."""
        return self.name.startswith("landmarks")


def _pretrained(net: str, title: str) -> list[Rung]:
    small = ("preprocessing.size=48",)
    kinds = {"frozen": "frozen ImageNet features", "finetuned": "fine-tuned, low rate", "last4": "fine-tuned, last four layers"}
    return [
        Rung(f"{net}-scratch", f"{title}, from scratch", f"{_FOLDER}/{net}-scratch.yaml", minutes=8),
        *(
            Rung(f"{net}-{kind}", f"{title}, {text}", f"{_FOLDER}/{net}-{kind}.yaml", minutes=4, short=small)
            for kind, text in kinds.items()
        ),
    ]


def _on_landmarks(kind: str, title: str, *short: str) -> Rung:
    name = f"landmarks-{kind}"
    return Rung(name, f"68 landmarks, {title}", f"{_FOLDER}/{name}.yaml", short=short)


# Strong augmentation for the whole of a short run leaves a network underfitted.
_GENTLE = (
    "augment.rotation=10",
    "augment.scale=0.1",
    "augment.shift=0.07",
    "augment.shear=0.05",
    "augment.erase=0.15",
    "augment.blur=0.2",
    "augment.noise=0.03",
    "train.mixup=0",
)

RUNGS: tuple[Rung, ...] = (
    Rung("deepface-published", "DeepFace, its published weights", weights="deepface"),
    Rung("deepface", "DeepFace's network, trained here", f"{_FOLDER}/deepface.yaml", minutes=5),
    Rung("conv4-100", "4 convolutions, 100×100", f"{_FOLDER}/conv4-100.yaml", minutes=5),
    Rung("conv4-bn-128", "4 convolutions, batch norm, 128×128", f"{_FOLDER}/conv4-bn-128.yaml", minutes=8),
    Rung("conv4-1024", "4 convolutions, dense 1024, 48×48", f"{_FOLDER}/conv4-1024.yaml", minutes=5),
    *_pretrained("vgg16", "VGG16"),
    *_pretrained("resnet50", "ResNet-50"),
    _on_landmarks("lightgbm", "LightGBM", "landmarks.trees=300"),
    _on_landmarks("forest", "random forest", "landmarks.trees=150"),
    _on_landmarks("linear-svc", "linear SVC", "landmarks.most_faces=15000"),
    _on_landmarks("svc", "SVC", "landmarks.most_faces=10000"),
    _on_landmarks("knn", "k-NN"),
    _on_landmarks("mlp", "MLP classifier", "landmarks.epochs=30"),
    _on_landmarks("net", "feed-forward network", "landmarks.epochs=30"),
    Rung("ours", "ours, stage 1", "configs/encoder/base.yaml", minutes=10, short=_GENTLE),
    Rung("shipped", "ours, the shipped weights", weights="pretrained/encoder"),
)


def chosen_rungs(only: Sequence[str] | None) -> list[Rung]:
    """The rungs of those names, in the ladder's order; None: all. Raises UserError: a name that no rung has."""
    if only is None:
        return list(RUNGS)
    import difflib

    from configs.cli import UserError

    names = [rung.name for rung in RUNGS]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(f"--only {name}: no such rung; {hint}rungs are {', '.join(names)}")
    return [rung for rung in RUNGS if rung.name in only]
