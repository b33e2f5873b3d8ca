"""Embedders by name: whose networks they are, what they are shown, and what is said where one is missing."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection import dlib_models
from encoder.people.embedders import DeepFaceEmbedder, DlibEmbedder, create_embedder
from encoder.people.embeddings import Embedder
from encoder.people.identity import verify

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (20, 40, 210)


def face(colour: tuple[int, int, int], rng: np.random.Generator, size: int = 40) -> NDArray[np.uint8]:
    return np.clip(np.array(colour) + rng.integers(-15, 16, (size, size, 3)), 0, 255).astype(np.uint8)


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
