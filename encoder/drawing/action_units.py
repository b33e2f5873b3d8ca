"""Facial action units, and the combinations of them that people read as the seven emotions.

Units are numbered as in FACS (Ekman & Friesen, 1978, "Facial Action Coding System"). The combinations are those that
EMFACS (Friesen & Ekman, 1983) and the FACS investigator's guide list as prototypes and major variants; weights stand
for the intensity letters A (trace) to E (maximum). Where the lists let two emotions share a face (a bare AU 5 is a
variant of both surprise and fear) only combinations that tell the emotion are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS, Emotion

ACTION_UNITS: Mapping[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
}
AU_NUMBERS: tuple[int, ...] = tuple(ACTION_UNITS)
AU_COLUMN: Mapping[int, int] = {number: column for column, number in enumerate(AU_NUMBERS)}
NUM_ACTION_UNITS = len(AU_NUMBERS)

# Per emotion: variants, all equally frequent, each {unit: weight at full intensity}.
PROTOTYPES: Mapping[Emotion, tuple[Mapping[int, float], ...]] = {
    Emotion.ANGER: (
        {4: 1.0, 5: 0.5, 7: 0.9, 23: 0.9, 24: 0.5},
        {4: 1.0, 5: 0.5, 7: 0.9, 17: 0.7, 24: 1.0},
        {4: 1.0, 5: 0.6, 7: 0.8, 10: 0.3, 16: 0.5, 23: 0.8, 25: 0.9},
    ),
    Emotion.DISGUST: (
        {9: 1.0, 10: 0.8, 17: 0.6, 4: 0.2, 6: 0.3},
        {9: 1.0, 10: 0.7, 15: 0.4, 16: 0.6, 25: 0.6, 6: 0.3},
        {9: 0.7, 10: 1.0, 16: 0.5, 25: 0.8, 26: 0.25, 7: 0.4},
    ),
    Emotion.FEAR: (
        {1: 1.0, 2: 0.6, 4: 0.7, 5: 1.0, 20: 1.0, 25: 0.7},
        {1: 1.0, 2: 0.6, 4: 0.7, 5: 1.0, 20: 0.9, 25: 0.9, 26: 0.45},
    ),
    Emotion.HAPPINESS: ({6: 0.8, 12: 0.9}, {6: 0.9, 12: 1.0, 25: 0.8}, {6: 1.0, 12: 1.0, 25: 1.0, 26: 0.45}),
    Emotion.SADNESS: ({1: 1.0, 4: 0.6, 15: 0.9}, {1: 1.0, 4: 0.6, 15: 0.9, 17: 0.7}, {1: 0.9, 4: 0.5, 6: 0.3, 15: 1.0, 17: 0.4}),
    Emotion.SURPRISE: (
        {1: 1.0, 2: 1.0, 5: 0.8, 25: 0.8, 26: 0.8},
        {1: 1.0, 2: 1.0, 5: 0.7, 25: 1.0, 26: 1.0},
        {1: 0.9, 2: 1.0, 5: 0.6, 25: 0.6, 26: 0.6},
    ),
    Emotion.NEUTRAL: ({},),
}
_MOST_VARIANTS = max(len(variants) for variants in PROTOTYPES.values())


def parse_action_units(text: str) -> dict[int, float]:
    """``"AU4=0.8,AU07=0.5"`` as {4: 0.8, 7: 0.5}.

    Raises:
        UserError: an unknown or repeated unit, or a strength outside 0 to 1.
    """
    found: dict[int, float] = {}
    for part in text.split(","):
        name, _, given = part.partition("=")
        number = name.strip().upper().removeprefix("AU")
        if not number.isdecimal() or int(number) not in ACTION_UNITS:
            known = ", ".join(f"AU{each}" for each in AU_NUMBERS)
            raise UserError(f"action units: unknown {name.strip()!r}; write AU4=0.8,AU7=0.5; known are {known}")
        if int(number) in found:
            raise UserError(f"action units: AU{int(number)} is named twice")
        try:
            found[int(number)] = float(given)
        except ValueError:
            raise UserError(f"action units: AU{int(number)}: {given!r} is no number; write AU4=0.8,AU7=0.5") from None
    return checked_action_units(found)


def checked_action_units(units: Mapping[int, float]) -> dict[int, float]:
    """The same as plain numbers. Raises UserError: an unknown unit, or a strength outside 0 (absent) to 1 (maximum)."""
    for number, strength in units.items():
        if number not in ACTION_UNITS:
            raise UserError(f"action units: unknown {number!r}; known are {', '.join(map(str, AU_NUMBERS))}")
        if not 0.0 <= strength <= 1.0:
            raise UserError(f"action units: AU{number} must lie between 0 (absent) and 1 (maximum), got {strength}")
    return {number: float(strength) for number, strength in units.items()}


def _prototype_table() -> NDArray[np.float32]:
    """(7, variants, n_AU) weights; an emotion with fewer variants than the most repeats its own in turn."""
    table = np.zeros((NUM_EMOTIONS, _MOST_VARIANTS, NUM_ACTION_UNITS), np.float32)
    for emotion, variants in PROTOTYPES.items():
        for row in range(_MOST_VARIANTS):
            for number, weight in variants[row % len(variants)].items():
                table[emotion, row, AU_COLUMN[number]] = weight
    return table


_TABLE = _prototype_table()
_VARIANTS = np.array([len(PROTOTYPES[emotion]) for emotion in Emotion])

# Columns of uniforms that `blend` uses: one variant per emotion, then a gain and a resting tone per unit.
NUM_UNIFORMS = NUM_EMOTIONS + 2 * NUM_ACTION_UNITS
GAIN_JITTER = 0.15
RESTING_TONE = 0.05


def blend(
    distributions: NDArray[np.float32], intensities: NDArray[np.float32], chance: NDArray[np.float32], jitter: float = 1.0
) -> NDArray[np.float32]:
    """Action units of N faces: (N, n_AU) float32 in [0, 1], columns in the order of ``AU_NUMBERS``.

    Prototypes mix in proportion to the distribution and scale with the intensity, so each unit rises monotonically
    with the intensity while ``chance`` stays the same.

    Args:
        distributions: (N, 7) over ``Emotion``.
        intensities: (N,) in [0, 1].
        chance: (N, NUM_UNIFORMS) in [0, 1): picks the variants and varies each unit.
        jitter: 0: the weights of the prototype exactly; 1: gains of 1 ± GAIN_JITTER and up to RESTING_TONE at rest.
    """
    variants = (chance[:, :NUM_EMOTIONS] * _VARIANTS).astype(np.int64)
    prototypes = _TABLE[np.arange(NUM_EMOTIONS), variants]
    mixed = (distributions[:, :, None] * prototypes).sum(axis=1)
    gain = 1 + jitter * GAIN_JITTER * (2 * chance[:, NUM_EMOTIONS : NUM_EMOTIONS + NUM_ACTION_UNITS] - 1)
    tone = jitter * RESTING_TONE * chance[:, NUM_EMOTIONS + NUM_ACTION_UNITS :]
    return np.clip(intensities[:, None] * mixed * gain + tone, 0.0, 1.0).astype(np.float32)
