"""What a prior may be told of a face besides its emotion and its look.

Each is one of a few classes, or not told. What is told need not be guessed, and what guidance does not touch it cannot
amplify: a prior that knows which faces hold a hand before the mouth draws fear without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

AttributeName = Literal["hands", "eyes", "gender", "age", "group"]
# The classes of each. Age and group are FairFace's (Kärkkäinen and Joo, 2021): as raters perceived them.
ATTRIBUTES: Mapping[AttributeName, tuple[str, ...]] = {
    "hands": ("no", "yes"),
    "eyes": ("open", "closed"),
    "gender": ("female", "male"),
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+"),
    "group": ("black", "east-asian", "indian", "latino", "middle-eastern", "southeast-asian", "white"),
}
ATTRIBUTE_NAMES: tuple[AttributeName, ...] = get_args(AttributeName)
NOT_TOLD = -1


def attribute_row(told: Mapping[AttributeName, str], names: Sequence[AttributeName] = ATTRIBUTE_NAMES) -> tuple[int, ...]:
    """The class of each of ``names`` as a number, ``NOT_TOLD`` where ``told`` says nothing.

    Raises ValueError: a class that the attribute does not have.
    """
    return tuple(ATTRIBUTES[name].index(told[name]) if name in told else NOT_TOLD for name in names)
