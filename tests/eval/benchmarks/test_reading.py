"""The benchmark of reading beside DeepFace: scenes with faces that are found, turns for everybody. Nothing is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder.detection.registry import create_detector
from encoder.pictures.pictures import read_picture
from encoder.pictures.videos import Video
from eval.benchmarks import reading, scenes


@pytest.fixture
def faces() -> np.ndarray:
    """Two pictures of the astronaut's face."""
    face = Image.fromarray(data.astronaut()).crop((150, 20, 300, 170)).convert("L").resize((64, 64))
    return np.stack([np.asarray(face), np.asarray(face)[:, ::-1]])


def test_photographs_have_one_face_and_depend_on_the_seed(faces: np.ndarray, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "again", "other")]
    made = []
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        folder.mkdir()
        made.append([Path(name).read_bytes() for name in scenes.make_photographs(faces, folder, 3, seed)])
    assert made[0] == made[1] != made[2]
    detector = create_detector("centerface")
    for file in sorted(folders[0].iterdir()):
        picture = read_picture(file).pixels
        assert picture.shape == (768, 1024, 3)
        assert len(detector.detect(picture)) == 1


def test_the_video_has_two_faces_that_move(faces: np.ndarray, tmp_path: Path) -> None:
    scenes.make_video(faces, tmp_path / "v.mp4", 6, 0)
    frames = [frame.pixels for frame in Video(tmp_path / "v.mp4")]
    assert [frame.shape for frame in frames] == [(720, 1280, 3)] * 6
    found = [create_detector("centerface").detect(frame) for frame in (frames[0], frames[3])]
    assert [len(each) for each in found] == [2, 2]
    assert found[0][0].box != found[1][0].box


def test_a_video_that_cannot_be_written_is_one_line(faces: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoWriter", lambda *_: type("None", (), {"isOpened": lambda _: False})())
    with pytest.raises(UserError, match="OpenCV cannot write"):
        scenes.make_video(faces, tmp_path / "v.mp4", 2, 0)


def test_readers_take_turns_and_begin_in_turn() -> None:
    order: list[tuple[str, int]] = []

    def reader(name: str) -> reading.Read:
        return lambda piece: order.append((name, len(piece))) or len(piece)

    found = reading.by_turns({name: reader(name) for name in "abc"}, [[1, 2], [3, 4], [5]])
    warm, turns = order[:3], order[3:]
    assert warm == [("a", 1), ("b", 1), ("c", 1)]
    assert "".join(name for name, _ in turns) == "abcbcacab"
    assert [row["read"] for row in found.values()] == [5, 5, 5]
    assert all(len(row["seconds"]) == 3 for row in found.values())


def test_the_table_says_what_was_measured_and_nothing_of_aims() -> None:
    def row(milliseconds: float, core: float) -> dict[str, object]:
        return {"milliseconds": milliseconds, "milliseconds_of_a_core": core, "read": 7}

    parts = {
        "crops, 64 at once": {"encoder": row(2.0, 4.0), "fast": row(0.5, 0.5), "DeepFace": row(6.0, 6.0)},
        "photographs": {"encoder": row(10.0, 10.0), "DeepFace": row(30.0, 20.0)},
    }
    video = {"frames": 3, "faces": 6, "frames_per_second": 20.0, "frames_per_second_of_a_core": 9.0}
    report = {"threads": 2, "seed": 0, "photographs": 7, "rounds": 1, "machine": {"processor": "P"}, "deepface": "random weights"}
    text = "\n".join(reading.format_table({**report, "parts": parts, "video": video}))
    assert "3.00 x 1.50 x 7" in " ".join(text.split())
    assert "20.0 frames/s, 9.0 a second of a core" in text
    assert "target" not in text


def test_the_program_reads_crops_photographs_and_a_video(tmp_path: Path) -> None:
    out = tmp_path / "reading.json"
    options = ["--photographs", "2", "--frames", "2", "--rounds", "1", "--threads", "1", "--out", str(out)]
    command = [sys.executable, "-m", "eval.benchmarks.reading", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert list(report["parts"]) == ["crops, one at a time", "crops, 64 at once", "photographs"]
    ours, theirs = {"encoder", "fast"}, {"DeepFace"}
    photographs = report["parts"].pop("photographs")
    assert set(photographs) == ours | theirs
    assert photographs["encoder"]["read"] == 2
    assert all(set(rows) == ours | {f"{name}, PyTorch" for name in ours} | theirs for rows in report["parts"].values())
    assert report["video"]["frames"] == 2
    assert report["video"]["faces"] >= 2
    assert "target" not in done.stdout


def test_numbers_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="--frames"):
        reading.main(["--frames", "1"])
