"""Folders of image files: spellings, the held-out split, links, and files that are no faces."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.load import load_faces
from encoder.emotions import Emotion
from encoder.pictures.face_images import MAX_BYTES, png_bytes


def add(path: Path, face: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(face))
    return path


def random_face(rng: np.random.Generator, size: int = 48) -> np.ndarray:
    return rng.integers(0, 256, (size, size), dtype=np.uint8)


@pytest.fixture
def tree(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two faces of anger and of fear in train, one of fear in test, none in valid."""
    for place in ("train/angry/a.png", "train/angry/b.png", "train/fearful/c.png", "test/fearful/e.png"):
        add(tmp_path / place, random_face(rng))
    (tmp_path / "valid" / "angry").mkdir(parents=True)
    return tmp_path


def test_labels_come_from_the_folders_names(tree: Path) -> None:
    train = load_faces(tree, "train")
    assert dict(zip(train.ids, train.labels.tolist(), strict=True)) == {
        "train/angry/a.png": Emotion.ANGER,
        "train/angry/b.png": Emotion.ANGER,
        "train/fearful/c.png": Emotion.FEAR,
    }
    assert load_faces(tree, "test").labels.tolist() == [Emotion.FEAR]
    assert len(load_faces(tree, "valid")) == 0
    assert train.source == tree.name


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"), ("TRAIN", "validation", "Test")],
)
def test_splits_are_found_by_their_common_names(
    tmp_path: Path, rng: np.random.Generator, train: str, valid: str, test: str
) -> None:
    faces = {split: random_face(rng) for split in ("train", "valid", "test")}
    for split, folder in zip(faces, (train, valid, test), strict=True):
        add(tmp_path / folder / "3" / "x.png", faces[split])
    for split, face in faces.items():
        found = load_faces(tmp_path, split)
        assert np.array_equal(found.images, face[None])
        assert found.labels.tolist() == [Emotion.HAPPINESS]


def test_two_folders_for_one_split_are_refused(tree: Path) -> None:
    (tree / "val").mkdir()
    with pytest.raises(UserError, match="both val and valid"):
        load_faces(tree, "train")


def test_shuffled_names_keep_labels_with_images(tmp_path: Path, rng: np.random.Generator) -> None:
    label_of = {}
    folders = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for number in rng.permutation(70):
        face = random_face(rng, 16)
        label_of[face.tobytes()] = int(number) % 7
        add(tmp_path / "train" / folders[number % 7] / f"{rng.integers(2**40)}.png", face)
    for split in ("train", "valid"):
        found = load_faces(tmp_path, split, size=16)
        assert [label_of.pop(image.tobytes()) for image in found.images] == found.labels.tolist()
    assert not label_of


def test_without_valid_a_tenth_of_train_is_held_out_by_content_and_it_says_so(tmp_path: Path, rng: np.random.Generator) -> None:
    count = 300
    for number in range(count):
        add(tmp_path / "train" / "sad" / f"{number}.png", random_face(rng, 8))
    train, valid = load_faces(tmp_path, "train", size=8), load_faces(tmp_path, "valid", size=8)
    assert len(train) + len(valid) == count
    assert not set(train.ids) & set(valid.ids)
    assert 8 <= len(valid) <= 60
    assert "tenth of train is held out" in train.notes[0]
    # Renamed and put in another class, a file stays in its split: the rule looks at nothing but its content.
    held = tmp_path / valid.ids[0]
    (tmp_path / "train" / "happy").mkdir()
    held.rename(tmp_path / "train" / "happy" / "renamed.png")
    again = load_faces(tmp_path, "valid", size=8)
    assert "train/happy/renamed.png" in again.ids
    assert set(again.ids) - {"train/happy/renamed.png"} == set(valid.ids[1:])


def test_copies_of_a_file_are_held_out_together(tmp_path: Path, rng: np.random.Generator) -> None:
    for number in range(60):
        face = random_face(rng, 8)
        add(tmp_path / "train" / "sad" / f"{number}.png", face)
        add(tmp_path / "train" / "fear" / f"{number}.png", face)
    train, valid = load_faces(tmp_path, "train", size=8), load_faces(tmp_path, "valid", size=8)
    assert not twins(valid, train).any()


def test_colour_pictures_of_any_size_become_grey_faces(tree: Path) -> None:
    Image.new("RGB", (200, 120), (90, 90, 90)).save(tree / "test" / "fearful" / "photo.JPG")
    found = load_faces(tree, "test")
    assert found.images.shape == (2, 48, 48)
    assert np.abs(found.images[found.ids.index("test/fearful/photo.JPG")].astype(int) - 90).max() <= 2


def test_what_file_managers_leave_behind_is_no_problem(tree: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"):
        (tree / "train" / "angry" / name).write_bytes(b"x")
    (tree / "train" / ".cache").mkdir()
    assert len(load_faces(tree, "train")) == 3


BLACK = np.zeros((48, 48), np.uint8)


def huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)


def outside(tree: Path) -> Path:
    """A face in a folder beside the data set."""
    return add(tree.parent / f"{tree.name}-outside" / "secret.png", BLACK)


# What is put into train, and where; the last part of the name must be in the message.
PROBLEMS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "text": ("angry/notes.txt", lambda path, _: path.write_text("hello")),
    "broken": ("angry/bad.png", lambda path, _: path.write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")),
    "empty": ("angry/bad.jpg", lambda path, _: path.touch()),
    "huge": ("angry/bad.bmp", lambda path, _: huge(path)),
    "pipe": ("angry/bad.png", lambda path, _: os.mkfifo(path)),
    "folder named like a file": ("angry/bad.png", lambda path, _: path.mkdir()),
    "link out": ("angry/bad.png", lambda path, tree: path.symlink_to(outside(tree))),
    "dead link": ("angry/bad.png", lambda path, _: path.symlink_to("nothing.png")),
    "link to itself": ("angry/bad.png", lambda path, _: path.symlink_to("bad.png")),
    "folder link out": ("happy", lambda path, tree: path.symlink_to(outside(tree).parent)),
    "unknown class": ("joy2", lambda path, _: add(path / "a.png", BLACK)),
    "file beside the classes": ("a.png", lambda path, _: add(path, BLACK)),
    "name with control characters": ("angry/two\nlines\x1b[31m.png", lambda path, _: path.write_bytes(b"x")),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_bad_file_is_named_and_refused_or_skipped(tree: Path, kind: str) -> None:
    place, make = PROBLEMS[kind]
    make(tree / "train" / place, tree)
    name = place.rpartition("/")[2].replace("\n", r"\n").replace("\x1b", r"\x1b")
    with pytest.raises(UserError) as refused:
        load_faces(tree, "train")
    assert name in str(refused.value)
    assert str(refused.value).isprintable()
    train = load_faces(tree, "train", on_error="skip")
    assert len(train) == 3
    assert len(train.problems) == 1
    assert name in train.problems[0]


def test_a_link_inside_the_data_set_is_followed(tree: Path) -> None:
    (tree / "train" / "angry" / "again.png").symlink_to("a.png")
    assert len(load_faces(tree, "train")) == 4


def test_a_data_set_reached_through_a_link_is_read(tree: Path) -> None:
    link = tree.parent / f"{tree.name}-link"
    link.symlink_to(tree)
    assert len(load_faces(link, "train")) == 3


def test_a_split_that_is_a_link_out_is_refused_even_when_skipping(tree: Path, rng: np.random.Generator) -> None:
    outside = tree.parent / f"{tree.name}-elsewhere"
    add(outside / "angry" / "a.png", random_face(rng))
    (tree / "valid" / "angry").rmdir()
    (tree / "valid").rmdir()
    (tree / "valid").symlink_to(outside)
    with pytest.raises(UserError, match="link that leaves"):
        load_faces(tree, "valid", on_error="skip")


def test_classes_numbered_from_one_are_refused_even_when_skipping(tmp_path: Path, rng: np.random.Generator) -> None:
    for number in range(1, 8):
        add(tmp_path / "train" / str(number) / "a.png", random_face(rng))
    with pytest.raises(UserError, match="0 to 6"):
        load_faces(tmp_path, "train", on_error="skip")


def test_a_missing_split_and_flat_folders_are_refused_with_advice(tmp_path: Path, rng: np.random.Generator) -> None:
    add(tmp_path / "train" / "a.png", random_face(rng))
    with pytest.raises(UserError, match="no folder for the split test"):
        load_faces(tmp_path, "test")
    with pytest.raises(UserError, match="folders named by emotion"):
        load_faces(tmp_path, "train")
