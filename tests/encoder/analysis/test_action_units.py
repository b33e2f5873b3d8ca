"""Action units by a stand-in of py-feat's interface: asked as its release 2.1 wants it, and in every table."""

from __future__ import annotations

import csv
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder import analyze
from encoder.analysis.action_units import PyFeatUnits, create_action_units
from encoder.analysis.analyzer import FaceAnalyzer
from encoder.detection.face import DetectedFace
from encoder.inference.emotion_encoder import EmotionEncoder

UNITS = ["AU01", "AU02", "AU12"]
COLUMNS = (*UNITS, "valence", "arousal")
BOXES = {"left": (10, 30), "right": (100, 30)}


class Detectorv2:
    """Answers the mean red, green and blue of a patch's middle as units, and finds no face where that is dark."""

    found: Callable[[np.ndarray], list[tuple[float, float, float, float]]]

    def __init__(self, device: Any = "cpu", identity_model: str | None = "arcface") -> None:
        assert isinstance(device, torch.device)
        assert identity_model is None
        print("Loading RetinaFace")
        torch.set_grad_enabled(False)  # as the real one does, for the whole process
        self.multitask = types.SimpleNamespace(au_names=list(UNITS))

    def detect(self, inputs: torch.Tensor, data_type: str = "image", batch_size: int = 1, progress_bar: bool = True) -> Any:
        assert (data_type, progress_bar, inputs.dtype, inputs.shape[1:]) == ("tensor", False, torch.uint8, (3, 320, 320))
        assert batch_size >= 1
        rows = []
        for frame, patch in enumerate(inputs.numpy()):
            for box in type(self).found(patch) or [(np.nan,) * 4]:
                colour = patch[:, 140:180, 140:180].mean(axis=(1, 2)) / 255
                # Of a face away from the middle other units.
                colour = colour if abs(box[0] + box[2] / 2 - 160) < 20 else np.full(3, 0.5)
                values = [*colour, colour[0] - colour[2], -0.25] if np.isfinite(box[0]) else [np.nan] * 5
                rows.append({"frame": frame, **dict(zip(COLUMNS, values, strict=True))})
                rows[-1] |= dict(zip(("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"), box, strict=True))
        return pd.DataFrame(rows)


@pytest.fixture
def feat(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("feat")
    module.Detectorv2 = Detectorv2
    Detectorv2.found = staticmethod(lambda patch: [(90, 80, 140, 170)] if patch[:, 160, 160].any() else [])
    monkeypatch.setitem(sys.modules, "feat", module)
    return module


class TwoFaces:
    """Faces of 40 pixels at :data:`BOXES`."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace((*corner, 40, 40), 1.0) for corner in BOXES.values()]


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    pixels = np.full((100, 160, 3), 40, np.uint8)
    pixels[30:70, 10:50], pixels[30:70, 100:140] = left, right
    return pixels


RED, BLACK = (255, 51, 0), (0, 0, 0)


@pytest.mark.usefixtures("feat")
def test_each_face_gets_its_own_units_and_none_where_py_feat_sees_no_face(
    encoder: EmotionEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert torch.is_grad_enabled()
    analyzer = FaceAnalyzer(encoder, TwoFaces(), action_units=create_action_units("py-feat", device="cpu"))
    analysis = analyzer.analyze([picture(RED, BLACK), picture(BLACK, RED)])
    first, dark, _, last = analysis.faces
    assert first.units == pytest.approx({"AU01": 1.0, "AU02": 0.2, "AU12": 0.0, "valence": 1.0, "arousal": -0.25}, abs=0.02)
    assert last.units == pytest.approx(first.units, abs=0.02)
    assert dark.units == dict.fromkeys(COLUMNS)
    frame = analysis.to_dataframe()
    assert list(frame.columns)[-6:] == [*COLUMNS, "problem"]
    assert frame["AU01"].isna().tolist() == [False, True, True, False]
    assert str(frame["valence"].dtype) == "float64"
    # py-feat turns gradients off and prints; neither may reach the rest of the program.
    assert torch.is_grad_enabled()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("feat")
def test_of_several_faces_in_a_patch_the_middle_one_counts_and_a_neighbour_never() -> None:
    reader = PyFeatUnits("cpu")
    assert reader.read([]).shape == (0, len(COLUMNS))
    patch = np.full((320, 320, 3), 102, np.uint8)
    middle, beside, around = (100, 90, 120, 140), (0, 90, 90, 140), (20, 0, 300, 320)
    for boxes, expected in (([middle, beside], 0.4), ([beside, middle, around], 0.4), ([beside], np.nan), ([], np.nan)):
        Detectorv2.found = staticmethod(lambda patch, boxes=boxes: boxes)
        np.testing.assert_allclose(reader.read([patch])[0, :3], expected, atol=0.01)


@pytest.mark.usefixtures("feat")
def test_the_patch_shows_the_face_upright_with_room_around() -> None:
    """A face of 40 pixels that lies on its side: its eyes come to be level, and it fills half of the patch."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[80:120, 80:120] = 255
    eyes = np.array([[105, 92], [105, 108]], np.float32)
    patch = PyFeatUnits("cpu").cut(pixels, DetectedFace((80, 80, 40, 40), 1.0, eyes))
    assert patch.shape == (320, 320, 3)
    bright = np.flatnonzero(patch[160, :, 0] > 128)
    assert 140 < len(bright) < 170


@pytest.mark.usefixtures("feat")
@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_the_program_writes_named_columns(ending: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.analysis.analyzer.create_detector", lambda name: TwoFaces())
    Image.fromarray(picture(RED, BLACK)).save(tmp_path / "two.png")
    (tmp_path / "broken.png").write_text("no picture")
    out = tmp_path / f"faces.{ending}"
    options = ["--weights", str(weights), "--action-units", "py-feat", "--out", str(out), "--device", "cpu", "--quiet"]
    assert analyze.main([str(tmp_path), *options]) == 1
    if ending == "csv":
        with out.open(newline="") as file:
            table = pd.DataFrame(list(csv.DictReader(file))).replace("", None)
    else:
        table = pd.read_parquet(out) if ending == "parquet" else pd.read_json(out, lines=True)
    assert set(COLUMNS) < set(table.columns)
    table = table.set_index(["source", "face"])
    assert table["AU01"].astype(float).notna().sum() == 1
    assert table["AU02"].astype(float).max() == pytest.approx(0.2, abs=0.02)


def test_without_the_option_py_feat_is_not_needed(encoder: EmotionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feat", None)
    (face, _) = FaceAnalyzer(encoder, TwoFaces()).analyze(picture(RED, RED)).faces
    assert face.units is None
    with pytest.raises(UserError, match=r"py-feat needs a package that is missing .*\.\[action-units\]") as caught:
        create_action_units("py-feat")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_had_is_one_line(feat: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**options: Any) -> None:
        torch.set_grad_enabled(False)
        raise OSError("We couldn't connect to the hub\nto load the files")

    monkeypatch.setattr(feat, "Detectorv2", offline)
    with pytest.raises(UserError, match=r"weights cannot be had \(We couldn't connect to the hub to load .*downloads them"):
        create_action_units("py-feat", device="cpu")
    assert torch.is_grad_enabled()
    monkeypatch.delattr(feat, "Detectorv2")
    with pytest.raises(UserError, match=r"no Detectorv2.*\.\[action-units\]"):
        create_action_units("py-feat", device="cpu")
    with pytest.raises(UserError, match="'openface': choose py-feat"):
        create_action_units("openface")


@pytest.mark.usefixtures("feat")
def test_another_answer_than_that_of_the_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PyFeatUnits("cpu")
    monkeypatch.setattr(Detectorv2, "detect", lambda self, *rest, **options: pd.DataFrame({"frame": [0]}))
    with pytest.raises(UserError, match="not what this release knows"):
        reader.read([np.zeros((320, 320, 3), np.uint8)])
