"""The gender classifier as people use it, and DeepFace's attribute models by option."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.config import PreprocessingConfig
from encoder.people.gender import GenderClassifier, GenderNet, create_gender
from encoder.people.gender_config import GenderCalibration, GenderModelConfig

SHIPPED = Path(__file__).resolve().parents[3] / "pretrained" / "gender"


def small(temperature: float = 1.0) -> GenderClassifier:
    torch.manual_seed(0)
    net = GenderNet(GenderModelConfig(widths=(8, 16)))
    return GenderClassifier(net, PreprocessingConfig(size=24), GenderCalibration(temperature=temperature))


def pictures(rng: np.random.Generator, *shape: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(5, 48, 48), (5, 1, 30, 30), (5, 160, 160, 3), (40, 40), (40, 40, 3)])
def test_any_batch_of_faces_gives_two_probabilities_each(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    read = small().predict(pictures(rng, *shape))
    assert read.shape == (5 if len(shape) > 2 and shape[0] == 5 else 1, 2)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read.sum(axis=1), 1.0, atol=1e-6)


def test_no_faces_give_no_answers() -> None:
    assert small().predict(np.zeros((0, 48, 48), np.uint8)).shape == (0, 2)


def test_the_answer_depends_on_the_face_alone(rng: np.random.Generator) -> None:
    faces = pictures(rng, 7, 32, 32)
    together = small().predict(faces)
    np.testing.assert_allclose(together, np.concatenate([small().predict(face) for face in faces]), atol=1e-6)
    np.testing.assert_allclose(together, small().predict(faces, batch_size=3), atol=1e-6)


def test_a_mirrored_face_gets_the_same_answer(rng: np.random.Generator) -> None:
    faces = pictures(rng, 4, 24, 24)
    np.testing.assert_allclose(small().predict(faces), small().predict(faces[:, :, ::-1].copy()), atol=1e-6)


def test_a_higher_temperature_is_less_sure_and_of_the_same_mind(rng: np.random.Generator) -> None:
    faces = pictures(rng, 9, 24, 24)
    sharp, soft = small(0.5).predict(faces), small(5.0).predict(faces)
    assert (sharp.argmax(axis=1) == soft.argmax(axis=1)).all()
    assert (sharp.max(axis=1) >= soft.max(axis=1)).all()


def test_what_is_saved_is_loaded(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = pictures(rng, 6, 24, 24)
    original = small(1.7)
    original.save_pretrained(tmp_path / "weights", data={"source": "made up"})
    loaded = GenderClassifier.from_pretrained(tmp_path / "weights")
    assert loaded.calibration.temperature == 1.7
    np.testing.assert_allclose(loaded.predict(faces), original.predict(faces), atol=5e-3)


def test_weights_of_another_kind_and_unknown_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="kind is 'encoder', but 'gender' is needed"):
        GenderClassifier.from_pretrained(SHIPPED.parent / "encoder")
    folder = tmp_path / "weights"
    shutil.copytree(SHIPPED, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["config_sha256"]
    config["calibration"]["bias"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"calibration|bias"):
        GenderClassifier.from_pretrained(folder)


def test_floats_that_are_no_grey_levels_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        small().predict(pictures(rng, 2, 24, 24).astype(np.float32))


def test_the_shipped_classifier_needs_no_network(rng: np.random.Generator) -> None:
    assert create_gender(device="cpu").predict(pictures(rng, 3, 48, 48)).shape == (3, 2)


@pytest.mark.parametrize(("top", "left", "side"), [(66, 176, 97), (76, 186, 77), (56, 166, 117)])
def test_the_shipped_classifier_reads_tight_crops(top: int, left: int, side: int) -> None:
    """The astronaut of scikit-image is a woman; FER-2013 would have cut her face about like this."""
    from skimage import data

    crop = data.astronaut()[top : top + side, left : left + side].copy()
    classifier = create_gender(device="cpu")
    assert classifier.predict(crop)[0, 0] > 0.8


def test_shipped_weights_and_card_are_small_and_clean() -> None:
    files = {path.name: path for path in SHIPPED.iterdir()}
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert sum(path.stat().st_size for path in files.values()) < 600_000
    assert "/" not in json.dumps(json.loads(files["config.json"].read_text()))


def test_an_unknown_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="deepface"):
        create_gender(str(tmp_path / "nowhere"))


class DeepFaceLike:
    """Answers like DeepFace's clients: of one face without the axis of faces; blueness is femininity."""

    def __init__(self, task: str, name: str, device: str) -> None:
        assert (task, name) == ("facial_attribute", "Gender")

    def predict(self, batch: NDArray[np.float32]) -> Any:
        assert batch.shape[1:] == (224, 224, 3)
        assert 0 <= batch.min() <= batch.max() <= 1
        blue = batch[..., 0].mean(axis=(1, 2))
        answers = np.stack([blue, 1 - blue], axis=1)
        return answers[0] if len(batch) == 1 else answers


@pytest.mark.parametrize("count", [0, 1, 2, 17, 33])
def test_deepface_is_asked_in_its_own_convention(count: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr("encoder.people.gender.load_deepface", DeepFaceLike)
    faces = pictures(rng, count, 20, 20, 3)
    faces[..., 2] = rng.integers(0, 256, count)[:, None, None]
    blue = faces[:, 0, 0, 2] / 255.0
    np.testing.assert_allclose(create_gender("deepface").predict(faces), np.stack([blue, 1 - blue], 1), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 8, 8, 4), np.uint8), np.zeros((2, 8, 8), np.float32), np.zeros((1, 0, 8), np.uint8)]
)
def test_deepface_refuses_what_is_no_picture(wrong: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.people.gender.load_deepface", DeepFaceLike)
    with pytest.raises(UserError, match="face 0"):
        create_gender("deepface").predict(wrong)


@pytest.mark.usefixtures("deepface_offline")
def test_deepface_without_a_network_is_one_line() -> None:
    with pytest.raises(UserError, match=r"weights cannot be had .*model_weights\.pth.*with a network") as caught:
        create_gender("deepface", device="cpu")
    assert "\n" not in str(caught.value)
