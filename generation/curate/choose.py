"""Draw faces, and keep those that all who may refuse one accept, with their tokens and what the prior was told.

What is kept is what a prior will draw more of. So it keeps as many women as men, and of adults only those that a classifier
takes for what the prior was told: it then learns to be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from encoder.emotions import Emotion, one_hot
from encoder.people.gender import GENDERS, GenderModel
from generation.curate.sitters import Sitters
from generation.draw import FaceModel
from generation.request import make_request
from generation.settle import attributes_of
from vqvae.attributes import ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.faces import SOURCES
from vqvae.tokens.store import TokenStore

# Grey levels from which a pixel counts as burnt out.
_WHITE = 235
# The classifier of gender is not for children.
_CHILDREN = {ATTRIBUTES["age"].index(age) for age in ("0-2", "3-9", "10-19")}


@dataclass
class Chosen:
    """What was kept so far.

    Attributes:
        tokens: (2, L, G) of each face and of its mirror image. emotions, looks: of each. labels: (7,) distributions over
            emotions. attributes: (A,) classes that the prior is told.
        drawn: by emotion, how many faces were drawn, or looked at, for them.
    """

    tokens: list[NDArray] = field(default_factory=list)
    emotions: list[Emotion] = field(default_factory=list)
    labels: list[NDArray] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    attributes: list[NDArray] = field(default_factory=list)
    drawn: dict[Emotion, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.emotions)

    def count(self, emotion: Emotion) -> int:
        """How many are of this emotion."""
        return self.emotions.count(emotion)

    def store(self) -> TokenStore:
        """For :func:`vqvae.tokens.packed.pack`."""
        return TokenStore(
            tokens=np.stack(self.tokens, axis=1),
            labels=np.stack(self.labels).astype(np.float32),
            sources=np.array(self.looks, np.int8),
            attributes=np.stack(self.attributes).astype(np.int8),
        )


def choose_faces(
    model: FaceModel,
    emotion: Emotion,
    chosen: Chosen,
    *,
    count: int,
    most: int,
    seed: int,
    batch_size: int = 64,
    gender: GenderModel | None = None,
    burnt: float = 1.0,
    sitters: Sitters | None = None,
    told: Callable[[int], object] = lambda kept: None,
    **settings: Any,
) -> None:
    """Add faces of ``emotion`` to ``chosen`` until there are ``count``, or ``most`` were drawn. First draws only: a face that
    is drawn until it passes would teach what was drawn last.

    Args:
        seed: of the first face; the next has the next. gender: reads the faces of adults; None: nobody does.
        burnt: the share of a picture that may be nearly white.
        sitters: photographs in which only the expression is drawn, each once at most; None: all of a face is drawn.
        told: called with how many a batch added.
        settings: of :func:`generation.request.make_request`, such as ``realism``.

    Raises:
        UserError: something is asked for that these weights cannot do.
    """
    request = model.settled(make_request(emotion.label, count=1, **settings))
    asked, first = list(request.emotion), seed
    room = _Room(count, model.attributes)
    if sitters is not None:
        most = min(most, len(sitters))
    while chosen.count(emotion) < count and first - seed < most:
        seeds = range(first, first + min(batch_size, most - (first - seed)))
        if sitters is None:
            rows, known, hidden = attributes_of(request, seeds, model.attributes), None, None
        else:
            rows, known, hidden = sitters.batch(first - seed, len(seeds), emotion)
        tokens = model.draw_tokens(request, [asked] * len(seeds), seeds, known=known, hidden=hidden, told=rows)
        faces = model.judged(request, tokens, [asked] * len(seeds), seeds, told=rows)
        good = [number for number, face in enumerate(faces) if face.refused is None and white_share(face.image) <= burnt]
        if gender is not None and good:
            read = gender.predict(np.stack([faces[number].image for number in good])).argmax(axis=1).tolist()
            good = [
                each for each, found in zip(good, read, strict=True) if _as_told(rows[each], GENDERS[found], model.attributes)
            ]
        kept = [number for number in good if room.takes(rows[number])]
        for number in kept:
            grid = tokens[number].cpu().numpy()
            # It stands in the place of its mirror image, too: a drawn face has none.
            chosen.tokens.append(np.stack([grid, grid]))
            chosen.labels.append(np.asarray(one_hot(emotion)))
            chosen.attributes.append(rows[number])
        chosen.emotions += [emotion] * len(kept)
        chosen.looks += [SOURCES.index(str(request.look))] * len(kept)
        first += len(seeds)
        chosen.drawn[emotion] = first - seed
        told(len(kept))


def white_share(image: NDArray[np.uint8]) -> float:
    """Share of pixels of a face, (H, W) or (H, W, 3), that are nearly white: of a picture that has too much light."""
    return float((np.asarray(Image.fromarray(image).convert("L")) > _WHITE).mean())


class _Room:
    """How many may still be kept, half of them of each gender where the prior is told one. A quarter may be children, as in an
    even draw of ages: nobody reads their gender, and a half of boys would say nothing of men."""

    def __init__(self, count: int, names: Sequence[AttributeName]) -> None:
        self._column = names.index("gender") if "gender" in names else None
        self._age, self._children = names.index("age") if "age" in names else None, -(-count // 4)
        self._left = {False: count - count // 2, True: count // 2}
        self._all = count

    def takes(self, row: NDArray) -> bool:
        """Whether there is room for a face that was told this; then there is one place less."""
        if self._column is None or row[self._column] == NOT_TOLD:
            self._all -= 1
            return self._all >= 0
        male = ATTRIBUTES["gender"][row[self._column]] == "male"
        child = self._age is not None and row[self._age] in _CHILDREN
        if not self._left[male] or (child and not self._children):
            return False
        self._left[male] -= 1
        self._children -= child
        return True


def _as_told(row: NDArray, found: str, names: Sequence[AttributeName]) -> bool:
    """Whether an adult is read as what was told; of children, and where nothing was told, nothing is asked."""
    told = dict(zip(names, row.tolist(), strict=True))
    if told.get("gender", NOT_TOLD) == NOT_TOLD or told.get("age", NOT_TOLD) in _CHILDREN:
        return True
    return ATTRIBUTES["gender"][told["gender"]] == found
