"""Who a drawn face is, and how it is seen: traits that belong to a person, and the view that changes per picture.

Lengths are in head units: the frame spans -1..1 in both directions, y points down, the face is centred near 0.
Grey levels lie in 0 (black) .. 1 (white).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from engine.counter_random import uniforms

Column = NDArray[np.float32]  # (N,)

_TRAIT_STREAM = 1
_VIEW_STREAM = 2


class Span(NamedTuple):
    """The range that a column is drawn from, evenly; ``plain``: its value in a view without variation."""

    low: float
    high: float
    plain: float = 0.0


def _spans(kind: type[Traits] | type[View]) -> dict[str, Span]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}


@dataclass(frozen=True)
class Traits:
    """One (N,) float32 column per trait of N people; hair, beard and glasses depend on each other and are derived below."""

    head_width: Annotated[Column, Span(0.70, 0.82)]
    forehead: Annotated[Column, Span(0.84, 0.98)]
    chin: Annotated[Column, Span(0.94, 1.08)]
    jaw: Annotated[Column, Span(0.0, 0.55)]
    taper: Annotated[Column, Span(0.06, 0.26)]
    ear: Annotated[Column, Span(0.85, 1.2)]
    skin: Annotated[Column, Span(0.48, 0.86)]
    age: Annotated[Column, Span(0.0, 1.0)]
    eye_spacing: Annotated[Column, Span(0.335, 0.385)]
    eye_height: Annotated[Column, Span(-0.22, -0.14)]
    eye_width: Annotated[Column, Span(0.165, 0.205)]
    eye_opening: Annotated[Column, Span(0.125, 0.165)]
    eye_tilt: Annotated[Column, Span(-0.10, 0.06)]
    iris: Annotated[Column, Span(0.10, 0.42)]
    brow_height: Annotated[Column, Span(-0.205, -0.175)]
    brow_thickness: Annotated[Column, Span(0.028, 0.05)]
    brow_arch: Annotated[Column, Span(0.01, 0.045)]
    brow_length: Annotated[Column, Span(0.40, 0.47)]
    brow_level: Column
    nose_base: Annotated[Column, Span(0.17, 0.24)]
    nose_width: Annotated[Column, Span(0.105, 0.15)]
    mouth_height: Annotated[Column, Span(0.47, 0.53)]
    mouth_width: Annotated[Column, Span(0.23, 0.29)]
    lips: Annotated[Column, Span(0.75, 1.25)]
    hair_level: Column
    hairline: Column
    temple: Column
    parting: Column
    parting_depth: Column
    hair_volume: Column
    hair_length: Column
    curl: Column
    glasses: Column
    glasses_size: Column
    glasses_level: Column
    beard: Column
    moustache: Column


@dataclass(frozen=True)
class View:
    """One (N,) float32 column per property of N pictures: pose, light, camera."""

    roll: Annotated[Column, Span(-0.13, 0.13)]
    yaw: Annotated[Column, Span(-0.17, 0.17)]
    pitch: Annotated[Column, Span(-0.06, 0.06)]
    shift_x: Annotated[Column, Span(-0.05, 0.05)]
    shift_y: Annotated[Column, Span(-0.04, 0.04)]
    scale: Annotated[Column, Span(0.94, 1.08, plain=1.0)]
    gaze: Annotated[Column, Span(-0.03, 0.03)]
    light_x: Annotated[Column, Span(-0.32, 0.32)]
    light_y: Annotated[Column, Span(-0.22, 0.10, plain=-0.06)]
    contrast: Annotated[Column, Span(0.78, 1.15, plain=1.0)]
    brightness: Annotated[Column, Span(-0.08, 0.08)]
    background: Annotated[Column, Span(0.15, 0.85, plain=0.55)]
    background_slope: Annotated[Column, Span(-0.15, 0.15)]
    blur: Annotated[Column, Span(0.0, 0.16)]
    noise: Annotated[Column, Span(0.0, 0.03)]
    noise_row: Annotated[Column, Span(0.0, 1.0)]
    noise_column: Annotated[Column, Span(0.0, 1.0)]


_BALD, _FRINGED, _LONG, _BEARDED, _MOUSTACHED, _GLASSES = 0.08, 0.30, 0.40, 0.22, 0.15, 0.20


def sample_traits(identities: NDArray[np.int64]) -> Traits:
    """The traits of each person: a pure function of the (N,) identity numbers."""
    spans = _spans(Traits)
    chance = uniforms(identities, _TRAIT_STREAM, count=len(spans) + 16)
    columns = {name: span.low + (span.high - span.low) * chance[:, k] for k, (name, span) in enumerate(spans.items())}
    (bald, fringed, long, volume, length, tone, line, temple, part, depth, curl, beard, moustache, glasses, size, frame) = chance[
        :, len(spans) :
    ].T
    skin = columns["skin"]
    # Grey and fair hair occur on light skin only, and brows stay darker than the skin: they carry half the expression.
    hair = np.where(tone < 0.65, 0.05 + 0.25 * tone, 0.22 + 0.9 * (tone - 0.65)) * (0.3 + 0.9 * (skin - 0.3))
    columns["hair_level"] = hair
    columns["brow_level"] = np.minimum(0.8 * hair + 0.02, 0.42 * skin)
    is_bald = bald < _BALD
    is_long = (long < _LONG) & ~is_bald
    has_fringe = (fringed < _FRINGED) & ~is_bald
    columns["hairline"] = np.where(is_bald, -2.5, np.where(has_fringe, -0.60 + 0.04 * line, -0.80 + 0.14 * line))
    columns["temple"] = np.where(has_fringe, 0.15 + 0.4 * temple, 0.5 + 0.5 * temple)
    columns["parting"] = 0.9 * part - 0.45
    columns["parting_depth"] = np.where(has_fringe, 0.10, 0.22) * np.maximum(0.0, 1.6 * depth - 0.6)
    columns["hair_volume"] = np.where(is_bald, 0.0, 0.05 + 0.13 * volume)
    columns["hair_length"] = np.where(is_long, 0.3 + 1.0 * length, -0.35 + 0.2 * length)
    columns["curl"] = np.where(curl < 0.35, 0.03 + 0.04 * curl, 0.0)
    # A beard or a moustache under long hair is rare enough to leave out.
    has_beard = (beard < _BEARDED) & ~is_long
    columns["beard"] = np.where(has_beard, 0.35 + 2.4 * beard, 0.0)
    columns["moustache"] = np.where((moustache < _MOUSTACHED) & ~is_long, 0.75, 0.7 * columns["beard"])
    columns["glasses"] = np.where(glasses < _GLASSES, 1.0, 0.0)
    columns["glasses_size"] = 0.9 + 0.2 * size
    columns["glasses_level"] = 0.05 + 0.35 * frame
    return Traits(**{name: column.astype(np.float32) for name, column in columns.items()})


def sample_views(seed: int, indices: NDArray[np.int64], variation: float) -> View:
    """How each picture is taken: a pure function of (seed, index); ``variation`` 0 is frontal, evenly lit and sharp."""
    spans = _spans(View)
    chance = uniforms(seed, indices, _VIEW_STREAM, count=len(spans))
    columns = {}
    for k, (name, (low, high, plain)) in enumerate(spans.items()):
        value = low + (high - low) * chance[:, k]
        columns[name] = (plain + variation * (value - plain)).astype(np.float32)
    return View(**columns)
