"""The seven emotions of FER-2013, and every spelling of them the project reads.

Inside the project a face's emotion is a *distribution* over :class:`Emotion`, in the order of that enum: annotators'
votes train it, ``fear:0.7,surprise:0.3`` asks for it, the encoder returns it. This file is the only place where labels
of data sets and names typed by people are mapped to that order.
"""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Mapping, Sequence
from enum import IntEnum
from numbers import Integral, Real
from typing import Any

from configs.cli import UserError


class Emotion(IntEnum):
    """The seven classes of FER-2013, numbered as in its ``emotion`` column (Goodfellow et al., 2013)."""

    ANGER = 0
    DISGUST = 1
    FEAR = 2
    HAPPINESS = 3
    SADNESS = 4
    SURPRISE = 5
    NEUTRAL = 6

    @property
    def label(self) -> str:
        """Lower-case English noun: the name used in files, tables and on the command line."""
        return self.name.lower()


NUM_EMOTIONS = len(Emotion)
EMOTION_NAMES: tuple[str, ...] = tuple(emotion.label for emotion in Emotion)

# FER+ adds contempt; the head trained on its votes predicts these eight (Barsoum et al., 2016).
CONTEMPT = NUM_EMOTIONS
FERPLUS_NAMES: tuple[str, ...] = (*EMOTION_NAMES, "contempt")

# Order of the ten vote columns in fer2013new.csv, as indices into FERPLUS_NAMES; -1: "unknown" and "NF" (not a face).
FERPLUS_VOTE_ORDER: tuple[int, ...] = (6, 3, 5, 4, 0, 1, 2, CONTEMPT, -1, -1)

_SPELLINGS: dict[Emotion, tuple[str, ...]] = {
    Emotion.ANGER: ("anger", "angry", "mad", "colere", "en colere", "fache", "fachee"),
    Emotion.DISGUST: ("disgust", "disgusted", "degout", "degoute", "degoutee"),
    Emotion.FEAR: ("fear", "fearful", "afraid", "scared", "peur", "apeure", "apeuree", "effraye", "effrayee"),
    Emotion.HAPPINESS: ("happiness", "happy", "joy", "joyful", "joie", "bonheur", "joyeux", "joyeuse", "heureux", "heureuse"),
    Emotion.SADNESS: ("sadness", "sad", "tristesse", "triste"),
    Emotion.SURPRISE: ("surprise", "surprised", "etonnement", "surpris", "etonne", "etonnee"),
    Emotion.NEUTRAL: ("neutral", "neutrality", "calm", "neutre", "neutralite", "calme"),
}
_BY_SPELLING: dict[str, Emotion] = {name: emotion for emotion, names in _SPELLINGS.items() for name in names}

# Compound expressions that people make and recognise consistently (Du, Tao & Martinez, PNAS 2014): twelve pairs, and three
# pairs with a word of their own and a weight on one side. Any adverb goes with any emotion, so these are only the list.
COMPOUNDS: tuple[str, ...] = (
    "happily surprised", "happily disgusted",
    "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted",
    "fearfully angry", "fearfully surprised", "fearfully disgusted",
    "angrily surprised", "angrily disgusted", "disgustedly surprised",
    "appalled", "hatred", "awed",
)  # fmt: skip
_ADVERBS: dict[str, Emotion] = {
    adverb: emotion
    for emotion, adverbs in {
        Emotion.ANGER: ("angrily", "colereusement", "rageusement"),
        Emotion.DISGUST: ("disgustedly",),
        Emotion.FEAR: ("fearfully", "craintivement", "peureusement"),
        Emotion.HAPPINESS: ("happily", "joyeusement", "heureusement"),
        Emotion.SADNESS: ("sadly", "tristement"),
        Emotion.SURPRISE: ("surprisedly",),
    }.items()
    for adverb in adverbs
}
_OF_THEIR_OWN: dict[str, dict[Emotion, float]] = {
    name: weights
    for names, weights in (
        (("appalled", "consterne", "consternee"), {Emotion.DISGUST: 2 / 3, Emotion.ANGER: 1 / 3}),
        (("hatred", "hateful", "haine", "haineux", "haineuse"), {Emotion.ANGER: 2 / 3, Emotion.DISGUST: 1 / 3}),
        (("awed", "awe", "emerveille", "emerveillee"), {Emotion.SURPRISE: 2 / 3, Emotion.FEAR: 1 / 3}),
    )
    for name in names
}


def _fold(name: str) -> str:
    """Lower case, no accents, single spaces: ``"  Colère"`` and ``"colere"`` are one name."""
    decomposed = unicodedata.normalize("NFKD", name)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.lower().replace("_", " ").replace("-", " ").split())


def parse_emotion(name: str) -> Emotion:
    """The emotion a person or a data set means by ``name`` (English or French, noun or adjective, any case).

    Raises UserError: the name is not known; the message gives the nearest known one.
    """
    folded = _fold(name)
    found = _BY_SPELLING.get(folded)
    if found is not None:
        return found
    raise _unknown(name, folded, (), "French names work too")


def parse_blend(name: str) -> Mapping[Emotion, float]:
    """The weights, summing to 1, of one emotion or of a compound (:data:`COMPOUNDS`) that ``name`` means.

    "Happily surprised", "happily-surprised" and "joyeusement surpris" are half happiness, half surprise. Raises
    UserError: the name is not known; the message gives the nearest known one.
    """
    folded = _fold(name)
    if folded in _OF_THEIR_OWN:
        return _OF_THEIR_OWN[folded]
    adverb, _, rest = folded.partition(" ")
    if adverb in _ADVERBS and rest in _BY_SPELLING:
        first, second = _ADVERBS[adverb], _BY_SPELLING[rest]
        return {first: 1.0} if first is second else {first: 0.5, second: 0.5}
    if folded in _BY_SPELLING:
        return {_BY_SPELLING[folded]: 1.0}
    pairs = [f"{word} {rest}" for word in _ADVERBS] if rest in _BY_SPELLING else []
    also = "compounds such as 'happily surprised' and French names work too"
    raise _unknown(name, folded, [*_OF_THEIR_OWN, *COMPOUNDS, *pairs], also)


def _unknown(name: str, folded: str, further: Sequence[str], also: str) -> UserError:
    near = difflib.get_close_matches(folded, [*_BY_SPELLING, *further], n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown emotion {name!r}: {hint}known are {', '.join(EMOTION_NAMES)} ({also})")


def one_hot(emotion: Emotion) -> tuple[float, ...]:
    """The distribution that is certain of ``emotion``."""
    return tuple(1.0 if other is emotion else 0.0 for other in Emotion)


def parse_distribution(text: str) -> tuple[float, ...]:
    """``"fear"``, ``"fear:0.7,surprise:0.3"`` or ``"happily surprised"`` as a distribution over the seven, in enum order.

    Weights are relative (``fear:2,surprise:1`` is two thirds fear); a name without a weight counts 1. Raises UserError:
    unknown name, an emotion given twice, a weight that is no positive finite number.
    """
    weights: dict[Emotion, float] = {}
    for part in text.split(","):
        name, colon, number = part.partition(":")
        blend = parse_blend(name)
        twice = next((emotion for emotion in blend if emotion in weights), None)
        if twice is not None:
            raise UserError(f"emotion {twice.label!r} is named twice in {text!r}")
        label = name.strip()
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            raise UserError(f"weight {number!r} of {label!r} is not a number: write e.g. fear:0.7,surprise:0.3") from None
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"weight of {label!r} must be a positive number, got {number}")
        weights |= {emotion: weight * share for emotion, share in blend.items()}
    total = sum(weights.values())
    return tuple(weights.get(emotion, 0.0) / total for emotion in Emotion)


def as_emotion(asked: Any) -> Emotion:
    """The emotion that a name, an :class:`Emotion`, or its number in FER-2013 (an int of Python, NumPy or torch) means.

    Raises UserError: it is none of these.
    """
    if isinstance(asked, str):
        return parse_emotion(asked)
    number = asked.item() if getattr(asked, "ndim", None) == 0 else asked
    if isinstance(number, Integral) and not isinstance(number, bool) and int(number) in range(NUM_EMOTIONS):
        return Emotion(int(number))
    raise UserError(f"{_shown(asked)} is no emotion: give one of {', '.join(EMOTION_NAMES)}, an Emotion, or its number 0 to 6")


def as_distribution(asked: Any, what: str = "emotion") -> tuple[float, ...]:
    """Whatever asks for an emotion, as a distribution over the seven, in enum order.

    Args:
        asked: text as for :func:`parse_distribution`; an emotion as for :func:`as_emotion`; a mapping of emotions to weights,
            which are relative (``{"fear": 2, Emotion.SURPRISE: 1}``); or seven probabilities (list, array, tensor), not checked.
        what: that it is called in errors.

    Raises UserError: something else.
    """
    if isinstance(asked, str):
        return parse_distribution(asked)
    if isinstance(asked, Mapping):
        weights = dict.fromkeys(Emotion, 0.0)
        for name, weight in asked.items():
            if not (_is_number(weight) and math.isfinite(weight) and float(weight) >= 0):
                raise UserError(f"{what}: the weight of {name!r} must be a number of 0 or more, got {_shown(weight)}")
            weights[as_emotion(name)] += float(weight)
        total = sum(weights.values())
        if not total:
            raise UserError(f"{what}: the mapping gives no emotion a weight above 0")
        return tuple(weight / total for weight in weights.values())
    plain = asked.tolist() if hasattr(asked, "tolist") else asked
    if isinstance(plain, Integral) and not isinstance(plain, bool):
        return one_hot(as_emotion(plain))
    if isinstance(plain, Sequence) and len(plain) == NUM_EMOTIONS and all(map(_is_number, plain)):
        return tuple(float(p) for p in plain)
    raise UserError(
        f"{what}: cannot read {_shown(asked)}; give a name, an Emotion, a mapping such as {{'fear': 0.7, 'surprise': 0.3}}, "
        "or seven probabilities"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | Emotion)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def at_intensity(distribution: Sequence[float], intensity: float) -> tuple[float, ...]:
    """Mix a distribution with neutral: 0 is neutral, 1 the distribution itself.

    Raises UserError: ``intensity`` outside [0, 1].
    """
    if not (_is_number(intensity) and 0.0 <= intensity <= 1.0):
        raise UserError(f"intensity must lie between 0 (neutral) and 1 (full), got {intensity}")
    neutral = one_hot(Emotion.NEUTRAL)
    return tuple(intensity * p + (1.0 - intensity) * q for p, q in zip(distribution, neutral, strict=True))


def describe(distribution: Sequence[float], minimum: float = 0.005) -> str:
    """``"fear 0.70, surprise 0.30"``: the entries of at least ``minimum``, largest first."""
    ranked = sorted(zip(distribution, EMOTION_NAMES, strict=True), key=lambda pair: -pair[0])
    return ", ".join(f"{name} {p:.2f}" for p, name in ranked if p >= minimum)


def as_mapping(distribution: Sequence[float]) -> Mapping[str, float]:
    """The distribution keyed by emotion name, in enum order (for JSON)."""
    return dict(zip(EMOTION_NAMES, (float(p) for p in distribution), strict=True))
