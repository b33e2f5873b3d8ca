"""One thing for all faces, or one a face: emotions, intensities and seeds as people have them, as an order of N faces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Unpack

import numpy as np
import torch

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS, Emotion
from generation.request import MAX_SEED, Asked, FaceRequest, FaceSettings, make_request

Seeds = int | Sequence[int] | torch.Generator | np.random.Generator
USUAL_COUNT = 16


@dataclass(frozen=True)
class Order:
    """N faces as they were asked for.

    Attributes:
        request: of all, with the emotion and the seed of the first.
        emotions, seeds: of each face; None: as ``request`` says.
    """

    request: FaceRequest
    emotions: tuple[tuple[float, ...], ...] | None = None
    seeds: tuple[int, ...] | None = None


def make_order(
    emotion: Asked | Iterable[Asked],
    count: int | None = None,
    seed: Seeds = 0,
    *,
    intensity: float | Sequence[float] = 1.0,
    **settings: Unpack[FaceSettings],
) -> Order:
    """A checked order. What is given as a list is one a face, and all lists are of one length, which is the count.

    Args:
        emotion: for all, see :func:`generation.request.make_request`; or a list of such, or an (N, 7) array.
        count: 16 where neither it nor a list is given.
        seed: face i uses ``seed + i``; or a list; or a generator, from which the first seed is drawn.

    Raises:
        UserError: lists of different lengths, or a setting that is unknown or out of range.
    """
    many = {"emotion": _several(emotion), "seed": _seeds(seed), "intensity": _listed(intensity)}
    lengths = {name: len(values) for name, values in many.items() if values is not None}
    if count is not None:
        lengths["count"] = count
    if len(set(lengths.values())) > 1:
        raise UserError("one a face: these differ in number: " + ", ".join(f"{name} {n}" for name, n in lengths.items()))
    number = next(iter(lengths.values()), USUAL_COUNT)
    emotions, seeds, levels = many["emotion"], many["seed"], many["intensity"]
    if number == 0 and count is None:
        raise UserError("one a face: the list is empty")
    first = seeds[0] if seeds else _first_seed(seed)
    request = make_request(
        emotions[0] if emotions else emotion,  # type: ignore[arg-type]
        number,
        first,
        intensity=levels[0] if levels else intensity,  # type: ignore[arg-type]
        **settings,
    )
    for each in seeds or ():
        make_request("neutral", 1, each)
    if emotions is None and levels is None:
        return Order(request, None, None if seeds is None else tuple(map(int, seeds)))
    # Each is checked like a request of its own: what one face is asked for may be what all are to avoid.
    made: dict[str, tuple[float, ...]] = {}
    rows = []
    for asked, level in zip(emotions or [emotion] * number, levels or [intensity] * number, strict=True):
        key = repr((asked, level))
        if key not in made:
            made[key] = make_request(asked, 1, first, intensity=level, **settings).emotion
        rows.append(made[key])
    return Order(request, tuple(rows), None if seeds is None else tuple(map(int, seeds)))


def _several(emotion: Any) -> list[Any] | None:
    """The emotions of a list of them; None: it is one emotion. Seven plain numbers are one, a distribution."""
    if isinstance(emotion, str | Mapping | Integral):
        return None
    plain = emotion.tolist() if hasattr(emotion, "tolist") else emotion
    if not isinstance(plain, Iterable):
        return None
    rows = list(plain)
    number = [isinstance(row, Real) and not isinstance(row, Emotion) for row in rows]
    if len(rows) == NUM_EMOTIONS and all(number):
        return None
    if any(number):
        raise UserError(
            f"emotion: {len(rows)} numbers are neither seven probabilities nor emotions; give names or Emotion, one a face"
        )
    return rows


def _listed(values: Any) -> list[Any] | None:
    plain = values.tolist() if hasattr(values, "tolist") else values
    return list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str | bytes | Mapping) else None


def _seeds(seed: Any) -> list[Any] | None:
    return None if isinstance(seed, torch.Generator | np.random.Generator) else _listed(seed)


def _first_seed(seed: Any) -> Any:
    """A whole number as it is; of a generator the next that it draws, so that it is a new one each time."""
    if isinstance(seed, torch.Generator):
        return int(torch.randint(MAX_SEED // 2, (), generator=seed, device=seed.device))
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(MAX_SEED // 2))
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        raise UserError(f"seed: give a whole number, a list of them, or a torch.Generator, got {seed!r} ({type(seed).__name__})")
    return int(seed)
