"""What a request gives: faces with the encoder's reading of each, and what it took to make them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from configs.cli import UserError
from encoder.emotions import describe
from engine.storage.atomic import require_new
from generation.files import MANIFEST, face_sheet, remove_former, sheet, write_faces
from generation.request import FaceRequest
from generation.verify import CAUSES, Cause, Verdict
from generation.vetoes import Landmarks, Seen


@dataclass(frozen=True, repr=False)
class Face:
    """One generated face.

    Attributes:
        image: (S, S) uint8 grey, or (S, S, 3) uint8 red, green, blue of weights that paint photographs.
        seed: of the request plus the face's index. ``tries``: which draw of that seed it is, from 1.
        verdict: the encoder's reading of exactly these pixels.
        told: what the prior was told besides the emotion, of all that it can be told; None: nothing.
        realism: share of real faces that look less real, 0 to 1, by the critic. ``landmarks``: by the detector. ``seen``: by
            the probe. Each is None where it was not asked: it is off, or the face was refused before.
        refused: who refused the face; None: nobody.
        asked: the distribution that the face was to show; None: that of the request.
    """

    image: np.ndarray
    seed: int
    tries: int
    verdict: Verdict
    told: Mapping[str, str | None] = field(default_factory=dict)
    realism: float | None = None
    landmarks: Landmarks | None = None
    refused: Cause | None = None
    asked: tuple[float, ...] | None = None
    seen: Seen | None = None

    @property
    def picture(self) -> Any:
        """The face as a PIL image, mode ``L`` or ``RGB``."""
        from PIL import Image

        return Image.fromarray(self.image)

    def __repr__(self) -> str:
        return f"Face({self.verdict}, seed {self.seed}, {'accepted' if self.accepted else f'refused by {self.refused}'})"

    def _repr_png_(self) -> Any:
        return self.picture.resize((128, 128))._repr_png_()

    def beats(self, other: Face | None) -> bool:
        """Whether it is to be kept in place of another draw of its seed: accepted, and of higher match than one that is."""
        return self.accepted and (other is None or self.verdict.match > other.verdict.match)

    @property
    def accepted(self) -> bool:
        """Whether all who were asked agree: it shows its emotion, looks real, has hands and eyes as asked, and its eyes where
        eyes belong."""
        return self.verdict.accepted and self.refused is None

    def as_record(self) -> dict[str, Any]:
        """What every manifest says of a face; the vetoes where they were asked."""
        record = {"seed": self.seed, "tries": self.tries, **self.verdict.as_record()}
        record |= {"told": dict(self.told)} if self.told else {}
        record |= {} if self.realism is None else {"realism": round(self.realism, 4)}
        record |= {} if self.seen is None else {"seen": self.seen.as_record()}
        return record | ({} if self.landmarks is None else {"landmarks": self.landmarks.as_record()})


@dataclass(frozen=True, repr=False)
class FaceBatch:
    """The answer to a request: accepted faces in the order in which they were asked for, and what it took.

    ``len(batch)``, ``batch[0]`` and ``for face in batch`` are about the faces; a notebook shows them.

    Attributes:
        request: with the settings that the weights gave it.
        refused: of all draws those that were refused, by who refused them.
        interrupted: Ctrl-C ended the drawing; the faces are those that were accepted by then.
        asked: the distribution of each face, where they were not all asked for alike. ``seeds``: where they do not follow on
            each other. Both are of all that were asked for.
    """

    request: FaceRequest
    faces: tuple[Face, ...]
    tried: int
    seconds: float
    weights: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    refused: Mapping[Cause, int] = field(default_factory=dict)
    asked: tuple[tuple[float, ...], ...] | None = None
    seeds: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.faces)

    @overload
    def __getitem__(self, key: int) -> Face: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Face, ...]: ...

    def __getitem__(self, key: int | slice) -> Face | tuple[Face, ...]:
        return self.faces[key]

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    @property
    def images(self) -> list[Any]:
        """The accepted faces as PIL images (mode ``L``, or ``RGB`` in colour)."""
        return [face.picture for face in self.faces]

    @property
    def verdicts(self) -> list[Verdict]:
        """The encoder's readings, in the order of ``images``."""
        return [face.verdict for face in self.faces]

    @property
    def complete(self) -> bool:
        """Whether every face that was asked for was accepted."""
        return len(self.faces) == self.request.count

    @property
    def title(self) -> str:
        """What was asked for, in words."""
        if self.asked is None:
            return describe(self.request.emotion)
        return "; ".join(dict.fromkeys(map(describe, self.asked)))

    @property
    def columns(self) -> int:
        """Faces in a row of the contact sheet."""
        return min(8, max(len(self.faces), 1))

    def grid(self, columns: int | None = None, size: int = 128) -> Any:
        """All faces on one PIL image, the reading under each.

        Args:
            columns: faces in a row; None: as on the contact sheet. size: side of each in pixels.

        Raises:
            UserError: no face, or a number below 1.
        """
        if not self.faces:
            raise UserError("grid: no face was accepted, so there is none to show")
        if (columns is not None and columns < 1) or not 16 <= size <= 1024:
            raise UserError(f"grid: needs 1 column or more and a size from 16 to 1024 pixels, got {columns} and {size}")
        labels = [str(face.verdict) for face in self.faces]
        title = f"{self.title} - AI-generated"
        return sheet([face.image for face in self.faces], labels, columns or self.columns, size, title)

    def save(self, folder: str | Path, *, size: int | None = None, mark: bool = False, overwrite: bool = False) -> dict[str, Any]:
        """Write each face, a contact sheet and the manifest, as ``mimique sample`` does; returns the manifest.

        Args:
            folder: made if it is not there. size: side of the PNGs in pixels; None: as generated.
            mark: draw the visible mark, AI-generated, on every face.
            overwrite: replace the faces that a manifest there names; other files are left alone.

        Raises:
            UserError: the folder holds a manifest already, or cannot be written.
        """
        place = Path(folder)
        require_new([place / MANIFEST], overwrite, "folder", "overwrite=True")
        remove_former(place)
        return self._write(place, size, mark)

    def _write(self, folder: Path, size: int | None, mark: bool) -> dict[str, Any]:
        return write_faces(self, folder, size=size, mark=mark)

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with a row a face: seed, tries, what was read, and what the prior was told."""
        import pandas as pd

        rows = [
            {"seed": face.seed, "tries": face.tries, **face.verdict.to_dict(), "realism": face.realism, **face.told}
            for face in self.faces
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        found = f"{len(self.faces)} of {self.request.count} faces in {self.tried} tries, {self.seconds:.1f} s"
        return f"{type(self).__name__}({self.title}: {found}{', interrupted' if self.interrupted else ''})"

    def _repr_html_(self) -> str:
        if not self.faces:
            return f"<p>{self!r}</p>"
        picture = b64encode(face_sheet(self)).decode("ascii")
        return f'<p>{self!r}</p><img alt="{self.title}, AI-generated" src="data:image/png;base64,{picture}">'


def count_causes(refusals: Iterable[Cause] | Mapping[Cause, int]) -> dict[Cause, int]:
    """How many faces each refused, in the order in which they are asked."""
    counts = Counter(refusals)
    return {cause: counts[cause] for cause in CAUSES if counts[cause]}
