"""One split of a face data set in memory, and the collector with which every reader fills it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.cli import UserError
from configs.wording import printable
from encoder.data.ferplus import NUM_VOTE_COLUMNS, majority_ferplus, vote_distributions
from encoder.emotions import CONTEMPT, FERPLUS_NAMES, NUM_EMOTIONS, parse_emotion
from encoder.pictures.face_images import BadImage, decode_face

Split = Literal["train", "valid", "test"]
OnError = Literal["refuse", "skip"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
FER_SIZE = 48
_MAX_VOTES = 1000


@dataclass(frozen=True)
class FaceSet:
    """All faces of one split, as uint8, with what people said about them.

    Attributes:
        images: (N, S, S) uint8 grey.
        labels: (N,) int8 index into ``Emotion``; -1: unknown.
        votes: (N, 8) float32 FER+ distribution in the order of ``FERPLUS_NAMES``; an all-zero row has no votes.
        ids: stable name of each face, for messages (``fer0000012``, a file path, a row of a CSV).
        source: what the faces are: ``fer2013``, ``faces128``, ``drawn`` or the folder's name.
        identities: (N,) str, ``""`` where unknown; None where the data set names nobody.
        genders: (N,) ``male``, ``female`` or ``""``; None where the data set does not tell.
        problems: one line for each row or file that was skipped.
        notes: one line for each rule the reader applied by itself, e.g. how a missing split was held out.
        vote_counts: (N, 10) int16 votes as cast, in the column order of ``fer2013new.csv``; None where there are none.
        landmarks: (N, 68, 2) float32 x and y in pixels (0 is the middle of the first), order of iBUG 300-W; NaN where a
            face has none; None where the data set has none.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    votes: NDArray[np.float32]
    ids: tuple[str, ...]
    source: str
    identities: NDArray[Any] | None = None
    genders: NDArray[Any] | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    vote_counts: NDArray[np.int16] | None = None
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, S, S) uint8, got {self.images.shape} {self.images.dtype}")
        for column in self._columns().values():
            if len(column) != count:
                raise ValueError(f"{count} ids but a column of {len(column)} entries")

    def _columns(self) -> dict[str, NDArray[Any]]:
        """The arrays of N entries that there are."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, index: ArrayLike) -> FaceSet:
        """The faces at ``index`` (integers in any order, or a boolean mask of length N)."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        columns: dict[str, Any] = {name: column[chosen] for name, column in self._columns().items()}
        return dataclasses.replace(self, ids=tuple(self.ids[i] for i in chosen), **columns)

    def distributions(self) -> NDArray[np.float32]:
        """(N, 7) float32 over ``Emotion``.

        The votes without contempt, renormalised, where any are left; else the label as one-hot; else zeros.
        """
        folded = np.delete(self.votes, CONTEMPT, axis=1)
        total = folded.sum(axis=1, keepdims=True)
        result = np.divide(folded, total, out=np.zeros_like(folded), where=total > 0)
        labelled = np.flatnonzero((total[:, 0] <= 0) & (self.labels >= 0))
        result[labelled, self.labels[labelled]] = 1.0
        return result

    def majority(self) -> NDArray[np.int8]:
        """(N,) int8 index into ``FERPLUS_NAMES`` by the official FER+ protocol; -1: no majority, or no votes."""
        if self.vote_counts is None:
            return np.full(len(self), -1, np.int8)
        return majority_ferplus(self.vote_counts)


def parse_label(text: str) -> int:
    """The class a data set writes as ``3``, ``happy``, ``Happiness`` or ``3_happy``.

    Raises UserError: no number from 0 to 6 in FER-2013's order and no known name.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]+", text):
        # The length is looked at first: a number of a million digits takes minutes to convert.
        if len(text) > 1 or int(text) >= NUM_EMOTIONS:
            raise UserError(f"label {text[:20]} is not one of 0 to {NUM_EMOTIONS - 1}, the numbers of FER-2013")
        return int(text)
    return int(parse_emotion(re.sub(r"^[0-9]+[ ._-]+", "", text)))


def are_votes(votes: Sequence[Any]) -> bool:
    """Whether ``votes`` are counts as FER+ has them, ten of them."""
    return len(votes) == NUM_VOTE_COLUMNS and all(vote is not None and 0 <= vote <= _MAX_VOTES for vote in votes)


def votes_wanted(votes: Sequence[Any]) -> str:
    """What is said of those that are not."""
    return f"votes must be {NUM_VOTE_COLUMNS} counts of 0 to {_MAX_VOTES}, got {str(list(votes[:NUM_VOTE_COLUMNS]))[:100]}"


class FaceCollector:
    """Collects faces one by one; a bad one is refused with its name, or skipped and counted, as asked."""

    def __init__(self, source: str, *, size: int | None, on_error: OnError) -> None:
        """``size``: side in pixels of the faces kept, None: 48, the size of FER-2013."""
        if on_error not in ("refuse", "skip"):
            raise ValueError(f"on_error must be 'refuse' or 'skip', got {on_error!r}")
        self.size = FER_SIZE if size is None else size
        if not 8 <= self.size <= 1024:
            raise UserError(f"size of faces must lie between 8 and 1024 pixels, got {self.size}")
        self.source = source
        self._on_error = on_error
        # Pixels, label, votes, name, identity, gender.
        self._faces: list[tuple[NDArray[np.uint8], int, Sequence[int] | None, str, str, str]] = []
        self._problems: list[str] = []
        self.notes: list[str] = []

    def problem(self, name: str, what: str) -> None:
        """Skip the row or file ``name`` with a reason. Raises UserError: the collector refuses bad data."""
        if self._on_error == "refuse":
            raise UserError(
                printable(f"{name}: {what}; mend or remove it, or skip such data with on_error=skip (--on-error skip)")
            )
        self._problems.append(printable(f"{name}: {what}"))

    def add(
        self,
        face: bytes | NDArray[np.uint8] | None,
        name: str,
        *,
        place: str,
        label: int | None = None,
        votes: Sequence[int] | None = None,
        identity: str | None = None,
        gender: str | None = None,
    ) -> None:
        """Add one face: its file's bytes or its (size, size) pixels, its label in 0..6 and its ten votes, if known.

        ``place`` says in messages where it came from.
        """
        if label is not None and not 0 <= label < NUM_EMOTIONS:
            return self.problem(place, f"label {label} is not one of 0 to {NUM_EMOTIONS - 1}")
        if votes is not None and not are_votes(votes):
            return self.problem(place, votes_wanted(votes))
        if face is None:
            return self.problem(place, "has no image")
        try:
            pixels = decode_face(face, self.size) if isinstance(face, bytes) else face
        except BadImage as error:
            return self.problem(place, str(error))
        self._faces.append((pixels, -1 if label is None else label, votes, printable(name), identity or "", gender or ""))
        return None

    def finish(self) -> FaceSet:
        """Everything added so far as one set."""
        count = len(self._faces)
        pixels, labels, votes, ids, identities, genders = zip(*self._faces, strict=True) if count else ((),) * 6
        has_votes = any(each is not None for each in votes)
        no_votes = (0,) * NUM_VOTE_COLUMNS
        counts = np.array([no_votes if v is None else v for v in votes], np.int16).reshape(count, NUM_VOTE_COLUMNS)
        return FaceSet(
            images=np.stack(pixels) if count else np.zeros((0, self.size, self.size), np.uint8),
            labels=np.array(labels, np.int8),
            votes=vote_distributions(counts) if has_votes else np.zeros((count, len(FERPLUS_NAMES)), np.float32),
            ids=tuple(ids),
            source=printable(self.source),
            identities=np.array(identities, object) if any(identities) else None,
            genders=np.array(genders, object) if any(genders) else None,
            problems=tuple(self._problems),
            notes=tuple(self.notes),
            vote_counts=counts if has_votes else None,
        )


def head_labels(faces: FaceSet, head: str) -> np.ndarray:
    """(N,) classes in the label scheme of ``head``; -1 where the scheme gives a face no class."""
    return (faces.majority() if head == "ferplus" else faces.labels).astype(np.int64)
