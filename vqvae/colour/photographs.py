"""Colour photographs of one split, kept as compressed as they come: 31,000 of 128 pixels are 80 MB, not 1.5 GB."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.colour_faces import ColourSplit
from encoder.data.face_parquet import read_rows
from encoder.pictures.face_images import BadImage, decode_colour_face
from engine.training.batches import uniforms
from vqvae.colour.degradation import NUM_UNIFORMS, degrade, luma


class Photographs:
    """Faces that are decoded when they are asked for.

    Args:
        encoded: one image file a face. place: what they are called in messages. size: side they are decoded to.
    """

    remote = False

    def __init__(self, encoded: list[bytes], place: str, size: int) -> None:
        if not encoded:
            raise UserError(f"{place}: holds no photograph")
        self._encoded, self._place, self.size = encoded, place, size

    @classmethod
    def open(cls, folder: str | Path, split: ColourSplit, size: int) -> Photographs:
        """One split of a folder in the layout of :mod:`encoder.data.colour_faces`.

        Raises:
            UserError: no such file, no such column, or a row without an image.
        """
        file = Path(folder).expanduser() / f"{split}.parquet"
        if not file.is_file():
            raise UserError(f"{file}: no such file; faces.colour128 is the folder that holds train.parquet and valid.parquet")
        encoded = []
        for number, row in read_rows(file, ("image",), required=("image",)):
            data = (row["image"] or {}).get("bytes")
            if not data:
                raise UserError(f"{file} row {number}: has no image; mend or remove the row")
            encoded.append(data)
        return cls(encoded, str(file), size)

    def __len__(self) -> int:
        return len(self._encoded)

    def images_at(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(B, P, P, 3) uint8 red, green, blue.

        Raises:
            UserError: a file that cannot be decoded, by its row.
        """
        return np.stack([self._decoded(int(i)) for i in index])

    def web_pictures(self, index: NDArray[np.int64], side: int) -> NDArray[np.uint8]:
        """(B, side, side) uint8: what became of each as a web picture, always the same."""
        u = uniforms(0, 0, index, NUM_UNIFORMS)
        return np.stack([degrade(grey, row, side) for grey, row in zip(luma(self.images_at(index)), u, strict=True)])

    def with_web_pictures(self, most: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """At most so many of them, evenly from all over the split, and their web pictures."""
        index = np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.int64))
        return self.images_at(index), self.web_pictures(index, side)

    def digest(self) -> str:
        """Changes with any photograph."""
        digest = hashlib.sha256()
        for data in self._encoded:
            digest.update(hashlib.sha256(data).digest())
        return digest.hexdigest()

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        try:
            return decode_colour_face(self._encoded[index], self.size)
        except BadImage as error:
            raise UserError(f"{self._place} row {index}: {error}; mend or remove the row") from None
