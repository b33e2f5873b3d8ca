"""The attribute probe as people use it: loaded with its encoder and no other, asked for probabilities."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.attributes.__main__ import main
from encoder.attributes.labels import ATTRIBUTES, labelled_faces, read_labels, truths
from encoder.attributes.probe import FEATURES, FaceAttributes, FaceFeatures, Features, Linear, ProbeCalibration, ProbeConfig
from encoder.data.face_parquet import write_parquet_splits
from encoder.drawing.faces import drawn_set

SHIPPED = Path(__file__).resolve().parents[3] / "pretrained"


@pytest.fixture
def stored(tmp_path: Path, small_encoder: Callable[..., Any]) -> Callable[..., tuple[Path, Path]]:
    """Folders of a probe with random weights and of the encoder it names."""

    def write(features: Features = "stages", seed: int = 0) -> tuple[Path, Path]:
        encoder = small_encoder(seed=seed)
        encoder.save_pretrained(tmp_path / f"encoder{seed}")
        sha256 = json.loads((tmp_path / f"encoder{seed}" / "config.json").read_text())["sha256"]
        width = FaceFeatures(encoder).read(np.zeros((1, 24, 24), np.uint8), (features,))[features].shape[1]
        probe = Linear(width)
        probe.load_state_dict({"weight": torch.randn(len(ATTRIBUTES), width), "bias": torch.randn(len(ATTRIBUTES))})
        config = ProbeConfig(features=features, width=width, attributes=ATTRIBUTES, encoder_sha256=sha256)
        thresholds = {name: 0.1 * place for place, name in enumerate(ATTRIBUTES, 1)}
        made = FaceAttributes(encoder, probe, config, ProbeCalibration(thresholds=thresholds))
        made.save_pretrained(tmp_path / f"probe{seed}")
        return tmp_path / f"probe{seed}", tmp_path / f"encoder{seed}"

    return write


def pictures(rng: np.random.Generator, *shape: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("features", list(FEATURES))
def test_any_faces_give_a_probability_of_each_attribute(
    features: Features, stored: Callable[..., tuple[Path, Path]], rng: np.random.Generator
) -> None:
    probe = FaceAttributes.from_pretrained(*stored(features))
    for shape in ((5, 48, 48), (5, 1, 30, 30), (5, 60, 60, 3)):
        said = probe.predict(pictures(rng, *shape))
        assert said.shape == (5, len(ATTRIBUTES))
        assert said.dtype == np.float32
        assert ((said >= 0) & (said <= 1)).all()
    assert probe.predict(np.zeros((0, 48, 48), np.uint8)).shape == (0, len(ATTRIBUTES))


def test_the_answer_depends_on_the_face_alone_and_not_on_its_side(
    stored: Callable[..., tuple[Path, Path]], rng: np.random.Generator
) -> None:
    probe, faces = FaceAttributes.from_pretrained(*stored()), pictures(rng, 19, 24, 24)
    together = probe.predict(faces)
    np.testing.assert_allclose(together, np.concatenate([probe.predict(face) for face in faces]), atol=1e-5)
    np.testing.assert_allclose(together, probe.predict(faces[:, :, ::-1].copy()), atol=1e-5)
    assert (probe.shown(faces) == (together >= np.float32([0.1, 0.2, 0.3, 0.4, 0.5]))).all()


def test_another_encoder_is_refused_in_one_line(stored: Callable[..., tuple[Path, Path]]) -> None:
    (probe, _), (_, other) = stored(seed=0), stored(seed=1)
    with pytest.raises(UserError, match=r"another encoder than .*; fit it again: python") as refused:
        FaceAttributes.from_pretrained(probe, other)
    assert "\n" not in str(refused.value)


def test_a_probe_that_does_not_fit_is_refused(stored: Callable[..., tuple[Path, Path]]) -> None:
    probe, encoder = stored()
    original = json.loads((probe / "config.json").read_text())
    del original["config_sha256"]

    def with_model(**changes: Any) -> None:
        (probe / "config.json").write_text(json.dumps({**original, "model": {**original["model"], **changes}}))

    with_model(attributes=["object"])
    with pytest.raises(UserError, match="attributes and thresholds must be those of object, text"):
        FaceAttributes.from_pretrained(probe, encoder)
    with_model(features="embedding")
    with pytest.raises(UserError, match=r"features, but .* gives 16"):
        FaceAttributes.from_pretrained(probe, encoder)
    with_model(features="guesses")
    with pytest.raises(UserError, match="features"):
        FaceAttributes.from_pretrained(probe, encoder)


def test_no_probe_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        FaceAttributes.from_pretrained(tmp_path / "none")


def test_the_program_counts_by_emotion(
    stored: Callable[..., tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe, encoder = stored()
    write_parquet_splits(tmp_path / "faces", {"train": drawn_set("train", 21, seed=1)})
    asked = ["--count", "train", "--data", str(tmp_path / "faces"), "--probe", str(probe), "--weights", str(encoder)]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    table = json.loads((tmp_path / "out" / "attributes.json").read_text())["shares"]
    assert table["all"]["count"] == 21
    assert "fear" in capsys.readouterr().out


def test_the_program_refuses_missing_data_before_it_reads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "probe")])
    with pytest.raises(UserError, match="--out: name a folder"):
        main(["--data", str(tmp_path)])


def test_the_shipped_probe_fits_the_shipped_encoder_and_says_its_figures() -> None:
    probe = FaceAttributes.from_pretrained(SHIPPED / "attributes", SHIPPED / "encoder")
    assert probe.predict(drawn_set("train", 4, seed=0).images).shape == (4, len(ATTRIBUTES))
    metrics = json.loads((SHIPPED / "attributes" / "config.json").read_text())["metrics"]
    card = (SHIPPED / "attributes" / "README.md").read_text(encoding="utf-8")
    for name in ATTRIBUTES:
        row = metrics["valid"][name]
        assert f"| {name} | {row['positives']} | {row['area_under_curve']:.3f} " in card


@pytest.mark.realdata
def test_the_shipped_probe_gives_its_published_figures(real_data: Path) -> None:
    rows = [row for row in read_labels() if row.split == "valid"]
    probe = FaceAttributes.from_pretrained(SHIPPED / "attributes", SHIPPED / "encoder")
    faces = labelled_faces(rows, real_data, 48)
    agreed = (probe.shown(faces) == truths(rows)).mean(axis=0)
    metrics = json.loads((SHIPPED / "attributes" / "config.json").read_text())["metrics"]["valid"]
    np.testing.assert_allclose(agreed, [metrics[name]["accuracy"] for name in ATTRIBUTES], atol=0.0101)


def test_a_copy_of_the_probe_without_its_weights_is_refused(stored: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
    probe, encoder = stored()
    shutil.copytree(probe, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        FaceAttributes.from_pretrained(tmp_path / "half", encoder)
