"""What the encoder says of faces, by name: one reading, and the readings of many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from torch import Tensor

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion, as_emotion, as_mapping, describe


class UnknownEmotion(UserError, KeyError):
    """No emotion goes by this name. A KeyError, too, so that ``in`` and ``get`` work as on any mapping."""

    __str__ = Exception.__str__


def _place(name: Any) -> Emotion:
    try:
        return as_emotion(name)
    except UserError as error:
        raise UnknownEmotion(*error.args) from None


class ByEmotion(Mapping[str, float]):
    """Seven probabilities as a mapping: ``reading["fear"]``, ``reading["peur"]``, ``reading[Emotion.FEAR]``, ``dict(reading)``.

    Attributes:
        distribution: the same as a tuple, in :class:`encoder.emotions.Emotion` order, that of ``labels``.
    """

    distribution: tuple[float, ...]
    labels: ClassVar[tuple[str, ...]] = EMOTION_NAMES

    def __getitem__(self, emotion: str | Emotion) -> float:
        return self.distribution[_place(emotion)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FaceReading(ByEmotion):
    """What the encoder says of one face."""

    distribution: tuple[float, ...]

    @property
    def top(self) -> Emotion:
        """The likeliest emotion."""
        return max(Emotion, key=lambda emotion: self.distribution[emotion])

    def to_dict(self) -> dict[str, Any]:
        """``top`` by name, then the seven probabilities by name."""
        return {"top": self.top.label, **as_mapping(self.distribution)}

    def __repr__(self) -> str:
        return f"FaceReading({describe(self.distribution)})"


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What the encoder says of N faces, on the CPU: ``prediction[0]["fear"]``, or ``prediction["fear"]`` for all of them.

    Attributes:
        distributions: (N, 7) probabilities in :class:`encoder.emotions.Emotion` order: the product's answer.
        heads: per label scheme, (N, classes) calibrated probabilities (``ferplus`` has contempt as its eighth).
        embeddings: (N, D) pooled features.
    """

    distributions: Tensor
    heads: Mapping[str, Tensor]
    embeddings: Tensor
    labels: ClassVar[tuple[str, ...]] = EMOTION_NAMES

    def __len__(self) -> int:
        return len(self.distributions)

    # An Emotion is an int, too.
    @overload
    def __getitem__(self, key: str | Emotion) -> Tensor: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, key: int) -> FaceReading: ...
    @overload
    def __getitem__(self, key: slice) -> Prediction: ...

    def __getitem__(self, key: str | Emotion | int | slice) -> Tensor | FaceReading | Prediction:
        """Of an emotion the (N,) probabilities, of a number the reading of that face, of a slice those of several.

        Raises UserError: an unknown emotion. IndexError: there is no such face.
        """
        if isinstance(key, str | Emotion):
            return self.distributions[:, _place(key)]
        if isinstance(key, slice):
            heads = {name: rows[key] for name, rows in self.heads.items()}
            return Prediction(self.distributions[key], heads, self.embeddings[key])
        return FaceReading(tuple(self.distributions[key].tolist()))

    def __iter__(self) -> Iterator[FaceReading]:
        return (self[number] for number in range(len(self)))

    @property
    def top(self) -> list[Emotion]:
        """The likeliest emotion of each face."""
        return [Emotion(number) for number in self.distributions.argmax(dim=1).tolist()]

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns of N values: ``top`` by name, then the probabilities of each emotion."""
        columns = zip(self.labels, self.distributions.T.tolist(), strict=True)
        return {"top": [emotion.label for emotion in self.top], **dict(columns)}

    def to_dataframe(self) -> Any:
        """The same as a ``pandas.DataFrame``, a row a face."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def __repr__(self) -> str:
        shown = ", ".join(f"{reading.top.label} {reading[reading.top]:.2f}" for reading in self[:3])
        count = f"{len(self)} face{'' if len(self) == 1 else 's'}"
        return f"Prediction({count}{': ' if shown else ''}{shown}{', …' if len(self) > 3 else ''})"
