"""fer2013.csv as its authors, Kaggle and FER+ publish it, whole and broken."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.data.ferplus import VOTE_COLUMNS
from encoder.data.load import load_faces
from encoder.emotions import Emotion

USAGES = ("Training", "Training", "PublicTest", "Training", "PrivateTest", "Training")
LABELS = (0, 3, 2, 6, 5, 1)


def text_of(face: np.ndarray) -> str:
    return " ".join(str(value) for value in face.ravel())


def random_faces(rng: np.random.Generator, size: int = 48) -> np.ndarray:
    return rng.integers(0, 256, (len(USAGES), size, size), dtype=np.uint8)


def lines_of(faces: np.ndarray) -> list[str]:
    rows = zip(LABELS, faces, USAGES, strict=True)
    return ["emotion,pixels,Usage", *(f"{label},{text_of(face)},{usage}" for label, face, usage in rows)]


def votes_lines(counts: Sequence[Sequence[int]]) -> list[str]:
    lines = ["Usage,Image name," + ",".join(VOTE_COLUMNS)]
    for row, (usage, votes) in enumerate(zip(USAGES, counts, strict=True)):
        name = "" if votes[-1] == 10 else f"fer{row:07d}.png"
        lines.append(f"{usage},{name}," + ",".join(map(str, votes)))
    return lines


def write(path: Path, lines: Sequence[str], end: str = "\n") -> Path:
    path.write_bytes((end.join(lines) + end).encode())
    return path


UNANIMOUS = [[10 if column == row else 0 for column in range(10)] for row in range(len(USAGES))]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_split_holds_its_rows_with_their_labels(tmp_path: Path, rng: np.random.Generator, end: str) -> None:
    faces = random_faces(rng)
    path = write(tmp_path / "fer2013.csv", lines_of(faces), end)
    for split, usage in (("train", "Training"), ("valid", "PublicTest"), ("test", "PrivateTest")):
        rows = [row for row in range(len(USAGES)) if USAGES[row] == usage]
        for place in (path, tmp_path):
            found = load_faces(place, split)
            assert np.array_equal(found.images, faces[rows])
            assert found.labels.tolist() == [LABELS[row] for row in rows]
            assert found.ids == tuple(f"fer{row:07d}" for row in rows)
            assert found.source == "fer2013"
            assert not found.votes.any()


def test_kaggles_spelling_with_blanks_and_another_order_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng)
    rows = zip(LABELS, USAGES, faces, strict=True)
    lines = ["emotion, Usage, pixels", *(f'{label},{usage},"{text_of(face)}"' for label, usage, face in rows)]
    write(tmp_path / "icml_face_data.csv", lines)
    assert np.array_equal(load_faces(tmp_path, "train").images, faces[[0, 1, 3, 5]])


def test_votes_beside_the_table_go_to_their_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path / "fer2013.csv", lines_of(random_faces(rng)))
    write(tmp_path / "fer2013new.csv", votes_lines(UNANIMOUS))
    train = load_faces(tmp_path, "train")
    assert train.majority().tolist() == [Emotion.NEUTRAL, Emotion.HAPPINESS, Emotion.SADNESS, Emotion.DISGUST]
    assert load_faces(tmp_path, "test").majority().tolist() == [Emotion.ANGER]
    assert train.labels.tolist() == [0, 3, 6, 1]


def test_rows_that_are_no_face_are_left_out_and_it_says_so(tmp_path: Path, rng: np.random.Generator) -> None:
    votes = [list(row) for row in UNANIMOUS]
    votes[1] = [0] * 9 + [10]
    write(tmp_path / "fer2013.csv", lines_of(random_faces(rng)))
    write(tmp_path / "fer2013new.csv", votes_lines(votes))
    train = load_faces(tmp_path, "train")
    assert train.ids == ("fer0000000", "fer0000003", "fer0000005")
    assert train.labels.tolist() == [0, 6, 1]
    assert "1 rows of train" in train.notes[0]
    assert not train.problems


def test_shuffled_rows_keep_labels_with_images(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng)
    label_of = {face.tobytes(): label for face, label in zip(faces, LABELS, strict=True)}
    header, *rows = lines_of(faces)
    write(tmp_path / "fer2013.csv", [header, *(rows[i] for i in rng.permutation(len(rows)))])
    for split in ("train", "valid", "test"):
        found = load_faces(tmp_path, split)
        assert [label_of[image.tobytes()] for image in found.images] == found.labels.tolist()


def test_other_sizes_are_resized(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng, 24)
    write(tmp_path / "fer2013.csv", lines_of(faces))
    assert load_faces(tmp_path, "train").images.shape == (4, 48, 48)
    assert np.array_equal(load_faces(tmp_path, "valid", size=24).images, faces[[2]])


BROKEN = {
    "a class that does not exist": ("7,{pixels},Training", "label 7"),
    "a class in words nobody knows": ("joy2,{pixels},Training", "joy2"),
    "no class": (",{pixels},Training", "unknown emotion"),
    "a pixel missing": ("0,1 2 3,Training", "3 pixels"),
    "no pixels": ("0,,Training", "0 pixels"),
    "a pixel too bright": ("0,{pixels} 256,Training", "pixels"),
    "pixels out of range": ("0,{bright},Training", "between 0 and 255"),
    "a pixel below zero": ("0,{dark},Training", "between 0 and 255"),
    "a word among the pixels": ("0,{word},Training", "whole numbers"),
    "a number without end": ("0,{huge},Training", "whole numbers"),
    "an unknown usage": ("0,{pixels},Trainig", "Usage 'Trainig'"),
    "too few columns": ("0,{pixels}", "too few columns"),
    "a quote that never closes": ('0,"{pixels},Training', "too few columns"),
    "a line without end": ("0," + "1 " * 2**20 + ",Training", "no readable line"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_row_is_named_and_refused_or_skipped(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    faces = random_faces(rng)
    lines = lines_of(faces)
    template, says = BROKEN[kind]
    pixels = text_of(faces[1]).split()
    lines[2] = template.format(
        pixels=" ".join(pixels),
        bright=" ".join(["256", *pixels[1:]]),
        dark=" ".join(["-1", *pixels[1:]]),
        word=" ".join(["x", *pixels[1:]]),
        huge=" ".join(["9" * 400, *pixels[1:]]),
    )
    path = write(tmp_path / "fer2013.csv", lines)
    with pytest.raises(UserError, match=r"fer2013\.csv row 1: ") as refused:
        load_faces(path, "train")
    assert says in str(refused.value)
    skipped = load_faces(path, "train", on_error="skip")
    assert np.array_equal(skipped.images, faces[[0, 3, 5]])
    assert skipped.ids == ("fer0000000", "fer0000003", "fer0000005")
    assert len(skipped.problems) == 1
    assert says in skipped.problems[0]
    assert "row 1" in skipped.problems[0]


@pytest.mark.parametrize("header", ["", "emotion,pixels", "a,b,c", "emotion,emotion,pixels,Usage"])
def test_a_table_without_its_columns_is_refused(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "fer2013.csv", [header])
    with pytest.raises(UserError, match="must name the column"):
        load_faces(path, "train", on_error="skip")


def misaligned() -> dict[str, list[str]]:
    lines = votes_lines(UNANIMOUS)
    return {
        "a row short": lines[:-1],
        "a row too many": [*lines, lines[-1]],
        "another usage": [*lines[:1], lines[1].replace("Training", "PrivateTest"), *lines[2:]],
        "moved names": [lines[0], lines[1].replace("fer0000000", "fer0000001"), *lines[2:]],
    }


@pytest.mark.parametrize("kind", list(misaligned()))
def test_votes_of_other_rows_are_refused_even_when_skipping(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    write(tmp_path / "fer2013.csv", lines_of(random_faces(rng)))
    write(tmp_path / "fer2013new.csv", misaligned()[kind])
    with pytest.raises(UserError, match=r"fer2013new\.csv"):
        load_faces(tmp_path, "train", on_error="skip")


@pytest.mark.parametrize("bad", ["-1", "x", "1.5", "", "9999"])
def test_a_broken_row_of_votes_is_named(tmp_path: Path, rng: np.random.Generator, bad: str) -> None:
    lines = votes_lines(UNANIMOUS)
    lines[2] = lines[2].rsplit(",", 1)[0] + f",{bad}"
    write(tmp_path / "fer2013.csv", lines_of(random_faces(rng)))
    write(tmp_path / "fer2013new.csv", lines)
    with pytest.raises(UserError, match=r"fer2013new\.csv row 1"):
        load_faces(tmp_path, "train")
    skipped = load_faces(tmp_path, "train", on_error="skip")
    assert skipped.ids == ("fer0000000", "fer0000003", "fer0000005")
    assert len(skipped.problems) == 1
