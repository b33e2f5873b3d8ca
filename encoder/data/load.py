"""Real faces from disk, in every form people keep them, behind one call: :func:`load_faces`.

FER-2013 (Goodfellow et al., 2013) is read as Parquet, as the original ``fer2013.csv`` (with ``fer2013new.csv`` for FER+
votes, Barsoum et al., 2016) and as folders ``train/<emotion>/*.jpg``; ``faces128`` through :func:`load_faces128`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.cli import UserError
from configs.values import refuse
from encoder.data.face_folder import read_folder_split, split_folders
from encoder.data.face_parquet import read_parquet_split, read_rows
from encoder.data.face_set import SPLITS, FaceCollector, FaceSet, OnError, Split
from encoder.data.fer2013_csv import CSV_NAMES, read_csv_split
from encoder.emotions import parse_emotion


def load_faces(path: str | Path, split: Split, *, on_error: OnError = "refuse", size: int | None = None) -> FaceSet:
    """Load one split of a data set of labelled faces.

    Args:
        path: one of

            - a folder with ``train.parquet``, ``valid.parquet`` and ``test.parquet``;
            - ``fer2013.csv`` (or Kaggle's ``icml_face_data.csv``), or the folder that holds it;
            - a folder with ``train/<emotion>/*.jpg`` and ``test/...``; without ``valid/...`` a tenth of train is held
              out by a hash of each file's content.
        split: ``train``, ``valid`` or ``test`` (FER-2013's Training, PublicTest and PrivateTest).
        on_error: a broken row or file is refused by name, or skipped and listed in ``FaceSet.problems``.
        size: side of the faces in pixels; None: 48. Others are cropped to their central square and resized.

    Raises:
        UserError: nothing readable at ``path``, or bad data while ``on_error`` is ``refuse``.
    """
    check_split(split)
    if not isinstance(path, str | Path):
        refuse("load_faces", "the path of a data set", path)
    place = Path(path)
    if not place.exists():
        raise UserError(f"{place}: no such file or folder")
    if place.is_file():
        if place.suffix.lower() != ".csv":
            raise UserError(f"{place}: a single file must be a CSV like fer2013.csv; else give the folder that holds it")
        return read_csv_split(place, split, on_error=on_error, size=size)
    form = _form_of(place)
    if form == "parquet":
        file = place / f"{split}.parquet"
        if not file.is_file():
            raise UserError(f"{file}: no such file, though {place} holds other splits")
        return read_parquet_split(file, on_error=on_error, size=size)
    if form == "folders":
        return read_folder_split(place, split, on_error=on_error, size=size)
    return read_csv_split(place / form, split, on_error=on_error, size=size)


def _form_of(folder: Path) -> str:
    """``parquet``, ``folders`` or the name of a CSV; exactly one of them, else it is not clear what is meant."""
    forms = ["parquet"] if any((folder / f"{split}.parquet").is_file() for split in SPLITS) else []
    forms += [name for name in CSV_NAMES if (folder / name).is_file()]
    forms += ["folders"] if split_folders(folder) else []
    if not forms:
        mend = "; use load_faces128 for it" if (folder / "faces.parquet").is_file() else ""
        raise UserError(
            f"{folder}: no data set found: expected train.parquet, {' or '.join(CSV_NAMES)}, or train/<emotion>/*.jpg{mend}"
        )
    if len(forms) > 1:
        raise UserError(f"{folder}: holds several forms of a data set ({', '.join(forms)}): give the CSV file or move one")
    return forms[0]


def check_split(split: str) -> None:
    """Refuse a name that is no split."""
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: the splits are {', '.join(SPLITS)}")


def load_faces128(path: str | Path, split: Split, *, seed: int = 0, size: int = 64) -> FaceSet:
    """Load one split of ``faces128``: sharper aligned faces, with identity, gender and one rater's emotion.

    The splits hold 90, 5 and 5 % of the people and share nobody: a hash of (seed, identity) decides; a row without
    identity is decided by its file name. Faces rated as contempt, which is none of the seven, have label -1.

    Args:
        path: ``faces.parquet``, or the folder that holds it.
        split: ``train``, ``valid`` or ``test``.
        seed: another seed, another division of the people.
        size: side in pixels to which the 128-pixel faces are resized with antialiasing.

    Raises:
        UserError: no such file, not the expected columns, or a broken row.
    """
    check_split(split)
    file = Path(path)
    if file.is_dir():
        file = file / "faces.parquet"
    if not file.is_file():
        raise UserError(f"{file}: no such file; give faces.parquet of faces128 or the folder that holds it")
    collector = FaceCollector("faces128", size=size, on_error="refuse")
    columns = ("file", "identity", "emotion", "gender", "image")
    for number, row in read_rows(file, columns, required=columns):
        name, emotion = row["file"], row["emotion"]
        if identity_split(row["identity"] or name, seed) != split:
            continue
        place = f"{file} row {number} ({name})"
        label: int | None = None
        if emotion and emotion != "contempt":
            try:
                label = int(parse_emotion(emotion))
            except UserError as error:
                collector.problem(place, str(error))
                continue
        collector.add(
            (row["image"] or {}).get("bytes"), name, place=place, label=label, identity=row["identity"], gender=row["gender"]
        )
    return collector.finish()


def identity_split(key: str, seed: int) -> Split:
    """The split of a person (or of a file that names nobody): 90, 5 and 5 % by hash."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    if fraction < 0.9:
        return "train"
    return "valid" if fraction < 0.95 else "test"
