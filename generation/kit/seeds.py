"""Which seed is which person: so that what is to be even over the people is even, and not only on average."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from configs.cli import UserError
from engine.counter_random import hash64
from generation.kit.order import NEUTRAL, StimulusRequest
from generation.request import MAX_SEED
from generation.settle import EVEN, attributes_of, even_classes
from vqvae.attributes import AttributeName

_ORDER_STREAM, _CHUNK = 7002, 4096


def person_seeds(request: StimulusRequest, names: Sequence[AttributeName]) -> list[int]:
    """The seed of each person.

    A seed draws its gender, age and group by itself. Of the seeds from ``request.seed`` on each person takes the first free one
    that draws what is this person's turn: in every row of as many people as there are classes, each class comes once. The
    first people of a larger set are those of a smaller one.

    Args:
        names: the attributes that the prior may be told.

    Raises:
        UserError: the seeds up to the largest do not suffice.
    """
    face = request.face_request(NEUTRAL)
    even = [name for name in names if getattr(face, name) == EVEN]
    if not even:
        return list(range(request.seed, request.seed + request.people))
    turns = list(zip(*(_turns(request, name, place) for place, name in enumerate(even)), strict=True))
    wanted: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, classes in reversed(list(enumerate(turns))):
        wanted[classes].append(number)
    seeds = [-1] * request.people
    left, start = request.people, request.seed
    while left:
        if start + _CHUNK > MAX_SEED:
            raise UserError(f"seed: too near to the largest, {MAX_SEED}, for {request.people} people; take a smaller --seed")
        chunk = range(start, start + _CHUNK)
        for seed, row in zip(chunk, attributes_of(face, chunk, even).tolist(), strict=True):
            if waiting := wanted.get(tuple(row)):
                seeds[waiting.pop()] = seed
                left -= 1
        start += _CHUNK
    return seeds


def _turns(request: StimulusRequest, name: AttributeName, place: int) -> list[int]:
    """The class of each person: all classes in one order after the other, each order shuffled by itself."""
    classes = even_classes(name)
    found: list[int] = []
    for row in range(-(-request.people // len(classes))):
        order = np.argsort(hash64(request.seed, _ORDER_STREAM, place, row, np.arange(len(classes))), kind="stable")
        found += [classes[index] for index in order.tolist()]
    return found[: request.people]
