"""Who a face resembles: verification of two faces, and search in a gallery of known people.

Off unless asked for. Faces identify people, and most uses of that need their consent or another legal basis; some are
forbidden. docs/responsible/gender_and_identity.md says more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import printable
from encoder.people.embedders import create_embedder
from encoder.people.embedding_cache import crop_hash, read_embeddings, write_embeddings
from encoder.people.embeddings import Embedder, checked_embeddings, distances
from encoder.pictures.face_images import BadImage

if TYPE_CHECKING:
    from encoder.detection.face import Detector

__all__ = ["Embedder", "Gallery", "Match", "Verification", "create_embedder", "largest_face", "verify"]

# Faces that go through the network at once, and what they may weigh together.
_BATCH = 32
_MAX_WAITING_BYTES = 128 * 2**20

# Cuts the face out of an (H, W, 3) uint8 RGB picture; None where it finds none.
Crop = Callable[[NDArray[np.uint8]], "NDArray[np.uint8] | None"]


class Verification(NamedTuple):
    """Distance of two faces on the embedder's scale, and whether it is within its threshold."""

    distance: float
    same: bool


class Match(NamedTuple):
    """The nearest person of a gallery and the distance to the nearest of that person's pictures."""

    name: str
    distance: float


def verify(a: NDArray[np.uint8], b: NDArray[np.uint8], embedder: Embedder, *, threshold: float | None = None) -> Verification:
    """Whether two cropped (H, W, 3) uint8 RGB faces are of one person, as far as ``embedder`` can tell.

    Args:
        threshold: largest distance of one person; None: what the embedder's authors publish.
    """
    vectors = checked_embeddings(embedder, [a, b])
    distance = float(distances(vectors[:1], vectors[1:], embedder.metric)[0, 0])
    return Verification(distance, distance <= (embedder.threshold if threshold is None else threshold))


def largest_face(detector: Detector, size: int = 160) -> Crop:
    """A ``crop`` for :meth:`Gallery.from_folder`: the largest face that ``detector`` finds, (size, size, 3).

    Gallery and searched faces should be cut in the same way; distances grow where they are not.
    """
    from encoder.detection.align import crop_face

    def crop(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        faces = detector.detect(picture)
        return crop_face(picture, max(faces, key=lambda face: face.box[2] * face.box[3]), size) if faces else None

    return crop


@dataclass(frozen=True)
class Gallery:
    """Known people, each by the embeddings of one or more pictures.

    Attributes:
        names: person of each picture (M).
        vectors: (M, D) float32.
        embedder: what made them.
        threshold: largest distance at which a face is said to be one of them.
        problems: one line for each file that was left out.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    embedder: Embedder
    threshold: float
    problems: tuple[str, ...] = field(default=())

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        embedder: Embedder,
        *,
        crop: Crop | None = None,
        threshold: float | None = None,
        cache: str | Path | None = None,
    ) -> Self:
        """Read a gallery: a sub-folder a person with any number of pictures, or one picture a person, or both.

        A person is called like the sub-folder, or like the file without its ending. A file that is no picture, cannot be
        read or shows no face is listed in ``problems`` and left out; hidden files are not looked at.

        Args:
            crop: cuts the face out of each picture; None: the files are cropped faces already.
            threshold: None: what the embedder's authors publish.
            cache: file that keeps the embeddings for the next time; None: nothing is kept.

        Raises:
            UserError: no such folder, no usable picture in it, or an unusable ``cache``.
        """
        from tqdm import tqdm

        folder = Path(folder)
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "no such folder"
            raise UserError(f"{folder}: {what}; a gallery has a sub-folder, or one picture, for each person")
        known = {} if cache is None else read_embeddings(cache, embedder.name)
        files, problems = _pictures(folder)
        keys: list[tuple[str, str]] = []
        vectors: dict[str, NDArray[np.float32]] = {}
        waiting: dict[str, NDArray[np.uint8]] = {}
        for name, path in tqdm(files, desc="gallery", unit="face", delay=1, leave=False, disable=None):
            try:
                face = _face(path, crop)
            except BadImage as error:
                problems.append(printable(f"{path}: {error}"))
                continue
            key = crop_hash(face)
            keys.append((printable(name), key))
            if key in known:
                vectors[key] = known[key]
            elif key not in vectors:
                waiting[key] = face
            if len(waiting) >= _BATCH or sum(pixels.nbytes for pixels in waiting.values()) > _MAX_WAITING_BYTES:
                vectors |= _embed(embedder, waiting)
                waiting = {}
        vectors |= _embed(embedder, waiting)
        if not keys:
            first = f" (first: {problems[0]})" if problems else ""
            raise UserError(f"{folder}: no picture of a face in it that can be used{first}")
        if cache is not None and vectors.keys() != known.keys():
            write_embeddings(cache, embedder.name, vectors)
        names = tuple(name for name, _ in keys)
        limit = embedder.threshold if threshold is None else threshold
        return cls(names, np.stack([vectors[key] for _, key in keys]), embedder, limit, tuple(problems))

    @property
    def people(self) -> tuple[str, ...]:
        """Every person once, in the order of the alphabet."""
        return tuple(sorted(set(self.names)))

    def search(self, crops: Sequence[NDArray[np.uint8]]) -> list[Match | None]:
        """For each cropped (H, W, 3) uint8 RGB face the nearest person, or None where nobody is near enough."""
        if not len(crops):
            return []
        table = distances(checked_embeddings(self.embedder, crops), self.vectors, self.embedder.metric)
        nearest = table.argmin(axis=1)
        found = [Match(self.names[column], float(row[column])) for row, column in zip(table, nearest, strict=True)]
        return [match if match.distance <= self.threshold else None for match in found]


def _pictures(folder: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """(person, file) of every file that is not hidden, in the order of names; and sub-folders that cannot be read."""
    found: list[tuple[str, Path]] = []
    problems: list[str] = []
    for entry in _entries(folder):
        if not entry.is_dir():
            found.append((entry.stem, entry))
            continue
        try:
            found += [(entry.name, path) for path in _entries(entry)]
        except UserError as error:
            problems.append(printable(str(error)))
    return found, problems


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({(error.strerror or str(error)).lower()})") from None


def _embed(embedder: Embedder, faces: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
    if not faces:
        return {}
    return dict(zip(faces, checked_embeddings(embedder, list(faces.values())), strict=True))


def _face(path: Path, crop: Crop | None) -> NDArray[np.uint8]:
    from encoder.pictures.pictures import read_picture

    pixels = read_picture(path).pixels
    face = pixels if crop is None else crop(pixels)
    if face is None:
        raise BadImage("no face found in it")
    return face
