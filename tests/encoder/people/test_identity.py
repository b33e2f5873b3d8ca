"""Verification and galleries with a made-up embedder: faces are one person when their mean colours are near."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection import dlib_models
from encoder.people.embedders import DeepFaceEmbedder, DlibEmbedder, create_embedder
from encoder.people.embeddings import Embedder, Metric, distances
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


@pytest.mark.parametrize("name", ["", "facenet", "deepface", "deepface:", "dlib:nowhere.dat"])
def test_an_unknown_embedder_is_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        create_embedder(name)
    assert "dlib" in str(caught.value)


def test_a_missing_dlib_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"\.\[dlib\]"):
        DlibEmbedder(tmp_path / "weights.dat")


class FacenetLike:
    """Behaves like DeepFace's clients: pictures blue first in [0, 1]; of one face the bare vector, else a list."""

    input_shape, output_shape = (24, 20), 3

    def forward(self, batch: NDArray[np.float32]) -> list:
        assert batch.shape[1:] == (20, 24, 3)
        assert batch.dtype == np.float32
        assert 0 <= batch.min() <= batch.max() <= 1
        vectors = batch.mean(axis=(1, 2)).tolist()
        return vectors[0] if len(vectors) == 1 else vectors


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 33])
def test_deepface_networks_are_asked_in_their_own_convention(
    count: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("encoder.models.deepface_client.load_deepface", lambda task, name, device: FacenetLike())
    embedder = create_embedder("deepface:Facenet512")
    assert isinstance(embedder, DeepFaceEmbedder)
    assert embedder.threshold == 0.30
    vectors = embedder.embed([face(RED, rng) for _ in range(count)])
    assert vectors.shape == (count, 3)
    if count:
        np.testing.assert_allclose(vectors * 255, np.tile(RED[::-1], (count, 1)), atol=6)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a made-up package of models, and a dlib whose network answers the mean colour of a chip."""

    class Network:
        def __init__(self, path: str) -> None:
            if "bad" in path:
                raise RuntimeError("Unable to open\nit")

        def compute_face_descriptor(self, chip: NDArray[np.uint8]) -> list[float]:
            assert (chip.shape, chip.dtype) == ((150, 150, 3), np.uint8)
            return [*chip.mean(axis=(0, 1)), 0.0]

    def chip(picture: NDArray[np.uint8], found: tuple[int, ...], size: int) -> NDArray[np.uint8]:
        left, top, right, bottom = found
        return np.asarray(Image.fromarray(picture[top : bottom + 1, left : right + 1]).resize((size, size)))

    dlib = types.SimpleNamespace(
        face_recognition_model_v1=Network,
        shape_predictor=lambda path: lambda picture, box: box,
        rectangle=lambda *sides: sides,
        get_face_chip=chip,
    )
    monkeypatch.setitem(sys.modules, "dlib", dlib)
    models = tmp_path / "package" / "models"
    models.mkdir(parents=True)
    for name in (dlib_models.FIVE_POINTS, dlib_models.RECOGNITION):
        (models / name).write_text(name)
        monkeypatch.setitem(dlib_models.PUBLISHED_SHA256, name, hashlib.sha256(name.encode()).hexdigest())
    found = types.SimpleNamespace(submodule_search_locations=[str(models.parent)])
    monkeypatch.setattr(dlib_models, "find_spec", lambda name: found if models.is_dir() else None)
    return models


@pytest.mark.usefixtures("packaged")
def test_dlib_sees_colour_chips_of_its_size_cut_where_the_landmarks_say(rng: np.random.Generator) -> None:
    embedder = create_embedder("dlib")
    assert (embedder.metric, embedder.threshold) == ("euclidean", 0.6)
    crop = np.zeros((40, 40, 3), np.uint8)
    crop[6:, 2:38] = face(RED, rng, 36)[:34]  # dark where a face in a tight crop is not: a fifth of it
    np.testing.assert_allclose(embedder.embed([crop])[0, :3], RED, atol=18)
    assert embedder.embed([]).shape == (0, 128)
    assert embedder.embed([crop[..., 0]]).shape[0] == 1


def test_weights_of_ones_own_have_another_name_in_caches(packaged: Path, tmp_path: Path) -> None:
    (tmp_path / "own.dat").write_bytes(b"x")
    first = create_embedder(f"dlib:{tmp_path / 'own.dat'}").name
    (tmp_path / "own.dat").write_bytes(b"y")
    names = {first, create_embedder(f"dlib:{tmp_path / 'own.dat'}").name, create_embedder("dlib").name}
    assert len(names) == 3
    (tmp_path / "bad.dat").write_bytes(b"x")
    with pytest.raises(UserError, match=r"bad\.dat: dlib cannot read it \(Unable to open it"):
        create_embedder(f"dlib:{tmp_path / 'bad.dat'}")


@pytest.mark.parametrize("name", [dlib_models.FIVE_POINTS, dlib_models.RECOGNITION])
def test_models_of_the_package_must_be_there_and_the_published_ones(name: str, packaged: Path) -> None:
    (packaged / name).write_text("made up")
    with pytest.raises(UserError, match=f"{name}: not the published model"):
        create_embedder("dlib")
    (packaged / name).unlink()
    with pytest.raises(UserError, match=r"the dlib embedder needs the package face_recognition_models; .*\.\[dlib\]"):
        create_embedder("dlib")


@pytest.fixture
def installed() -> Embedder:
    """The embedder of the extra, where it is installed."""
    pytest.importorskip("dlib", reason="needs the extra dlib")
    if dlib_models.packaged_model(dlib_models.RECOGNITION) is None:
        pytest.skip("needs the extra dlib: face_recognition_models is not installed")
    return create_embedder("dlib")


def test_dlib_knows_a_face_again_turned_shifted_grey_and_small(installed: Embedder) -> None:
    from skimage import data

    from encoder.detection.align import crop_face
    from encoder.detection.registry import create_detector
    from encoder.drawing.faces import draw_faces

    picture = data.astronaut()
    (found,) = create_detector("centerface").detect(picture)
    crop = crop_face(picture, found, 160)
    turned = crop_face(picture, found, 160, level=False)[6:, 8:]
    grey = np.asarray(Image.fromarray(crop).convert("L").resize((64, 64)))
    drawn = draw_faces(4, seed=0).images[0]
    same = [verify(crop, other, installed) for other in (turned, grey)]
    assert all(found.same for found in same)
    assert max(found.distance for found in same) + 0.2 < verify(crop, drawn, installed).distance


@pytest.mark.usefixtures("deepface_offline")
def test_deepface_without_a_network_is_one_line() -> None:
    with pytest.raises(UserError, match=r"deepface:Facenet512: its weights cannot be had .*downloads them") as caught:
        create_embedder("deepface:Facenet512", device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"no such model; it has .*ArcFace"):
        create_embedder("deepface:Facenet1024", device="cpu")
