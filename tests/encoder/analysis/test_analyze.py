"""``python -m encoder.analyze``: every picture accounted for, wrong options refused, work kept."""

from __future__ import annotations

import csv
import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder import analyze
from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.rows import FaceRow
from encoder.detection.face import DetectedFace
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures import sources
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View, view_arrays
from tests.encoder.analysis.squares import Squares, scene

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run(*pictures and options)``: the command, with small weights and :class:`Squares`."""
    monkeypatch.setattr("encoder.analysis.analyzer.create_detector", lambda name: Squares())
    return lambda *arguments: analyze.main([*map(str, arguments), "--weights", str(weights)])


def write_video(path: Path, frames: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
    for number in range(frames):
        writer.write(np.ascontiguousarray(np.roll(data.astronaut(), number, axis=1)[..., ::-1]))
    writer.release()
    return path


# ---- the command on a real photograph


def test_a_photograph_gives_one_happy_face_and_an_annotated_picture(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, annotated = tmp_path / "new" / "faces.csv", tmp_path / "annotated"
    assert analyze.main([str(photograph), "--out", str(out), "--annotate", str(annotated), "--device", "cpu"]) == 0
    (row,) = csv.DictReader(out.open())
    assert row["emotion"] == "happiness"
    assert float(row["happiness"]) > 0.9
    assert sum(float(row[name]) for name in EMOTION_NAMES) == pytest.approx(1, abs=1e-4)
    assert abs(int(row["x"]) + int(row["width"]) / 2 - 224) < 10
    assert row["problem"] == row["gender"] == row["frame"] == ""
    picture = np.asarray(Image.open(annotated / "astronaut.jpg").convert("RGB"))
    # The box is drawn in the colour of happiness, which the photograph does not have.
    assert (np.abs(picture.astype(int) - [255, 193, 7]).max(axis=2) < 20).sum() > 500
    printed = capsys.readouterr()
    assert "happiness" in printed.out
    assert "1 face in 1 picture" in printed.err


def test_a_video_gives_a_row_a_frame_and_an_annotated_video(tmp_path: Path) -> None:
    video, out = write_video(tmp_path / "clip.avi"), tmp_path / "faces.jsonl"
    assert analyze.main([str(video), "--every", "4", "--out", str(out), "--annotate", str(tmp_path / "seen"), "--quiet"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["frame"] for row in rows] == [0, 4, 8]
    assert [row["time"] for row in rows] == pytest.approx([0, 0.4, 0.8])
    assert {row["emotion"] for row in rows} == {"happiness"}
    written = cv2.VideoCapture(str(tmp_path / "seen" / "clip.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(2.5)
    assert list((tmp_path / "seen").iterdir()) == [tmp_path / "seen" / "clip.mp4"]


# ---- every file accounted for


@pytest.mark.parametrize(
    ("ending", "read"),
    [
        (".csv", pd.read_csv),
        (".json", pd.read_json),
        (".jsonl", partial(pd.read_json, lines=True)),
        (".parquet", pd.read_parquet),
    ],
)
def test_bad_files_have_a_row_and_the_rest_is_done(
    run: Callable[..., int], ending: str, read: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"faces{ending}"
    assert run(folder, "--out", out) == 1
    table = read(out)
    assert list(table.columns) == list(FaceRow("").as_record())
    names = [Path(source).name for source in table["source"]]
    assert names == ["a-two.png", "a-two.png", "b-none.png", "cut.png", "empty.jpg", "text.jpg", "c-one.png"]
    problems = ["" if pd.isna(problem) else problem for problem in table["problem"]]
    assert problems[:3] == ["", "", "no face found"]
    assert problems[3].startswith("cannot be decoded")
    assert problems[4:] == ["the file is empty", "neither a picture nor a video in a known format", ""]
    assert table["face"].dropna().tolist() == [0, 1, 0]
    assert table["emotion"].notna().tolist() == [problem == "" for problem in problems]
    assert table[list(EMOTION_NAMES)].dropna().sum(axis=1).tolist() == pytest.approx([1, 1, 1], abs=1e-4)
    printed = capsys.readouterr().err
    assert "skipped" in printed
    assert "3 faces in 3 pictures; 1 without a face; 3 problems; 1 file with another ending ignored" in printed
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_readable_is_an_error(run: Callable[..., int], folder: Path) -> None:
    with pytest.raises(UserError, match=r"nothing could be read; first of 2 problems: .*empty\.jpg: the file is empty"):
        run(folder / "empty.jpg", folder / "absent.jpg")


def test_a_mistyped_name_leaves_nothing_that_stops_the_right_one(run: Callable[..., int], folder: Path, tmp_path: Path) -> None:
    table, marked = tmp_path / "new.csv", tmp_path / "marked"
    with pytest.raises(UserError, match=r"^nothing could be read; first of 2 problems: .*typo\.png: no such file$"):
        run(folder / "typo.png", folder / "absent.png", "--out", table, "--annotate", marked)
    assert not table.exists()
    assert not marked.exists()
    assert run(folder / "a-two.png", "--out", table, "--annotate", marked) == 0


def test_a_detector_that_fails_on_one_picture_costs_that_picture(encoder: EmotionEncoder) -> None:
    rows = FaceAnalyzer(encoder, Squares()).analyze([scene(1), scene(99), scene(1)]).rows
    assert [row.problem for row in rows] == [None, "detector broke", None]


def test_a_detector_that_takes_several_pictures_gets_them_together(encoder: EmotionEncoder) -> None:
    class Together(Squares):
        groups: ClassVar[list[int]] = []

        def detect_all(self, pictures: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
            self.groups.append(len(pictures))
            return [self.detect(picture) for picture in pictures]

    scenes = [scene(number % 3) for number in range(6)]
    together, alone = (FaceAnalyzer(encoder, detector).analyze(scenes).rows for detector in (Together(), Squares()))
    assert [row.as_record() for row in together] == [row.as_record() for row in alone]
    assert Together.groups == [2, 2, 2]
    list(FaceAnalyzer(encoder, Together()).stream(view_arrays(scenes), at_once=True))
    assert Together.groups[3:] == [1] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either PATHs or --camera"),
        (["a.jpg", "--camera", "0"], "give either PATHs or --camera"),
        (["a.jpg", "--action-units", "py-feat"], "add --out FILE"),
        (["a.jpg", "--every", "0"], "--every must be at least 1"),
        (["a.jpg", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["a.jpg", "--fps", "0"], "--fps must be positive"),
        (["a.jpg", "--seconds", "3"], "--seconds is for --camera"),
        (["--camera", "0", "--fps", "3"], "not --fps"),
        (["a.jpg", "--weights", "nowhere"], "nowhere: no such folder"),
        (["a.jpg", "--detector", "har"], "did you mean 'haar'"),
        (["a.jpg", "--out", "faces.xls"], r"faces\.xls: choose an ending among"),
        (["nothing/*.jpg"], "no file matches"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").touch()
    with pytest.raises(UserError, match=message):
        analyze.main(arguments)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.jpg"]


@pytest.mark.parametrize("arguments", [["--every", "2", "--fps", "3"], ["--fps", "3", "--every", "2"]])
def test_frames_are_chosen_in_one_way(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        analyze.main(["clip.mp4", *arguments])
    error = capsys.readouterr().err
    assert "not allowed with argument --" in error
    assert error.count("\n") == 1


def test_explain_alone_gets_folders_of_its_own(run: Callable[..., int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for _ in range(2):
        run(folder / "a-two.png", "--explain")
    written = sorted(path.relative_to(folder.parent).as_posix() for path in Path("out").absolute().rglob("*.jpg"))
    assert written == ["out/explained-2/a-two.jpg", "out/explained/a-two.jpg"]


def test_one_problem_is_not_the_first_of_several(run: Callable[..., int], folder: Path) -> None:
    with pytest.raises(UserError, match=r"^nothing could be read; [^;:]*empty\.jpg: the file is empty$"):
        run(folder / "empty.jpg")


def test_annotated_pictures_of_sources_with_one_name_are_numbered(run: Callable[..., int], folder: Path, tmp_path: Path) -> None:
    for name in ("x.png", "below/x.png", "deeper/x.png"):
        (tmp_path / "same" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "same" / name).write_bytes((folder / "a-two.png").read_bytes())
    assert run(tmp_path / "same", "--annotate", tmp_path / "seen") == 0
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["x-2.jpg", "x-3.jpg", "x.jpg"]


def test_neither_a_table_nor_an_annotated_picture_is_replaced_unasked(
    run: Callable[..., int], folder: Path, tmp_path: Path
) -> None:
    table, seen = tmp_path / "faces.csv", tmp_path / "seen"
    one = (folder / "a-two.png", "--annotate", seen)
    assert run(*one) == 0
    with pytest.raises(UserError, match=r"a-two\.jpg: is there already; choose another --annotate, or replace it with --over"):
        run(*one)
    assert run(folder / "deep" / "c-one.png", "--annotate", seen) == 0  # another picture, the same folder
    table.write_text("mine")
    with pytest.raises(UserError, match=r"faces\.csv: is there already; choose another --out"):
        run(*one[:1], "--out", table)
    assert table.read_text() == "mine"
    assert run(*one, "--out", table, "--overwrite") == 0
    assert table.read_text() != "mine"


def test_a_table_that_cannot_be_written_is_one_line(run: Callable[..., int], folder: Path) -> None:
    with pytest.raises(UserError, match=r"a-two\.png: cannot be made a folder"):
        run(folder, "--out", folder / "a-two.png" / "faces.csv")


# ---- work that is stopped


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after four pictures, from files or a camera."""

    def views(*_: object, **__: object) -> Iterator[View]:
        for number in range(4):
            yield View("camera:0", number, number / 10, Picture(scene(1), 132, 48))
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "view_files", views)
    monkeypatch.setattr(sources, "view_camera", views)


@pytest.mark.usefixtures("stopped")
def test_ctrl_c_keeps_the_rows_and_frames_so_far(run: Callable[..., int], folder: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "faces.json", tmp_path / "seen"
    with pytest.raises(KeyboardInterrupt, match=f"^what was read until then is in {re.escape(f'{out}, {seen}')}$"):
        run(folder, "--batch-size", "2", "--out", out, "--annotate", seen, "--quiet")
    assert [row["frame"] for row in json.loads(out.read_text())] == [0, 1, 2, 3]
    assert cv2.VideoCapture(str(seen / "camera-0.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("options", "frames"), [((), "0123"), (("--seconds", "0.15"), "01")], ids=["Ctrl-C", "the seconds asked for"]
)
def test_a_camera_ends_as_usual(
    run: Callable[..., int], options: tuple[str, ...], frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faces.csv"
    assert run("--camera", "0", *options, "--out", out) == 0
    assert [row["frame"] for row in csv.DictReader(out.open())] == [*frames]
    assert f"{len(frames)} faces in {len(frames)} pictures" in capsys.readouterr().err


# ---- what is asked of it


def test_explain_draws_the_overlay_of_each_face(run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("encoder.inference.explain")
    fake.grad_cam = lambda encoder, images: np.ones((len(images), 24, 24), np.float32)
    fake.heat_overlay = lambda image, heat: np.full((*image.shape[:2], 3), (255, 0, 255), np.uint8)
    monkeypatch.setitem(sys.modules, "encoder.inference.explain", fake)
    Image.fromarray(scene(1)).resize((660, 240)).save(tmp_path / "wide.png")
    assert run(tmp_path / "wide.png", "--annotate", tmp_path / "seen", "--explain") == 0
    assert run(tmp_path / "wide.png", "--annotate", tmp_path / "plain") == 0
    seen, plain = (np.asarray(Image.open(tmp_path / name / "wide.jpg")).astype(int) for name in ("seen", "plain"))
    pink = [255, 0, 255]
    assert (np.abs(seen - pink).max(axis=2) < 30).sum() > 2000
    assert (np.abs(plain - pink).max(axis=2) >= 30).all()
