"""Training and judging the gender classifier, on a small faces128 of drawn and random faces."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from configs.loader import load_config, validate
from encoder import evaluate_gender, train_gender
from encoder.data.face_set import FaceSet
from encoder.people.gender import GENDERS, GenderClassifier
from encoder.people.gender_assessment import accuracy_by_person, assess_gender
from encoder.people.gender_config import GenderConfig
from encoder.people.gender_data import gender_labels, load_gendered, sampling_weights, tight_crop
from encoder.people.gender_fit import GenderTask, calibrate_gender
from encoder.pictures.face_images import png_bytes

SMALL = ["model.widths=[8,16]", "preprocessing.size=16", "data.size=24", "train.batch_size=16", "train.precision=no"]


def pretend_face(gender: str, rng: np.random.Generator) -> np.ndarray:
    """Noise that is brighter in the upper half for one gender and in the lower half for the other."""
    face = rng.integers(0, 120, (24, 24))
    rows = slice(0, 12) if gender == "female" else slice(12, 24)
    face[rows] += 60
    return face.astype(np.uint8)


def write_faces128(folder: Path, people: int, rng: np.random.Generator) -> Path:
    """``people`` with one to four faces each, a third of them female, and some without name or gender."""
    rows = []

    def add(name: str, identity: str, gender: str, face: np.ndarray) -> None:
        image = {"bytes": png_bytes(face), "path": name}
        rows.append({"file": name, "identity": identity, "emotion": "neutral", "gender": gender, "image": image})

    for person in range(people):
        gender = GENDERS[int(person % 3 > 0)]
        for shot in range(1 + person % 4):
            add(f"p{person}_{shot}.jpg", f"p{person}", gender, pretend_face(gender, rng))
    for number in range(people // 5):
        add(f"nobody{number}.jpg", "", "female", pretend_face("female", rng))
        add(f"x{number}.jpg", f"x{number}", "", pretend_face("male", rng))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "faces.parquet")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    rng = np.random.default_rng(request.config.option.seed)
    return write_faces128(tmp_path_factory.mktemp("faces128"), 200, rng)


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--out", str(out), *more, "train.device=cpu", *SMALL]


def test_splits_share_nobody_and_hold_only_named_faces(data: Path) -> None:
    splits = [load_gendered(data, split, size=16) for split in ("train", "valid", "test")]
    people = [set(faces.identities.tolist()) for faces in splits if faces.identities is not None]
    assert sum(map(len, people)) == len(set.union(*people)) == 200
    assert all(name.startswith("p") for name in set.union(*people))
    assert all(set(faces.genders.tolist()) == set(GENDERS) for faces in splits if faces.genders is not None)


def test_trained_weights_tell_the_two_apart_and_the_report_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert train_gender.main(arguments(data, run, "train.epochs=6")) == 0
    stored = json.loads((run / "weights" / "config.json").read_text())
    assert stored["kind"] == "gender"
    assert str(data) not in json.dumps(stored)
    weights = str(run / "weights")
    assert evaluate_gender.main(["--data", str(data), "--weights", weights, "--out", str(out), "--device", "cpu"]) == 0
    report = json.loads((out / "gender.json").read_text())
    test = load_gendered(data, "test", size=24)
    assert report["count"] == len(test)
    assert report["whole"]["per_class"]["female"]["support"] == int((gender_labels(test) == 0).sum())
    assert report["whole"]["balanced_accuracy"] > 0.9
    low, high = report["whole"]["accuracy_interval"]
    assert low <= report["whole"]["accuracy"] <= high
    printed = capsys.readouterr().out
    assert "female  recall" in printed
    assert f"{len(test)} faces" in printed


@pytest.mark.parametrize("stop_at", [5, 30])
def test_interrupted_and_resumed_equals_unbroken(
    data: Path, tmp_path: Path, stop_at: int, signal_in_step: Any, differing: Any
) -> None:
    settings = ("train.epochs=2",)
    assert train_gender.main(arguments(data, tmp_path / "whole", *settings)) == 0
    with signal_in_step(GenderTask, stop_at, signal.SIGINT):
        assert train_gender.main(arguments(data, tmp_path / "broken", *settings)) == 130
    assert not (tmp_path / "broken" / "weights").exists()
    assert train_gender.main(arguments(data, tmp_path / "broken", "--resume", "latest", *settings)) == 0
    assert differing(tmp_path / "whole", tmp_path / "broken") == []


def test_both_genders_are_drawn_equally_and_no_person_dominates() -> None:
    identities = np.array(["a"] * 100 + ["b", "c", "d"], object)
    genders = np.array(["male"] * 101 + ["female"] * 2, object)
    faces = FaceSet(
        images=np.zeros((103, 8, 8), np.uint8),
        labels=np.full(103, -1, np.int8),
        votes=np.zeros((103, 8), np.float32),
        ids=tuple(map(str, range(103))),
        source="made up",
        identities=identities,
        genders=genders,
    )
    weights = sampling_weights(faces)
    assert weights[genders == "female"].sum() == pytest.approx(weights[genders == "male"].sum())
    assert weights[identities == "a"].sum() == pytest.approx(10 * weights[identities == "b"].sum())


def test_errors_that_pile_up_on_one_person_widen_the_interval(rng: np.random.Generator) -> None:
    identities = np.repeat([f"p{number}" for number in range(50)], 4)
    piled, spread = np.ones(200, bool), np.ones(200, bool)
    piled[:4] = False
    spread[[0, 40, 80, 120]] = False
    of_piled, of_spread = (accuracy_by_person(each, identities) for each in (piled, spread))
    assert of_piled["accuracy_of_people"] == of_spread["accuracy_of_people"] == 0.98
    (low, high), (lower, higher) = (each["accuracy_interval_by_person"] for each in (of_spread, of_piled))
    assert lower < low < 0.98 < high <= higher
    order = rng.permutation(200)
    assert accuracy_by_person(piled[order], identities[order]) == of_piled
    one_each = accuracy_by_person([True, False, False, False], ["a", "b", "b", "b"])
    assert one_each["accuracy_of_people"] == 0.5


@pytest.mark.parametrize("size", [16, 48, 63, 128])
def test_the_tight_crop_is_the_centre(size: int) -> None:
    images = np.zeros((2, size, size), np.uint8)
    images[:, size // 2, size // 2] = 255
    cut = tight_crop(images)
    assert cut.shape[1] == cut.shape[2]
    assert abs(cut.shape[1] / size - 0.8) < 0.1
    assert cut[:, cut.shape[1] // 2, cut.shape[2] // 2].tolist() == [255, 255]


def test_temperature_cools_an_overconfident_network(
    data: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from encoder.config import PreprocessingConfig
    from encoder.people.gender import GenderNet
    from encoder.people.gender_config import GenderCalibration, GenderModelConfig

    valid = load_gendered(data, "valid", size=16)
    labels = gender_labels(valid)
    wrong = rng.permutation(len(labels)) < len(labels) // 4
    sure = np.where((labels ^ wrong)[:, None] == np.arange(2), 6.0, -6.0)
    classifier = GenderClassifier(GenderNet(GenderModelConfig(widths=(4,))), PreprocessingConfig(), GenderCalibration())
    monkeypatch.setattr(classifier, "logits", lambda images: sure)
    assert calibrate_gender(classifier, valid).temperature > 2


def test_missing_data_and_unknown_settings_are_one_line(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match=r"data\.path: say where faces128 is: --data FOLDER"):
        train_gender.main(["--out", str(tmp_path / "run")])
    with pytest.raises(UserError, match="no such file"):
        train_gender.main(arguments(tmp_path / "nowhere", tmp_path / "run"))
    with pytest.raises(UserError, match="did you mean epochs"):
        train_gender.main(["--data", "x", "train.epoch=3"])
    assert not (tmp_path / "run").exists()
    few = write_faces128(tmp_path / "few", 2, rng)
    with pytest.raises(UserError, match=r"does not hold faces of both|names no person"):
        train_gender.main(arguments(few, tmp_path / "run"))


def test_the_shipped_configuration_is_the_one_of_the_shipped_weights() -> None:
    folder = Path(__file__).resolve().parents[3] / "pretrained" / "gender"
    # Settings that came later stand at their defaults.
    stored = validate(GenderConfig, json.loads((folder / "config.json").read_text())["training"]["config"], "stored")
    config = load_config(GenderConfig, "configs/encoder/gender.yaml").model_dump(mode="json", exclude={"data": {"path"}})
    assert stored.model_dump(mode="json", exclude={"data": {"path"}}) == config


@pytest.mark.realdata
def test_shipped_weights_reach_93_percent_of_people_they_never_saw(real_data: Path) -> None:
    from encoder.people.gender import create_gender

    test, train = (load_gendered(real_data / "faces128", split, size=128) for split in ("test", "train"))
    assert test.identities is not None
    assert train.identities is not None
    assert set(test.identities) & set(train.identities) == set()
    report = assess_gender(create_gender(device="cpu"), test)
    for part in ("whole", "tight"):
        assert report[part]["accuracy"] >= 0.93
        assert report[part]["balanced_accuracy"] >= 0.93
