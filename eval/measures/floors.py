"""How near generated faces come to real ones, each distance beside its floor: what other real faces get.

The floor is train against the held-out split: faces of the very source that a generator learned from. It is measured with
as many train faces as there are generated ones, against the same held-out faces, so that the bias of few faces is in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import wilson_interval
from eval.measures import distances
from eval.measures.distances import NEIGHBOURS, Features

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction

MAX_PER_EMOTION, MAX_FLOORS = 200, 10


@dataclass(frozen=True)
class RealFeatures:
    """Real faces in one reader's feature space, the emotions in equal parts.

    Attributes:
        reference: per emotion, features (R, D) of held-out faces.
        floors: per draw and emotion, features (N, D) of train faces.
        recall: per emotion, the share of all held-out faces with that label to which the reader gives it.
    """

    reference: tuple[Features, ...]
    floors: tuple[tuple[Features, ...], ...]
    recall: tuple[float, ...]


def read_real_faces(
    readers: Mapping[str, EmotionEncoder], train: FaceSet, held_out: FaceSet, per_emotion: int, *, seed: int = 0
) -> dict[str, RealFeatures]:
    """What each reader sees in real faces; held-out faces with a pixel-identical twin in train are left out.

    Raises:
        UserError: an emotion has too few faces.
    """
    held_out = held_out.subset(~twins(held_out, train))
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(held_out.labels == emotion) for emotion in range(NUM_EMOTIONS)]
    count = min(min(map(len, rows)), MAX_PER_EMOTION)
    if count <= NEIGHBOURS:
        raise UserError(f"held-out faces: {count} of {_scarce(rows)}; coverage needs more than {NEIGHBOURS} of each emotion")
    reference = [np.sort(rng.permutation(found)[:count]) for found in rows]
    pools = [rng.permutation(np.flatnonzero(train.labels == emotion)) for emotion in range(NUM_EMOTIONS)]
    fewest = min(map(len, pools))
    draws = min(fewest // per_emotion, MAX_FLOORS)
    if draws < 1:
        raise UserError(f"--per-emotion {per_emotion}: train has only {fewest} faces of {_scarce(pools)} for the floor")
    drawn = np.concatenate([pool[: draws * per_emotion] for pool in pools])
    found: dict[str, RealFeatures] = {}
    for name, reader in readers.items():
        held = reader.predict(held_out.images)
        tops, features = held.distributions.argmax(dim=1).numpy(), held.embeddings.numpy()
        learned = reader.predict(train.images[drawn]).embeddings.numpy()
        learned = learned.reshape(NUM_EMOTIONS, draws, per_emotion, -1)
        found[name] = RealFeatures(
            tuple(features[chosen] for chosen in reference),
            tuple(tuple(learned[:, draw]) for draw in range(draws)),
            tuple(float((tops[each] == emotion).mean()) for emotion, each in enumerate(rows)),
        )
    return found


def _scarce(rows: Sequence[npt.NDArray[np.intp]]) -> str:
    return EMOTION_NAMES[min(range(NUM_EMOTIONS), key=lambda emotion: len(rows[emotion]))]


def accuracies(readings: Sequence[Prediction], recall: Sequence[float]) -> dict[str, dict[str, Any] | None]:
    """Share of faces to which a reader gives the emotion asked for, of ``all`` and of each emotion; None of no faces.

    Args:
        readings: of the faces of each emotion. recall: the same shares of real faces.
    """
    hits = [each.distributions.argmax(dim=1).numpy() == emotion for emotion, each in enumerate(readings)]
    rows = {"all": (np.concatenate(hits), float(np.mean(recall)))}
    rows |= dict(zip(EMOTION_NAMES, zip(hits, recall, strict=True), strict=True))
    return {name: share(mine, real) if len(mine) else None for name, (mine, real) in rows.items()}


def share(hits: npt.NDArray[np.bool_], real: float) -> dict[str, Any]:
    """Share of N faces that are hits, with its interval, beside the same share of real faces."""
    count = int(hits.sum())
    return figure(count / len(hits), wilson_interval(count, len(hits)), real)


def figure(value: float, interval: tuple[float, float], floor: float, *, difference: bool = False) -> dict[str, Any]:
    """One figure as it is reported; ``relative`` is its ratio to the floor, or with ``difference`` what it has more."""
    relative = value - floor if difference else value / floor if floor else None
    return {
        "value": _short(value),
        "interval": [_short(end) for end in interval],
        "floor": _short(floor),
        "relative": None if relative is None else _short(relative),
    }


def as_ratio(found: Mapping[str, Any]) -> dict[str, Any]:
    """A figure and its interval as multiples of its floor, taken as exact; None where the floor is 0."""
    floor = found["floor"]
    value, low, high = (_short(end / floor) if floor else None for end in (found["value"], *found["interval"]))
    return {"value": value, "interval": [low, high]}


def diversity(made: Sequence[Features], real: RealFeatures, *, rounds: int) -> dict[str, dict[str, Any] | None]:
    """Mean distance between generated faces, (N, D) per emotion, of one emotion, and the mean of all seven (``all``): not
    the distances between a sad and a happy face. None where an emotion has fewer than two faces."""
    found: dict[str, dict[str, Any] | None] = {}
    for emotion, name in enumerate(EMOTION_NAMES):
        floors = [draw[emotion] for draw in real.floors]
        enough = len(made[emotion]) >= 2
        found[name] = _compare(distances.mean_pairwise_distance, made[emotion], floors, rounds) if enough else None
    each = [figures for figures in found.values() if figures is not None]
    return {"all": _mean(each) if len(each) == NUM_EMOTIONS else None, **found}


def closeness(made: Sequence[Features], real: RealFeatures, *, rounds: int) -> dict[str, Any]:
    """All distances of generated faces, (N, D) per emotion, for each emotion and for all together.

    The Fréchet distance is given for all together only: the faces of one emotion are fewer than its dimensions.

    Args:
        rounds: of the distances.bootstrap over generated faces; the real ones stay.
    """
    everything, pooled = np.concatenate(real.reference), np.concatenate(list(made))
    whole = [np.concatenate(draw) for draw in real.floors]
    found = {"all": _distances(pooled, everything, whole, rounds)}
    found["all"]["frechet"] = _compare(lambda rows: distances.frechet_distance(everything, rows), pooled, whole, rounds)
    for emotion, name in enumerate(EMOTION_NAMES):
        floors = [draw[emotion] for draw in real.floors]
        found[name] = _distances(made[emotion], real.reference[emotion], floors, rounds)
    for name, spread in diversity(made, real, rounds=rounds).items():
        found[name]["diversity"] = spread
    return found


def fidelity(made: Sequence[Features], real: RealFeatures, *, rounds: int) -> dict[str, dict[str, Any] | None]:
    """Fréchet distance (``frechet``) and coverage (``all``) of all generated faces, (N, D) per emotion, and the coverage of
    each emotion. None of fewer than two faces; an emotion without any leaves the others as they are.

    The floors have as many faces of each emotion as were asked for: where fewer were made, coverage comes out too low.
    """
    everything, whole = np.concatenate(real.reference), [np.concatenate(draw) for draw in real.floors]
    pooled = np.concatenate(list(made))

    def covered(reference: Features, rows: Features, floors: Sequence[Features]) -> dict[str, Any] | None:
        if len(rows) < 2:
            return None
        return _compare(lambda some: distances.density_and_coverage(reference, some)[1], rows, floors, rounds)

    found: dict[str, dict[str, Any] | None] = {"frechet": None, "all": covered(everything, pooled, whole)}
    if len(pooled) >= 2:
        found["frechet"] = _compare(lambda rows: distances.frechet_distance(everything, rows), pooled, whole, rounds)
    for emotion, name in enumerate(EMOTION_NAMES):
        found[name] = covered(real.reference[emotion], made[emotion], [draw[emotion] for draw in real.floors])
    return found


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of independent figures: the squares of their half-widths add up."""
    value, floor = (float(np.mean([each[key] for each in figures])) for key in ("value", "floor"))
    below, above = (
        float(np.sqrt(np.mean([(each["interval"][end] - each["value"]) ** 2 for each in figures]) / len(figures)))
        for end in (0, 1)
    )
    return figure(value, (value - below, value + above), floor)


def _distances(made: Features, real: Features, floors: Sequence[Features], rounds: int) -> dict[str, Any]:
    return {
        "kernel": _compare(lambda rows: distances.kernel_distance(real, rows), made, floors, rounds, difference=True),
        "density": _compare(lambda rows: distances.density_and_coverage(real, rows)[0], made, floors, rounds),
        "coverage": _compare(lambda rows: distances.density_and_coverage(real, rows)[1], made, floors, rounds),
    }


def _compare(
    statistic: Callable[[Features], float], made: Features, floors: Sequence[Features], rounds: int, *, difference: bool = False
) -> dict[str, Any]:
    value = statistic(made)
    interval = distances.bootstrap(lambda rows: statistic(made[rows]), len(made), rounds=rounds, centre=value)
    return figure(value, interval, float(np.mean([statistic(floor) for floor in floors])), difference=difference)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
