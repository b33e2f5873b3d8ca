"""What a request leaves open, as the weights say, and what a prior is told of each face besides its emotion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from engine.counter_random import hash64
from generation.request import REALISM, REALISM_OF_A_PERSON, FaceRequest
from vqvae.attributes import ATTRIBUTE_NAMES, ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.config import TokenizerConfig
from vqvae.faces import SOURCES
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.tokenizer import Tokenizer

ANY, EVEN = "any", "even"
# What is asked of an attribute where nothing is said.
USUAL: dict[AttributeName, str] = {"hands": "no", "eyes": "open", "gender": EVEN, "age": EVEN, "group": EVEN}
# Babies are no part of an even draw: no face of them shows most of the seven emotions as an adult's does.
_EVEN: dict[AttributeName, tuple[str, ...]] = {**ATTRIBUTES, "age": ATTRIBUTES["age"][1:]}
# Faces of this side and more show a detector where their eyes are.
_LANDMARKS_FROM = 128
_ATTRIBUTE_DRAWS = 7001
# More than the tuned guidance, where a person is kept: what stays of a neutral face holds an expression back.
_HELD_BACK = 0.5
# At least so much where an emotion is to be avoided: guidance is what leads away from it.
_LEADS_AWAY = 2.0


def known_looks(prior: PriorShape, tokenizer: TokenizerConfig) -> tuple[str, ...]:
    """The looks that can be asked for, the default first."""
    looks = ("photo", "fer2013") if tokenizer.paints_photographs else ("fer2013", "faces128", "drawn")
    return tuple(look for look in looks if look in SOURCES[: prior.looks])


def settle(
    request: FaceRequest, prior: MaskedPrior, tokenizer: Tokenizer, *, critic: bool = False, probe: bool = False
) -> FaceRequest:
    """The request with nothing left open; one that is settled stays as it is.

    Attributes that the prior does not know, and realism where there is no critic, are None. A temperature that was asked for
    holds to the end.

    Args:
        critic, probe: whether the weights hold them.

    Raises:
        UserError: what these weights cannot do was asked for by name.
    """
    config = tokenizer.config
    looks = known_looks(prior.shape, config)
    look = request.look or looks[0]
    if look not in looks:
        raise UserError(f"look {look}: these weights know {', '.join(looks)}")
    settled: dict[str, object] = {"look": look}
    for name, tuned in prior.sampling.model_dump().items():
        settled[name] = tuned if getattr(request, name) is None else getattr(request, name)
    if prior.exit is None and request.autoguidance:
        raise UserError(
            f"autoguidance {request.autoguidance:g}: these weights have no early exit to lead away from; leave it out"
        )
    if settled["cooled"] is None or (request.cooled is None and request.temperature is not None):
        settled["cooled"] = settled["temperature"]
    if request.guidance is None:
        held_back = _HELD_BACK if request.identity else 0.0
        leads = _LEADS_AWAY if request.avoid is not None else 0.0
        settled["guidance"] = max(prior.sampling.guidance + held_back, leads)
    known = prior.shape.prior.attributes
    for attribute, usual in USUAL.items():
        asked = getattr(request, attribute)
        if attribute not in known and asked not in (None, ANY):
            raise UserError(f"{attribute} {asked}: these weights cannot be told; they know {', '.join(known) or 'no attribute'}")
        settled[attribute] = (asked or usual) if attribute in known else None
    if not critic and request.realism:
        raise UserError(f"realism {request.realism:g}: these weights have no critic that could say it; leave it out")
    usual_realism = REALISM_OF_A_PERSON if request.identity else REALISM
    settled["realism"] = (usual_realism if request.realism is None else request.realism) if critic else None
    if not probe and request.as_told == "on":
        raise UserError("as_told on: these weights hold no probe that could say it; leave it out")
    settled["as_told"] = request.as_told or ("on" if probe and {"hands", "eyes"} & set(known) else "off")
    if request.landmarks == "on" and not config.paints_photographs:
        raise UserError("landmarks on: is for weights that paint photographs, whose faces are aligned; leave it out")
    usual_landmarks = "on" if config.paints_photographs and config.painted >= _LANDMARKS_FROM else "off"
    settled["landmarks"] = request.landmarks or usual_landmarks
    return request.model_copy(update=settled)


def attributes_of(request: FaceRequest, seeds: Sequence[int], names: Sequence[AttributeName]) -> NDArray[np.int64]:
    """(N, A) classes of ``names``, ``NOT_TOLD`` where nothing is told.

    A face draws its own from its seed alone: whatever its emotion, and however often it is drawn, it is one person.
    """
    rows = np.full((len(seeds), len(names)), NOT_TOLD, np.int64)
    for column, name in enumerate(names):
        asked = getattr(request, name)
        if asked == EVEN:
            classes = np.array(even_classes(name))
            bits = hash64(np.asarray(seeds, np.int64), _ATTRIBUTE_DRAWS, ATTRIBUTE_NAMES.index(name))
            rows[:, column] = classes[(bits % np.uint64(len(classes))).astype(np.int64)]
        elif asked not in (None, ANY):
            rows[:, column] = ATTRIBUTES[name].index(asked)
    return rows


def even_classes(name: AttributeName) -> list[int]:
    """The classes of an attribute that faces draw where it is to be even."""
    return [ATTRIBUTES[name].index(word) for word in _EVEN[name]]


def in_words(row: Sequence[int], names: Sequence[AttributeName]) -> dict[str, str | None]:
    """Classes by name; None of what is not told."""
    return {name: None if code == NOT_TOLD else ATTRIBUTES[name][code] for name, code in zip(names, row, strict=True)}
