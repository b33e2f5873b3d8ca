"""Verification and galleries with a made-up embedder: faces are one person when their mean colours are near."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.people.embeddings import Metric, distances
from encoder.people.identity import Gallery, Match, largest_face, verify

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (20, 40, 210)


class MeanColour:
    """Three numbers a face; counts the faces it was asked about."""

    name = "test:colour"
    metric: Metric = "cosine"
    threshold = 0.05

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.asked += len(crops)
        return np.array([crop.mean(axis=(0, 1)) for crop in crops], np.float32).reshape(-1, 3)


def face(colour: tuple[int, int, int], rng: np.random.Generator, size: int = 40) -> NDArray[np.uint8]:
    return np.clip(np.array(colour) + rng.integers(-15, 16, (size, size, 3)), 0, 255).astype(np.uint8)


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Red with two pictures in a sub-folder, Green as one file."""
    save(face(RED, rng), tmp_path / "gallery" / "Red" / "1.png")
    save(face((200, 60, 30), rng), tmp_path / "gallery" / "Red" / "2.png")
    save(face(GREEN, rng), tmp_path / "gallery" / "Green.png")
    return tmp_path / "gallery"


def test_verify_tells_same_from_other(rng: np.random.Generator) -> None:
    same = verify(face(RED, rng), face(RED, rng), MeanColour())
    other = verify(face(RED, rng), face(BLUE, rng), MeanColour())
    assert same.same
    assert not other.same
    assert same.distance < MeanColour.threshold < other.distance
    assert verify(face(RED, rng), face(BLUE, rng), MeanColour(), threshold=2.0).same


def test_a_face_is_equal_to_itself(rng: np.random.Generator) -> None:
    one = face(GREEN, rng)
    assert verify(one, one, MeanColour()).distance == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_those_of_the_definition(metric: Metric, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=(count, 5)).astype(np.float32) for count in (3, 4))
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            expected = np.linalg.norm(left - right)
            if metric == "cosine":
                expected = 1 - left @ right / (np.linalg.norm(left) * np.linalg.norm(right))
            assert distances(a, b, metric)[i, j] == pytest.approx(expected, abs=1e-6)


def test_the_nearest_person_is_found_and_a_stranger_is_nobody(folder: Path, rng: np.random.Generator) -> None:
    gallery = Gallery.from_folder(folder, MeanColour())
    assert gallery.people == ("Green", "Red")
    assert gallery.names == ("Green", "Red", "Red")
    red, green, stranger = gallery.search([face(RED, rng), face(GREEN, rng, 25), face(BLUE, rng)])
    assert isinstance(red, Match)
    assert red.name == "Red"
    assert red.distance < 0.01
    assert green.name == "Green"
    assert stranger is None
    assert gallery.search([]) == []


def test_answers_do_not_depend_on_the_other_faces(folder: Path, rng: np.random.Generator) -> None:
    gallery = Gallery.from_folder(folder, MeanColour())
    crops = [face(colour, rng) for colour in (RED, BLUE, GREEN, RED)]
    together = gallery.search(crops)
    alone = [gallery.search([crop])[0] for crop in crops]
    assert [match and match.name for match in together] == [match and match.name for match in alone]


def test_unusable_files_are_listed_and_the_rest_is_read(folder: Path, rng: np.random.Generator) -> None:
    (folder / "Red" / "notes.txt").write_text("not a picture")
    (folder / "Broken.png").write_bytes((folder / "Green.png").read_bytes()[:200])
    (folder / "Empty.jpg").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"junk")
    gallery = Gallery.from_folder(folder, MeanColour())
    assert gallery.people == ("Green", "Red")
    assert len(gallery.problems) == 3
    assert all("\n" not in line for line in gallery.problems)
    assert [name for name in ("notes.txt", "Broken.png", "Empty.jpg") if not any(name in p for p in gallery.problems)] == []


def test_a_picture_without_a_face_is_listed(folder: Path) -> None:
    def crop(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        return None if picture[..., 1].mean() > 150 else picture[5:35, 5:35]

    gallery = Gallery.from_folder(folder, MeanColour(), crop=crop)
    assert gallery.people == ("Red",)
    assert "Green.png: no face found" in gallery.problems[0]


def test_a_large_gallery_goes_through_the_network_in_batches(tmp_path: Path, rng: np.random.Generator) -> None:
    calls = []

    class Counting(MeanColour):
        def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            calls.append(len(crops))
            return super().embed(crops)

    colours = {f"p{number:02d}": tuple(rng.integers(0, 256, 3).tolist()) for number in range(70)}
    for name, colour in colours.items():
        save(np.full((8, 8, 3), colour, np.uint8), tmp_path / "gallery" / f"{name}.png")
    gallery = Gallery.from_folder(tmp_path / "gallery", Counting())
    assert calls == [32, 32, 6]
    assert gallery.people == tuple(colours)
    np.testing.assert_allclose(gallery.vectors, list(colours.values()))


def test_the_largest_face_of_a_picture_is_cut_out(rng: np.random.Generator) -> None:
    from encoder.detection.face import DetectedFace

    picture = np.full((120, 160, 3), 255, np.uint8)
    picture[10:30, 10:30] = face(BLUE, rng, 20)
    picture[40:100, 60:120] = face(RED, rng, 60)

    class Found:
        def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
            boxes = [(10, 10, 20, 20), (60, 40, 60, 60)]
            return [DetectedFace(box, None, None) for box in boxes] if picture.any() else []

    crop = largest_face(Found(), size=48)
    cut = crop(picture)
    assert cut.shape == (48, 48, 3)
    assert np.abs(cut.mean(axis=(0, 1)) - RED).max() < 12
    assert crop(np.zeros_like(picture)) is None


def test_the_program_cuts_gallery_and_searched_faces_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gallery of whole photographs: the person is found by her face, whatever else is in the picture."""
    from skimage import data

    from encoder import analyze

    class Blocks(MeanColour):
        threshold = 0.3

        def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            blocks = np.stack([crop.reshape(10, 16, 10, 16, 3).mean(axis=(1, 3)).ravel() for crop in crops])
            return (blocks - blocks.mean(axis=1, keepdims=True)).astype(np.float32)

    monkeypatch.setattr("encoder.people.embedders.create_embedder", lambda name, device: Blocks())
    photograph = data.astronaut()
    save(photograph, tmp_path / "gallery" / "Eileen" / "portrait.png")
    save(np.zeros((200, 200, 3), np.uint8), tmp_path / "gallery" / "Nobody.png")
    save(photograph[:400, 60:400], tmp_path / "other.png")
    arguments = [str(tmp_path / "other.png"), "--gallery", str(tmp_path / "gallery"), "--gender", "--device", "cpu"]
    assert analyze.main(arguments) == 0
    printed = capsys.readouterr()
    assert "Eileen" in printed.out
    assert "female" in printed.out
    assert "Nobody.png: no face found" in printed.err


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "junk only"])
def test_a_gallery_without_faces_is_one_line(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "gallery"
    if kind == "file":
        place.write_text("x")
    elif kind != "missing":
        place.mkdir()
    if kind == "junk only":
        (place / "a.png").write_bytes(b"junk")
    with pytest.raises(UserError, match="gallery") as caught:
        Gallery.from_folder(place, MeanColour())
    assert "\n" not in str(caught.value)


def test_nothing_is_kept_unless_asked(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    Gallery.from_folder(folder, MeanColour())
    assert sorted(folder.parent.rglob("*")) == before


def test_a_cache_spares_the_network_and_follows_the_gallery(folder: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    cache = tmp_path / "kept.safetensors"
    first = Gallery.from_folder(folder, MeanColour(), cache=cache)
    again = MeanColour()
    second = Gallery.from_folder(folder, again, cache=cache)
    assert again.asked == 0
    np.testing.assert_array_equal(first.vectors, second.vectors)

    save(face(BLUE, rng), folder / "Green.png")
    changed = MeanColour()
    third = Gallery.from_folder(folder, changed, cache=cache)
    assert changed.asked == 1
    assert third.search([face(BLUE, rng)])[0] is not None
    assert third.search([face(GREEN, rng)])[0] is None

    # Another cut of the same files is another face.
    cut = MeanColour()
    Gallery.from_folder(folder, cut, cache=cache, crop=lambda picture: picture[:20, :20])
    assert cut.asked == 3


def test_who_left_the_gallery_leaves_the_cache(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    cache = tmp_path / "kept.safetensors"
    Gallery.from_folder(folder, MeanColour(), cache=cache)
    assert load_file(cache)["embeddings"].shape == (3, 3)
    (folder / "Green.png").unlink()
    Gallery.from_folder(folder, MeanColour(), cache=cache)
    assert load_file(cache)["embeddings"].shape == (2, 3)
    assert b"Green" not in cache.read_bytes()


def test_a_cache_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kept.safetensors"
    Gallery.from_folder(folder, MeanColour(), cache=cache)
    whole = cache.read_bytes()
    other = MeanColour()
    other.name = "test:other"
    with pytest.raises(UserError, match=r"test:colour.*not test:other.*delete it"):
        Gallery.from_folder(folder, other, cache=cache)
    cache.write_bytes(whole[:-4])
    with pytest.raises(UserError, match="cannot be read as embeddings"):
        Gallery.from_folder(folder, MeanColour(), cache=cache)
    from safetensors.numpy import save_file

    save_file({"something": np.zeros(3, np.float32)}, cache)
    with pytest.raises(UserError, match="not a file of embeddings"):
        Gallery.from_folder(folder, MeanColour(), cache=cache)


@pytest.mark.parametrize("wrong", [np.zeros((1, 3), np.float32), np.full((2, 3), np.nan, np.float32), np.zeros(2, np.float32)])
def test_an_embedder_that_answers_nonsense_is_refused(wrong: NDArray[np.float32], rng: np.random.Generator) -> None:
    class Nonsense(MeanColour):
        def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            return wrong

    with pytest.raises(UserError, match="test:colour"):
        verify(face(RED, rng), face(RED, rng), Nonsense())
