"""Figures of rated faces: what people saw, how it compares with chance, and whether they agree, each with its interval."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.emotions import EMOTION_NAMES
from eval.faces.ratings import Ratings
from eval.measures.agreement import (
    chance_hit_rates,
    fleiss_kappa,
    fleiss_kappa_of,
    hit_rates,
    two_way_bootstrap,
    unbiased_hit_rates,
)
from generation.kit.rating_sheet import ANSWERS

_EMOTIONS, _ANSWERS = len(EMOTION_NAMES), len(ANSWERS)


def confusion(ratings: Ratings, faces: NDArray[np.int64], raters: NDArray[np.int64]) -> NDArray[np.int64]:
    """(7, 8) answers by emotion asked for, of these rows of faces and of raters, which may come more than once."""
    answer = ratings.answer[np.ix_(raters, faces)]
    asked = np.broadcast_to(ratings.asked[faces], answer.shape)
    given = answer >= 0
    return np.bincount(asked[given] * _ANSWERS + answer[given], minlength=_EMOTIONS * _ANSWERS).reshape(_EMOTIONS, _ANSWERS)


def answers_by_face(ratings: Ratings) -> NDArray[np.int64]:
    """(F, 8) how often each face was called what."""
    return np.stack([(ratings.answer == answer).sum(axis=0) for answer in range(_ANSWERS)], axis=1)


def rated_figures(ratings: Ratings, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """All figures, by emotion, by emotion and intensity, and of all.

    Intervals of hit rates and means are over other faces and other raters, those of kappa over other faces: a rater who is
    drawn twice would agree with themselves.
    """
    raters, faces = np.arange(len(ratings.raters)), np.arange(len(ratings.codes))
    counts, by_face = confusion(ratings, faces, raters), answers_by_face(ratings)

    def seen(rows: NDArray[np.int64], people: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = confusion(ratings, rows, people)
        return np.concatenate([hit_rates(drawn), unbiased_hit_rates(drawn)])

    def agreed(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        each = by_face[rows]
        return np.array([fleiss_kappa(each), *(fleiss_kappa_of(each, answer) for answer in range(_EMOTIONS))])

    how = {"resamples": resamples, "seed": seed}
    low, high = two_way_bootstrap(seen, len(faces), len(raters), **how)
    kappas = agreed(faces)
    kappa_low, kappa_high = two_way_bootstrap(lambda rows, _: agreed(rows), len(faces), 1, **how)
    hits, unbiased, chance = hit_rates(counts), unbiased_hit_rates(counts), chance_hit_rates(counts)
    emotions = {}
    for place, name in enumerate(EMOTION_NAMES):
        if not counts[place].any():
            continue
        rows = np.flatnonzero(ratings.asked == place)
        emotions[name] = {
            "faces": len(rows),
            "ratings": int(counts[place].sum()),
            "hit_rate": _figure(hits[place], low[place], high[place]),
            "unbiased_hit_rate": _figure(unbiased[place], low[_EMOTIONS + place], high[_EMOTIONS + place]),
            "chance": _round(chance[place]),
            "kappa": _figure(kappas[1 + place], kappa_low[1 + place], kappa_high[1 + place]),
            "answers": dict(zip(ANSWERS, counts[place].tolist(), strict=True)),
        }
    return {
        "raters": len(raters),
        "faces": len(faces),
        "ratings": int(counts.sum()),
        "kappa": _figure(kappas[0], kappa_low[0], kappa_high[0]),
        "emotions": emotions,
        "levels": _levels(ratings, how),
    }


def _levels(ratings: Ratings, how: dict[str, int]) -> list[dict[str, Any]]:
    found = []
    for asked, level in sorted(set(zip(ratings.asked.tolist(), ratings.level.tolist(), strict=True))):
        rows = np.flatnonzero((ratings.asked == asked) & (ratings.level == level))
        given = ratings.answer[:, rows] >= 0
        hit = np.where(given, ratings.answer[:, rows] == asked, np.nan)
        names = ("hit_rate", "intensity", "believability")
        tables = np.stack([hit, ratings.intensity[:, rows], ratings.believability[:, rows]])
        low, high = two_way_bootstrap(partial(_means, tables), len(rows), len(ratings.raters), **how)
        figures = {
            name: _figure(_mean(table), low[k], high[k]) for k, (name, table) in enumerate(zip(names, tables, strict=True))
        }
        about = {"emotion": EMOTION_NAMES[asked], "asked": level, "faces": len(rows), "ratings": int(given.sum())}
        found.append({**about, **figures})
    return found


def _means(tables: NDArray[np.float64], faces: NDArray[np.int64], raters: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) means of (K, R, F) tables over these rows of faces and of raters."""
    return np.array([_mean(table[np.ix_(raters, faces)]) for table in tables])


def _mean(table: NDArray[np.float64]) -> float:
    known = table[np.isfinite(table)]
    return float(known.mean()) if len(known) else float("nan")


def _figure(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": _round(value), "interval": [_round(low), _round(high)]}


def _round(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
