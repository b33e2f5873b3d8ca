"""What an encoder reads in faces of different groups of people: mean distributions, and the largest gap between two groups.

Without labels of emotions a gap is a difference in readings, not an error: groups were photographed in different situations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.readings import BOOTSTRAP, rounded

Figures = NDArray[np.float64]


def assess_groups(distributions: NDArray[np.floating[Any]], groups: Mapping[str, NDArray[np.str_]], data: str) -> dict[str, Any]:
    """Mean distribution of each group, with 95 % intervals, and the largest gap between two groups.

    Args:
        distributions: (N, 7) what was read.
        groups: per attribute (``race`` and so on) the (N,) group of each face; ``""`` where it is not known: left out.

    Returns:
        ``attributes``: per attribute and group ``count``, ``mean`` and ``intervals`` by emotion. ``gaps``: per attribute the
        emotion and the two groups whose means differ most, the ``gap``, its interval (bootstrap over the faces of each group),
        and ``by_chance``: what 95 of 100 largest gaps stay below when faces are dealt to groups of these sizes at random.
        ``largest``: the attribute with the largest of these gaps.

    Raises:
        UserError: no attribute has two groups.
    """
    attributes: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for attribute, of_face in groups.items():
        known = of_face != ""
        # Ranges of age by where they start, as do "0-2" and "more than 70"; other groups by name.
        names = sorted(set(of_face[known].tolist()), key=lambda name: (int((re.findall(r"\d+", name) or ["0"])[0]), name))
        index = np.array([names.index(name) for name in of_face[known].tolist()], np.intp)
        if len(names) < 2:
            continue
        read = distributions[known].astype(np.float64)
        resampled = _resampled_means(read, index, len(names))
        means = _means(read, index, len(names))
        low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
        attributes[attribute] = {
            name: {
                "count": int((index == number).sum()),
                "mean": _by_emotion(means[number]),
                "intervals": {
                    emotion: [rounded(a), rounded(b)]
                    for emotion, a, b in zip(EMOTION_NAMES, low[number], high[number], strict=True)
                },
            }
            for number, name in enumerate(names)
        }
        gaps[attribute] = _largest_gap(means, resampled, names)
        gaps[attribute]["by_chance"] = rounded(_gap_by_chance(read, index, len(names)))
    if not gaps:
        raise UserError(f"{data}: no column of {', '.join(groups)} names two groups of people")
    largest = max(gaps, key=lambda attribute: float(gaps[attribute]["gap"]))
    return {
        "data": data,
        "faces": len(distributions),
        "bootstrap": dict(BOOTSTRAP),
        "attributes": attributes,
        "gaps": gaps,
        "largest": largest,
    }


def _means(read: Figures, index: NDArray[np.intp], count: int) -> Figures:
    """(G, 7) mean of each group."""
    sums = np.stack([np.bincount(index, column, minlength=count) for column in read.T], axis=1)
    return sums / np.bincount(index, minlength=count)[:, None]


def _resampled_means(read: Figures, index: NDArray[np.intp], count: int) -> Figures:
    """(R, G, 7) the means of resamples, each group drawn from its own faces."""
    rng = np.random.default_rng(BOOTSTRAP["seed"])
    drawn = np.empty((BOOTSTRAP["resamples"], count, read.shape[1]))
    for number in range(count):
        faces = read[index == number]
        for means in drawn:
            means[number] = faces[rng.integers(0, len(faces), len(faces))].mean(axis=0)
    return drawn


def _largest_gap(means: Figures, resampled: Figures, names: list[str]) -> dict[str, Any]:
    emotion = int(np.ptp(means, axis=0).argmax())
    most, least = int(means[:, emotion].argmax()), int(means[:, emotion].argmin())
    low, high = np.percentile(resampled[:, most, emotion] - resampled[:, least, emotion], (2.5, 97.5))
    return {
        "emotion": EMOTION_NAMES[emotion],
        "most": names[most],
        "least": names[least],
        "gap": rounded(means[most, emotion] - means[least, emotion]),
        "interval": [rounded(low), rounded(high)],
    }


def _gap_by_chance(read: Figures, index: NDArray[np.intp], count: int) -> float:
    rng = np.random.default_rng(BOOTSTRAP["seed"])
    largest = [np.ptp(_means(read, rng.permutation(index), count), axis=0).max() for _ in range(BOOTSTRAP["resamples"])]
    return float(np.percentile(largest, 95))


def _by_emotion(mean: Figures) -> dict[str, float | None]:
    return {emotion: rounded(value) for emotion, value in zip(EMOTION_NAMES, mean, strict=True)}


def gap_sentence(attribute: str, gap: Mapping[str, Any]) -> str:
    """The largest gap of one attribute in words."""
    low, high = gap["interval"]
    return (
        f"{attribute}: {gap['emotion']} is read most in {gap['most']!r} and least in {gap['least']!r}, {gap['gap']:.3f} apart "
        f"(95 % {low:.3f} to {high:.3f}; groups at random stay below {gap['by_chance']:.3f})"
    )


def groups_lines(found: Mapping[str, Any]) -> list[str]:
    """The figures as lines for a terminal."""
    lines = [f"mean distribution by group, {found['data']}: {found['faces']} faces (no labels: a difference, not an error)"]
    for attribute, groups in found["attributes"].items():
        lines.append(f"  {attribute:<18} {'n':>5} " + " ".join(f"{emotion:>9}" for emotion in EMOTION_NAMES))
        for name, row in groups.items():
            lines.append(f"  {name:<18} {row['count']:>5} " + " ".join(f"{row['mean'][each]:>9.3f}" for each in EMOTION_NAMES))
    lines += [f"  largest gap by {gap_sentence(attribute, gap)}" for attribute, gap in found["gaps"].items()]
    return lines
