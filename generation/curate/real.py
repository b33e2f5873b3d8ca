"""Keep those real faces that all who may refuse a drawn one accept, as the decoder paints them.

A prior that learns from its own draws alone loses their variety. These bring it back, and are whole faces all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoder.emotions import Emotion
from encoder.people.gender import GENDERS, GenderModel
from generation.curate.choose import Chosen, white_share
from generation.dataset.selection import THUMBNAIL, differences, thumbnails
from generation.draw import FaceModel
from generation.request import make_request
from vqvae.attributes import ATTRIBUTES, NOT_TOLD
from vqvae.faces import SOURCES
from vqvae.tokens.store import TokenStore

# Real faces this near in grey levels are one photograph twice: data sets hold the same face in several crops.
_COPY = 12.0
# So sure must the classifier of gender be before a real face is said to be a woman's or a man's.
_SURE = 0.8


def choose_real(
    model: FaceModel,
    emotion: Emotion,
    store: TokenStore,
    chosen: Chosen,
    *,
    count: int,
    seed: int,
    batch_size: int = 64,
    gender: GenderModel | None = None,
    burnt: float = 1.0,
    told: Callable[[int], object] = lambda kept: None,
    **settings: Any,
) -> None:
    """Add real faces of ``emotion`` to ``chosen`` until there are ``count``, or all were looked at, in an order by ``seed``.

    They are painted from their tokens as photographs and asked what a drawn face is asked. Those kept are told as photographs.
    Of near copies the first is kept: a face that is seen often would be learned by heart.

    Args:
        store: real faces; their most likely emotion is theirs.
        gender: reads the faces of which no gender is told, and tells it where it is sure (at least 0.8); None: nobody does.
        burnt, told: as for :func:`generation.curate.choose.choose_faces`.
        settings: of :func:`generation.request.make_request`, such as ``realism``.

    Raises:
        UserError: something is asked for that these weights cannot do.
    """
    request = model.settled(make_request(emotion.label, count=1, **settings))
    look = SOURCES.index(str(request.look))
    its = np.flatnonzero(store.labels.any(axis=1) & (store.labels.argmax(axis=1) == emotion))
    its = np.random.default_rng(seed).permutation(its)
    small = np.empty((0, THUMBNAIL**2), np.float32)
    for start in range(0, len(its), batch_size):
        if chosen.count(emotion) >= count:
            break
        batch = its[start : start + batch_size]
        tokens = torch.from_numpy(np.asarray(store.tokens[0, batch], np.int64)).to(model.device)
        faces = model.judged(request, tokens, [list(request.emotion)] * len(batch), list(range(len(batch))))
        good = list[int]()
        for number, face in enumerate(faces):
            room = len(good) < count - chosen.count(emotion)
            if room and face.refused is None and white_share(face.image) <= burnt:
                its_small = thumbnails([face.image])
                if not (differences(its_small, small) < _COPY).any():
                    small = np.concatenate([small, its_small])
                    good.append(number)
        rows = np.array(store.attributes[batch])
        if gender is not None and good and "gender" in model.attributes:
            read = gender.predict(np.stack([faces[number].image for number in good]))
            for number, likely in zip(good, read, strict=True):
                _tell_gender(rows[number], likely, model.attributes.index("gender"))
        for number in good:
            chosen.tokens.append(np.asarray(store.tokens[:, batch[number]]))
            chosen.labels.append(np.asarray(store.labels[batch[number]]))
            chosen.attributes.append(rows[number])
        chosen.emotions += [emotion] * len(good)
        chosen.looks += [look] * len(good)
        chosen.drawn[emotion] = start + len(batch)
        told(len(good))


def _tell_gender(row: NDArray, likely: NDArray, column: int) -> None:
    """Write what is read into ``row`` (A,) if nothing is told there, and the reading (2,) is sure."""
    if row[column] == NOT_TOLD and likely.max() >= _SURE:
        row[column] = ATTRIBUTES["gender"].index(GENDERS[int(likely.argmax())])
