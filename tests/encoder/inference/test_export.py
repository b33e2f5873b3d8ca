"""The ONNX file gives PyTorch's answers for any number of faces and says how to use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.cli import UserError
from encoder import export
from encoder.config import CalibrationConfig, HeadCalibration
from encoder.drawing.faces import draw_faces
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.evaluation import precisions
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.onnx_graph import open_session

pytest.importorskip("onnxscript", reason="the extra onnx is not installed (pip install 'mimique[onnx]')")
onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed (pip install 'mimique[onnx]')")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, small_encoder: Callable[..., EmotionEncoder]) -> Path:
    """A small network with a prior correction and temperatures that would be missed if they were left out."""
    encoder = small_encoder()
    for head in encoder.net.heads.values():
        head.weight.data.mul_(8.0)
    prior = tuple(np.log(np.arange(1, 9) / 36.0).tolist())
    heads = {"fer2013": HeadCalibration(temperature=1.7), "ferplus": HeadCalibration(temperature=0.6, tau=0.5, log_prior=prior)}
    encoder.calibration = CalibrationConfig(answer="ferplus", heads=heads)
    folder = tmp_path_factory.mktemp("run") / "weights"
    encoder.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    files = {}
    for kind in ("float32", "uint8"):
        files[kind] = tmp_path_factory.mktemp("onnx") / f"{kind}.onnx"
        assert export.main(["--weights", str(weights), "--input", kind, "--out", str(files[kind])]) == 0
    return files


def answers(file: Path, faces: np.ndarray) -> dict[str, Any]:
    session = open_session(str(file), threads=1)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"faces": faces}), strict=True))


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_answers_are_those_of_pytorch(exported: dict[str, Path], weights: Path, kind: str, count: int) -> None:
    faces = draw_faces(count, seed=3, size=24).images[:, None]
    given = faces if kind == "uint8" else (faces / 255.0).astype(np.float32)
    wanted = EmotionEncoder.from_pretrained(weights).predict(faces, runtime="pytorch")
    found = answers(exported[kind], given)
    assert set(found) == {"distribution", "fer2013", "ferplus", "embedding"}
    for name, tensor in {**wanted.heads, "distribution": wanted.distributions, "embedding": wanted.embeddings}.items():
        assert found[name] == pytest.approx(tensor.numpy(), abs=1e-4)
    assert found["distribution"].sum(axis=1) == pytest.approx(np.ones(count), abs=1e-5)


def test_the_shipped_encoder_keeps_its_answers(tmp_path: Path) -> None:
    encoder = EmotionEncoder.from_pretrained(ROOT / "pretrained" / "encoder")
    (tmp_path / "shipped.onnx").write_bytes(export.to_onnx(encoder))
    faces = (draw_faces(9, seed=1, size=encoder.preprocessing.size).images[:, None] / 255.0).astype(np.float32)
    assert answers(tmp_path / "shipped.onnx", faces)["distribution"] == pytest.approx(
        encoder.predict(faces, runtime="pytorch").distributions.numpy(), abs=1e-4
    )


def test_the_file_is_valid_and_says_how_to_use_it(exported: dict[str, Path]) -> None:
    model = onnx.load(exported["uint8"])
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["labels"]) == list(EMOTION_NAMES)
    assert json.loads(said["heads"])["ferplus"] == list(FERPLUS_NAMES)
    assert json.loads(said["preprocessing"])["input"] == "(N, 1, 24, 24) uint8 0 to 255"
    assert said["answer"] == "ferplus"


def test_the_file_tells_nothing_of_the_machine_that_made_it(exported: dict[str, Path]) -> None:
    assert str(ROOT).encode() not in exported["float32"].read_bytes()


@pytest.mark.parametrize("gap", [0.5, float("nan")])
def test_a_graph_that_answers_otherwise_is_not_written(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: float
) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda *_arguments, **_options: b"")
    monkeypatch.setattr(export, "largest_gap", lambda *_arguments: gap)
    with pytest.raises(UserError, match="nothing was written"):
        export.main(["--weights", str(weights), "--out", str(tmp_path / "e.onnx")])
    assert list(tmp_path.iterdir()) == []


def test_another_network_is_noticed(exported: dict[str, Path], weights: Path) -> None:
    encoder = EmotionEncoder.from_pretrained(weights)
    encoder.calibration = CalibrationConfig(answer="fer2013")
    assert export.largest_gap(exported["float32"].read_bytes(), encoder, "float32") > 0.01


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(UserError, match=r"needs onnx: pip install 'mimique\[onnx\]'"):
        export.main(["--out", str(tmp_path / "e.onnx")])


def test_int_eight_is_small_reads_alike_and_carries_its_proof(
    weights: Path, exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "int8.onnx"
    assert export.main(["--weights", str(weights), "--precision", "int8", "--data", "drawn", "--out", str(file)]) == 0
    said = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(said["labels"]) == list(EMOTION_NAMES)
    proof = json.loads(said["precision"])
    assert proof["compared_on"] == "drawn valid"
    assert set(proof["fer2013"]["difference"]["accuracy"]) == {"difference", "low", "high"}
    assert "int8 minus float32 on drawn valid" in capsys.readouterr().out
    faces = (draw_faces(20, seed=5, size=24).images[:, None] / 255.0).astype(np.float32)
    whole, small = answers(exported["float32"], faces)["distribution"], answers(file, faces)["distribution"]
    assert small == pytest.approx(whole, abs=0.15)
    assert not np.array_equal(small, whole)


def test_int_eight_that_reads_worse_is_not_written(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A gain that no model can make, so that any difference counts as a loss.
    monkeypatch.setattr(precisions, "ALLOWED_LOSS", {"accuracy": -1.1})
    with pytest.raises(UserError, match="int8 costs too much, nothing was written: fer2013 accuracy"):
        export.main(["--weights", str(weights), "--precision", "int8", "--data", "drawn", "--out", str(tmp_path / "e.onnx")])
    assert list(tmp_path.iterdir()) == []


def test_losses_are_held_against_what_is_allowed() -> None:
    figures = {"accuracy": {"difference": -0.012}, "balanced_accuracy": {"difference": -0.019}}
    (found,) = precisions.losses_too_large({"fer2013": {"difference": figures}})
    assert found.startswith("fer2013 accuracy -0.0120")
    lost = {"accuracy": {"difference": float("nan")}, "balanced_accuracy": {"difference": 0.0}}
    assert len(precisions.losses_too_large({"fer2013": {"difference": lost}})) == 1


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        (["--precision", "int8"], "e.onnx", "belong together"),
        (["--data", "drawn"], "e.onnx", "belong together"),
        ([], "none/e.onnx", "there is no folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line(options: list[str], name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export.main([*options, "--out", str(tmp_path / name)])
