"""``python -m encoder.prepare --align``: every face in its place, nothing lost, every figure in the report."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder.data.load import load_faces
from encoder.detection import originals
from encoder.detection.centerface import CenterFaceDetector
from encoder.pictures.face_images import png_bytes
from encoder.prepare import main

TURNS = (-20, 0, 15)


def face(turn: float, side: int = 48) -> np.ndarray:
    """The astronaut's face, grey, turned."""
    image = Image.fromarray(data.astronaut()).rotate(turn, Image.Resampling.BICUBIC, center=(224, 115))
    return np.asarray(image.crop((165, 55, 285, 175)).resize((side, side), Image.Resampling.LANCZOS).convert("L"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three turned faces and one picture of nothing in train, one face each in valid and test."""
    pictures = {f"train/happy/{turn}.png": face(turn) for turn in TURNS}
    pictures |= {
        "train/sad/none.png": np.full((48, 48), 90, np.uint8),
        "valid/happy/a.png": face(5),
        "test/fear/b.png": face(-5, 96),
    }
    for name, pixels in pictures.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(pixels))
    return tmp_path / "photos"


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def image(row: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(row["image"]["bytes"]))


def test_eyes_come_to_lie_in_one_place_and_labels_stay(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree.parent / "out"
    assert main([str(tree), "--align", str(out), "--eyes", "0.36", "0.34", "--size", "64"]) == 0
    before, after = load_faces(tree, "train"), load_faces(out, "train", size=64)
    assert (after.ids, after.labels.tolist()) == (before.ids, before.labels.tolist())
    written = rows(out / "train.parquet")
    assert [row["found"] for row in written] == [True, True, True, False]
    for row in written[:3]:
        assert image(row).size == (64, 64)
        points = np.array(row["points"]).reshape(5, 2)
        assert np.allclose(points[:2].mean(axis=0), (0.5, 0.34), atol=1e-4)
        assert abs(points[1, 1] - points[0, 1]) < 1e-4
        assert row["score"] > 0.5
        # Found again where the convention wants them.
        (seen,) = CenterFaceDetector().detect(np.asarray(image(row).convert("RGB").resize((192, 192))))
        assert seen.eyes is not None
        assert np.abs(seen.eyes.mean(axis=0) / 192 - (0.5, 0.34)).max() < 0.06
    assert written[3]["score"] is written[3]["points"] is None
    assert np.array_equal(np.asarray(image(written[3])), np.full((64, 64), 90))
    # A picture that is larger than the faces of FER-2013 is cut at its own resolution.
    assert np.asarray(image(rows(out / "test.parquet")[0])).std() > 20
    facts = json.loads((out / "aligned.json").read_text())["splits"]["train"]
    assert (facts["faces"], facts["found"], facts["not_found"]) == (4, 3, 1)
    assert facts["before"]["roll"]["deviation"] > 10 > 4 > facts["after"]["roll"]["deviation"]
    assert facts["after"]["eye_height"]["median"] == pytest.approx(0.34, abs=0.03)
    assert Image.open(out / "doubtful_train.png").size[0] > 500
    assert "1 (25.0 %)" in capsys.readouterr().out


def test_every_column_of_parquet_is_kept_and_colour_if_asked(tmp_path: Path) -> None:
    source, out = tmp_path / "colour", tmp_path / "out"
    source.mkdir()
    crop = Image.fromarray(data.astronaut()).crop((140, 30, 310, 200))
    stream = io.BytesIO()
    crop.save(stream, "WEBP", lossless=True)
    row = {"source": "nasa", "person": "E. C.", "points": [0.0], "yaw": 0.5, "image": {"bytes": stream.getvalue(), "path": None}}
    pq.write_table(pa.Table.from_pylist([row]), source / "valid.parquet")
    for options in (["--colour"], []):
        assert main([str(source), "--align", str(out / str(len(options))), "--size", "80", *options]) == 0
    colour, grey = (rows(out / name / "valid.parquet")[0] for name in ("1", "0"))
    assert (colour["source"], colour["person"], colour["yaw"], len(colour["points"])) == ("nasa", "E. C.", 0.5, 10)
    assert (image(colour).mode, image(grey).mode) == ("RGB", "L")
    assert np.abs(np.asarray(image(colour).convert("L")).astype(int) - np.asarray(image(grey))).max() < 8


def test_faces_that_are_not_found_can_be_left_out(tree: Path) -> None:
    out = tree.parent / "out"
    assert main([str(tree), "--align", str(out), "--found-only"]) == 0
    assert len(rows(out / "train.parquet")) == 3
    assert json.loads((out / "aligned.json").read_text())["splits"]["train"]["not_found"] == 1


def test_stopped_it_leaves_whole_files_and_goes_on_where_it_was(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tree.parent / "out"
    read = originals.Split.read

    def stop(self: originals.Split) -> Any:
        if self.name == "valid":
            raise KeyboardInterrupt
        return read(self)

    monkeypatch.setattr(originals.Split, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        main([str(tree), "--align", str(out)])
    monkeypatch.setattr(originals.Split, "read", read)
    assert sorted(path.name for path in out.iterdir()) == ["doubtful_train.png", "train.parquet"]
    first = (out / "train.parquet").read_bytes()
    assert main([str(tree), "--align", str(out)]) == 0
    assert (out / "train.parquet").read_bytes() == first
    assert f"kept {out / 'train.parquet'}" in capsys.readouterr().out
    assert list(json.loads((out / "aligned.json").read_text())["splits"]) == ["train", "valid", "test"]
    with pytest.raises(UserError, match=r"train\.parquet: exists and was not made in this way"):
        main([str(tree), "--align", str(out), "--size", "32"])


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    good, bad = {"bytes": png_bytes(face(0)), "path": "a"}, {"bytes": b"x", "path": "b"}
    for name, images in {"train": [good, bad], "valid": [good], "test": [good]}.items():
        pq.write_table(
            pa.Table.from_pylist([{"fer2013_label": 3, "image": each} for each in images]), tmp_path / f"{name}.parquet"
        )
    with pytest.raises(UserError, match=r"train\.parquet row 1: not an image"):
        main([str(tmp_path), "--align", str(tmp_path / "refused"), "--on-error", "refuse"])
    assert main([str(tmp_path), "--align", str(tmp_path / "out")]) == 1
    assert len(rows(tmp_path / "out" / "train.parquet")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--align", "out", "--write", "other"], "leave out --write"),
        (["--align", "out", "--eyes", "0.9", "0.3"], "--eyes.*eye_distance"),
        (["--align", "out", "--size", "4"], "--size must lie between 8 and 1024"),
        (["--colour"], "--colour is for an aligned copy"),
        (["--found-only"], "--found-only is for an aligned copy"),
    ],
)
def test_what_cannot_be_meant_is_refused(tree: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    with pytest.raises(UserError, match=message):
        main([str(tree), *options])
    assert [path.name for path in tree.parent.iterdir()] == ["photos"]
