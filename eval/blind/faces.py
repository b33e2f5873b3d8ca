"""The two sides of a comparison: the first faces of each emotion that generation.sample or generation.dataset wrote."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import one_line, printable
from encoder.emotions import EMOTION_NAMES, as_distribution, at_intensity, describe, one_hot, parse_emotion
from encoder.pictures.face_images import BadImage, decode_colour, decode_face
from generation.dataset.files import MANIFEST, TABLE

# A page of more takes browsers long to open.
MOST_PAIRS = 1000
# What differs from folder to folder of one side.
_OF_EACH = ("emotion", "seed", "count")


class BlindFace(NamedTuple):
    """A picture of a side: where it lies, the SHA-256 of its file, and (H, W) or (H, W, 3) uint8 pixels."""

    file: str
    sha256: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Side:
    """One of the two sets of faces.

    Attributes:
        folder: as it was given. weights: SHA-256 of each part, as the manifests name them. requests: with which settings the
            faces were made, each that occurs once.
        faces: by what was asked of them ("fear", or "fear 0.70, surprise 0.30"), in the manifests' order, N of each.
    """

    folder: str
    weights: Mapping[str, str]
    requests: Sequence[Mapping[str, Any]]
    faces: Mapping[str, Sequence[BlindFace]]

    @property
    def looks(self) -> set[str]:
        """Sizes and colours that occur, in words."""
        every = [face.image for faces in self.faces.values() for face in faces]
        return {f"{max(image.shape[:2])} pixels{'' if _grey(image) else ', colour'}" for image in every}


def read_sides(folders: Sequence[Path], per_emotion: int, grey: int | None = None) -> tuple[Side, Side]:
    """The first faces of each emotion on both sides.

    Args:
        folders: two, each with a manifest or with folders that have one.
        per_emotion: faces of each emotion. grey: side in pixels to which all are shrunk, without colour; None: as they are.

    Raises:
        UserError: no faces there, other emotions on one side, too few faces, the same faces on both sides, a file that cannot
            be read, or a picture smaller than ``grey``.
    """
    first, second = folders
    if first.resolve() == second.resolve():
        raise UserError(f"{first} and {second} are one folder; give two")
    found = [_Listed(folder, per_emotion) for folder in folders]
    for has, lacks in (found, found[::-1]):
        for emotion in has.counts:
            if emotion not in lacks.counts:
                raise UserError(f"{has.folder} has faces of {emotion} and {lacks.folder} has none; both need the same emotions")
    for side in found:
        for emotion, count in side.counts.items():
            if count < per_emotion:
                raise UserError(
                    f"{side.folder}: holds {count} faces of {emotion}, {per_emotion} are asked for; lower --per-emotion"
                )
    if (number := per_emotion * len(found[0].counts)) > MOST_PAIRS:
        most = MOST_PAIRS // len(found[0].counts)
        raise UserError(f"--per-emotion {per_emotion}: makes {number} pairs, more than people judge; give at most {most}")
    a, b = (Side(str(side.folder), side.weights, side.requests, side.read(grey)) for side in found)
    for emotion, faces in a.faces.items():
        for number, (one, other) in enumerate(zip(faces, b.faces[emotion], strict=True), 1):
            if np.array_equal(one.image, other.image):
                where = f"{a.folder} and {b.folder}: face {number} of {emotion} is the same on both sides"
                raise UserError(f"{where}; draw one side with another --seed")
    return a, b


def pictures_named(folder: Path, names: Collection[str]) -> dict[str, NDArray[np.uint8]]:
    """Pictures (H, W) or (H, W, 3) of a set in ``folder``, as they were delivered, of the files ``names``, by name.

    Raises:
        UserError: the set, or one of the pictures, cannot be read.
    """
    found = dict[str, NDArray[np.uint8]]()
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for _, path, data in _named(folder, manifest):
            if (name := Path(path).name) in names:
                image = decode_colour(_bytes(folder / path) if data is None else data)
                found[name] = image[..., 0] if image.ndim == 3 and _grey(image) else image
    except BadImage as error:
        raise UserError(f"{folder / path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / MANIFEST}: is no manifest of generated faces ({one_line(error)})") from None
    return found


class _Listed:
    """What the manifests of a side name: how many faces of each emotion, and the bytes of the first ``most`` of each."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.counts, self.requests = folder, dict[str, int](), list[dict[str, Any]]()
        self._pictures = defaultdict[str, list[tuple[str, bytes]]](list)
        manifests = [folder / MANIFEST] if (folder / MANIFEST).exists() else sorted(folder.glob(f"*/{MANIFEST}"))
        if not manifests:
            raise UserError(
                f"{folder}: no {MANIFEST} in it or its folders; give faces of python -m generation.sample or generation.dataset"
            )
        known = dict[str, Any]()
        for path in manifests:
            try:
                manifest = json.loads(path.read_bytes())
                weights = {str(part): str(digest) for part, digest in manifest["weights_sha256"].items()}
                if known.setdefault("weights", weights) != weights:
                    raise UserError(f"{path}: its faces come from other weights than those of {manifests[0]}; keep them apart")
                request = {name: value for name, value in manifest["request"].items() if name not in _OF_EACH}
                self.requests += [] if request in self.requests else [request]
                for emotion, name, data in _named(path.parent, manifest):
                    self.counts[emotion] = self.counts.get(emotion, 0) + 1
                    if self.counts[emotion] <= most:
                        where = path.parent.relative_to(folder) / name
                        self._pictures[emotion].append((where.as_posix(), _bytes(path.parent / name) if data is None else data))
            except UserError:
                raise
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{path}: is no manifest of generated faces ({one_line(error)})") from None
        if not self.counts:
            raise UserError(f"{folder}: its manifest names no face")
        self.weights: dict[str, str] = known["weights"]
        self.counts = dict(sorted(self.counts.items(), key=lambda item: _order(item[0])))

    def read(self, grey: int | None) -> dict[str, list[BlindFace]]:
        """The pixels of the faces that are kept, by emotion."""
        return {emotion: [self._face(*named, grey) for named in self._pictures[emotion]] for emotion in self.counts}

    def _face(self, file: str, data: bytes, grey: int | None) -> BlindFace:
        try:
            image = decode_colour(data)
            if grey is not None and grey > min(image.shape[:2]):
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise UserError(f"--grey {grey}: {self.folder / file} has {size} pixels; give at most {min(image.shape[:2])}")
            return BlindFace(file, sha256(data).hexdigest(), image if grey is None else decode_face(data, grey))
        except BadImage as error:
            raise UserError(f"{self.folder / file}: {error}") from None


def _named(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes | None]]:
    """What was asked of each face, its name, and its bytes where they do not lie in a file of that name."""
    if isinstance(manifest.get("faces"), list):
        common = manifest["request"].get("emotion")
        for record in manifest["faces"]:
            yield _words(record.get("asked", common)), record["file"], None
    elif (folder / TABLE).is_file():
        with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                yield _at(row["emotion"], row.get("intensity")), row["file"], None
    else:
        import pyarrow.parquet as pq

        for path in sorted(folder.glob("*.parquet")):
            with pq.ParquetFile(path) as file:
                columns = [name for name in ("image", "emotion", "intensity") if name in file.schema_arrow.names]
                for batch in file.iter_batches(256, columns=columns):
                    for row in batch.to_pylist():
                        yield _at(row["emotion"], row.get("intensity")), row["image"]["path"], row["image"]["bytes"]


def _at(emotion: str, intensity: Any) -> str:
    """An emotion of a table, at the intensity that sets of stimuli have."""
    return _words(at_intensity(one_hot(parse_emotion(emotion)), 1.0 if intensity is None else float(intensity)))


def _words(asked: Any) -> str:
    """What was asked of a face: the name of an emotion, or its shares."""
    try:
        distribution = as_distribution(asked)
    except UserError as error:
        raise ValueError(error) from None
    return EMOTION_NAMES[distribution.index(1.0)] if 1.0 in distribution else describe(distribution)


def _order(words: str) -> tuple[int, str]:
    """Emotions in the order of the enum, mixtures after them."""
    return (EMOTION_NAMES.index(words) if words in EMOTION_NAMES else len(EMOTION_NAMES), words)


def _grey(image: NDArray[np.uint8]) -> bool:
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{printable(str(path))}: cannot be read: {(error.strerror or str(error)).lower()}") from None
