"""``python -m generation.edit``: the expression changes, the rest stays, every picture is accounted for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.detection.align import face_square
from encoder.detection.face import DetectedFace
from encoder.drawing.faces import draw_faces
from encoder.emotions import Emotion
from encoder.inference.emotion_encoder import EmotionEncoder
from generation.edit import MISSED_EXIT, SKIPPED_EXIT, main
from generation.editing.files import file_names
from generation.pipeline import FacePipeline

Edit = Callable[..., int]
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


class Squares:
    """A detector that finds what the first pixel says: (k, 0, 0) means k faces of 40, 39, … pixels side by side."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace((2 + 42 * k, 2, 40 - k, 40 - k)) for k in range(int(picture[0, 0, 0]))]


class Brightness:
    """An embedder for which a person is a mean luma."""

    name, metric, threshold = "brightness", "euclidean", 1000.0

    def embed(self, crops: list[np.ndarray]) -> np.ndarray:
        return np.array([[crop.mean()] for crop in crops], np.float32)


def scene(faces: int, seed: int = 0) -> np.ndarray:
    picture = np.zeros((48, 132, 3), np.uint8)
    for k, face in enumerate(draw_faces(max(faces, 1), seed=seed, size=40).images[:faces]):
        picture[2:42, 2 + 42 * k : 42 + 42 * k] = face[..., None]
    picture[0, 0] = (faces, 0, 0)
    return picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(scene(1)).save(folder / "a.png")
    Image.fromarray(scene(2, seed=1)).save(folder / "deep" / "a.png")
    Image.fromarray(scene(0)).save(folder / "empty.png")
    (folder / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture
def edit(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """``edit(out, *pictures and options)``: the command, with ``Squares`` as its detector."""
    monkeypatch.setattr("encoder.detection.registry.create_detector", lambda name: Squares())
    easy = ["--weights", str(weights), "--judge", str(weights / "encoder"), "--device", "cpu", "--steps", "2", "--count", "3"]
    return lambda out, *more: main([*map(str, more), "--emotion", "joy", "--out", str(out), "--threshold", "0", *easy])


# ---- with the shipped weights


def test_a_generated_face_is_edited_as_it_is(shipped: FacePipeline) -> None:
    picture = shipped.draw_all(shipped.request("neutral", 1, 7)).faces[0].image
    edited = shipped.edit(picture, "joy", count=2, seed=0)
    assert (edited.corner, edited.before.part.shape) == ((0, 0), picture.shape)
    # A close-up of more than there is would have to invent a border.
    assert np.array_equal(edited.close_up(edited.before, picture.shape[0]), picture)
    after = edited.render(edited.edits[0]).astype(int)
    assert np.abs(after - picture)[:4].max() <= 1
    assert np.abs(after - picture).max() > 20
    # A smile needs no other eyes: who it is is seen there.
    assert edited.edits[0].verdict.top is Emotion.HAPPINESS
    assert edited.edits[0].upper == 0
    assert np.array_equal(after[:50], picture[:50])


def test_a_photograph_is_edited_and_the_rest_stays(shipped: FacePipeline) -> None:
    picture = pytest.importorskip("skimage.data").astronaut()
    judge = EmotionEncoder.from_pretrained(PRETRAINED / "judge")
    edited = shipped.edit(picture, "surprise", count=3, strip=(0.0, 1.0), judge=judge, embedder=Brightness())
    assert edited.before.verdict.top is Emotion.HAPPINESS
    best = edited.edits[0]
    assert best.verdict.top is Emotion.SURPRISE
    assert best.judged is not None
    assert np.argmax(best.judged) == Emotion.SURPRISE
    assert best.change == min(edit.change for edit in edited.edits if edit.verdict.accepted)
    made = edited.render(best)
    changed = (made != picture).any(axis=2)
    place = face_square(edited.face, shipped.tokenizer.config.crop)
    # A face that leans needs more room than a level one.
    half = place.side / 2 * 1.1
    left, top, right, bottom = (round(edge) for edge in (place.x - half, place.y - half, place.x + half, place.y + half))
    inside = np.zeros_like(changed)
    inside[top - 4 : bottom + 5, left - 4 : right + 5] = True
    assert not changed[~inside].any()
    assert changed[inside].mean() > 0.2
    low, high = (shown.verdict.distribution[Emotion.SURPRISE] for shown in edited.strip)
    assert low < 0.3 < high
    assert best.identity is not None
    assert best.identity.distance < 20
    assert {edit.upper for edit in edited.strip} == {best.upper}
    again = shipped.edit(Image.fromarray(picture), "surprise", count=1, seed=best.seed)
    assert again.edits[0].upper == best.upper
    # Of another number of faces at once, sums differ in their last bits: by one grey level at most.
    assert np.abs(again.edits[0].part.astype(int) - best.part).max() <= 1


# ---- the command


def test_files_of_one_picture_say_what_they_are(
    edit: Edit, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert edit(out, photos / "a.png", "--strip", "3", "--mark") in (0, MISSED_EXIT)
    printed = capsys.readouterr().out
    assert "before" in printed
    assert "identity was not measured" in printed
    names = {"a.png", "a-proposals.png", "a-strip.png", "a.json", "manifest.json"}
    assert {path.name for path in out.iterdir()} == names
    record = json.loads((out / "a.json").read_text())
    assert record["identity_measured_by"] is None
    assert [proposal["identity"] for proposal in record["proposals"]] == [None] * 3
    assert [shown["intensity"] for shown in record["strip"]] == [0, 0.5, 1]
    assert json.loads((out / "manifest.json").read_text())["pictures"] == [record]
    for name in record["files"]:
        with Image.open(out / name) as picture:
            assert picture.text["AI-generated"] == "true"
            assert "changed by AI" in picture.text["Description"]
            assert "compositeWithTrainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
            # What the original is called may be the name of a person.
            assert picture.text["Source"] == f"SHA-256 {record['source']['sha256']}"
            assert str(tmp_path) not in " ".join(picture.text.values())
            assert record["weights_sha256"]["prior"] in picture.text["Weights SHA-256"]
    with Image.open(out / "a.png") as picture:
        assert picture.size == (132, 48)
        assert picture.mode == "RGB"


def test_one_bad_picture_stops_none_of_the_others(
    edit: Edit, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert edit(out, photos) == SKIPPED_EXIT
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("skipped") for line in lines) == 2
    assert any("empty.png: no face found" in line for line in lines)
    assert any("text.jpg: not an image" in line for line in lines)
    assert {"a.png", "a-2.png"} < {path.name for path in out.iterdir()}
    assert len(json.loads((out / "manifest.json").read_text())["skipped"]) == 2


def test_names_of_pictures_end_no_batch_and_forge_no_line(
    edit: Edit, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = [b"b\xff\nforged: encoder happiness 0.99.png", b"x" * 251 + b".png"]
    for name in hostile:
        (photos / os.fsdecode(name)).write_bytes((photos / "a.png").read_bytes())
    (photos / "c\nskipped forged.jpg").write_text("no picture")
    out = tmp_path / "out"
    assert edit(out, photos, "--mark", "--strip", "2") == SKIPPED_EXIT
    printed, said = capsys.readouterr()
    assert sum("encoder happiness" in line for line in printed.splitlines()) == 4
    assert not any(line.startswith("forged") for line in printed.splitlines())
    assert "c\\nskipped forged.jpg: not an image" in said
    assert not any(line.startswith("skipped forged") for line in said.splitlines())
    assert len(json.loads((out / "manifest.json").read_text())["pictures"]) == 4
    assert sorted({path.name[:1] for path in out.iterdir()}) == ["a", "b", "m", "x"]


def test_the_same_command_goes_on_where_it_stopped(
    edit: Edit, photos: Path, tmp_path: Path, before_each: Callable[..., None]
) -> None:
    out, done = tmp_path / "out", list[int]()

    def counted(*_: object, **__: object) -> None:
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt

    before_each(FacePipeline, "edit", counted)
    with pytest.raises(KeyboardInterrupt):
        edit(out, photos)
    first = (out / "a.json").stat().st_mtime_ns
    assert edit(out, photos) == SKIPPED_EXIT
    assert (out / "a.json").stat().st_mtime_ns == first
    assert (out / "a-2.json").exists()
    assert len(json.loads((out / "manifest.json").read_text())["pictures"]) == 2
    with pytest.raises(UserError, match="other settings"):
        edit(out, photos, "--seed", "9")
    Image.fromarray(scene(1, seed=5)).save(photos / "a.png")
    edit(out, photos)
    assert (out / "a.json").stat().st_mtime_ns != first


@pytest.mark.parametrize(
    ("picture", "options", "message"),
    [
        ("empty.png", [], "empty.png: no face found"),
        ("absent.png", [], "absent.png: no such file"),
        ("a.png", ["--face", "2"], "face 2: the picture has 1"),
        ("a.png", ["--region", "moth"], "did you mean 'mouth'"),
        ("a.png", ["--region", "1,2,3"], "a box is x,y,w,h"),
        ("a.png", ["--region", "100,30,5,5"], "covers no part of the face"),
        ("a.png", ["--not", "joy"], "asked for and to be avoided"),
        ("a.png", ["--not", "sadnes"], "did you mean 'sadness'"),
        ("a.png", ["--keep", "-1"], "--keep: must lie between"),
        ("a.png", ["--strip", "1"], "--strip: must lie between"),
        ("a.png", ["--embedder", "nobody"], "embedder 'nobody'"),
        ("a.png", ["--intensity", "2"], "intensity must lie between"),
        ("", ["--keep", "nan"], "^--keep"),
        ("", ["--face", "0"], "^--face"),
        ("", ["--region", "nan,0,9,9"], "^--region"),
        ("", ["--avoidance", "0.4"], "^--avoidance"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    edit: Edit, photos: Path, tmp_path: Path, picture: str, options: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        edit(tmp_path / "out", photos / picture, *options)
    assert not (tmp_path / "out").exists()


def test_a_url_is_to_be_saved_first(tmp_path: Path) -> None:
    url = "https://example.org/a.jpg"
    with pytest.raises(UserError, match=f"^{url}: is a URL, and pictures are edited on disk; save it first: curl -O '{url}'$"):
        main([url, "--emotion", "joy", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


class Small:
    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace((10, 10, 20, 20))]


@pytest.mark.parametrize(
    ("picture", "settings", "message"),
    [
        (scene(1), {"detector": Small()}, "measures 20 pixels, and 32 are needed"),
        (scene(1), {"max_tries": 3}, "max_tries: has no meaning"),
        (scene(1), {"best_of": 3}, "^best_of: "),
        (np.zeros(48), {}, r"an array or tensor \(H, W\)"),
    ],
)
def test_what_is_no_edit_is_refused(pipe: FacePipeline, picture: np.ndarray, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipe.edit(picture, "joy", **{"detector": Squares(), **settings})


def test_where_nothing_shows_the_emotion_all_of_the_change_is_shown(pipe: FacePipeline) -> None:
    edited = pipe.edit(scene(1), "joy", detector=Squares(), count=3, steps=2, threshold=1.0)
    assert [edit.upper for edit in edited.edits] == [1.0] * 3
    matches = [edit.verdict.match for edit in edited.edits]
    assert matches == sorted(matches, reverse=True)


def test_the_least_change_that_shows_the_emotion_comes_first(pipe: FacePipeline, likely: str) -> None:
    edited = pipe.edit(scene(1), likely, detector=Squares(), count=4, steps=2, threshold=0.0)
    assert all(edit.upper < 1 for edit in edited.edits if edit.verdict.accepted)
    best = max(edit.verdict.match for edit in edited.edits)
    shown = [edit.change for edit in edited.edits if edit.verdict.accepted and edit.verdict.match >= 0.8 * best]
    assert shown
    assert [edit.change for edit in edited.edits[: len(shown)]] == sorted(shown)
    assert edited.before.upper == edited.before.change == 0


def test_a_picture_may_be_a_file(pipe: FacePipeline, photos: Path) -> None:
    edited = pipe.edit(photos / "a.png", "joy", detector=Squares(), count=2, steps=2)
    assert edited.render(edited.edits[0]).shape == (48, 132, 3)


def test_a_grid_that_does_not_divide_the_face_is_edited_too(uneven: FacePipeline) -> None:
    edited = uneven.edit(scene(1), "joy", detector=Squares(), count=1, steps=2, region="mouth")
    changed = (edited.render(edited.edits[0]) != scene(1)).any(axis=2)
    assert changed.any()
    assert not changed[:20].any()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.json", "[1, 2]", "not the record of an edit"), ("manifest.json", '{"faces": []}', "not the manifest of edits")],
)
def test_a_file_that_is_none_of_ours_is_not_overwritten(
    edit: Edit, photos: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        edit(tmp_path, photos / "a.png")
    assert (tmp_path / name).read_text() == content


def test_an_edit_by_other_weights_is_not_passed_off(edit: Edit, photos: Path, tmp_path: Path) -> None:
    assert edit(tmp_path / "out", photos / "a.png") in (0, MISSED_EXIT)
    path = tmp_path / "out" / "a.json"
    record = json.loads(path.read_text())
    record["weights_sha256"]["prior"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="an edit by other weights"):
        edit(tmp_path / "out", photos / "a.png")


def test_pictures_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    names = file_names(["x/a.png", "y/a.jpg", "A.bmp", "a-2.png", "manifest.png"], tmp_path)
    assert len({name.lower() for name in names.values()}) == 5
    assert names["x/a.png"] == "a"
    assert names["manifest.png"] != "manifest"


def test_a_later_picture_of_the_same_name_replaces_nothing(
    edit: Edit, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def made(name: str, *settings: str) -> dict[str, bytes]:
        assert edit(out, str(photos / name), *settings) in (0, MISSED_EXIT)
        return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "manifest.json"}

    first = made("a.png")
    second = made("deep/a.png")
    assert first.items() < second.items()
    assert second.keys() - first.keys() == {"a-2.png", "a-2-proposals.png", "a-2.json"}
    assert f"{photos / 'deep' / 'a.png'} (a-2.png): encoder" in capsys.readouterr().out
    listed = json.loads((out / "manifest.json").read_text())["pictures"]
    assert sorted(record["files"][0] for record in listed) == ["a-2.png", "a.png"]
    # The same pictures again, also after they were moved: nothing is made anew.
    assert made("deep/a.png") == made("a.png") == second
    (photos / "deep").rename(photos / "moved")
    assert made("moved/a.png") == second
    # A changed picture replaces its own edit, and other settings are refused.
    Image.fromarray(scene(1, seed=6)).save(photos / "a.png")
    third = made("a.png")
    assert third.keys() == second.keys()
    assert {name for name in third if third[name] != second[name]} == {"a.png", "a-proposals.png", "a.json"}
    with pytest.raises(UserError, match=r"a\.json: an edit with other settings"):
        made("a.png", "--seed", "9")
    # Without its record, a picture still says whose edit it is.
    (out / "a.json").unlink()
    Image.fromarray(scene(1, seed=5)).save(photos / "moved" / "a.png")
    fourth = made("moved/a.png")
    assert fourth["a.png"] == third["a.png"]
    assert "a-3.png" in fourth


@pytest.mark.parametrize("folder", [False, True])
def test_a_photograph_is_never_written_over(edit: Edit, photos: Path, folder: bool) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="choose another"):
        edit(photos, str(photos if folder else photos / "a.png"))
    (photos / "deep" / "b.jpg").write_bytes(before[photos / "deep" / "a.png"])
    with pytest.raises(UserError, match="is none of the files of an edit"):
        edit(photos / "deep", photos / "a.png")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_edits_inside_the_folder_of_pictures_are_not_edited_again(edit: Edit, photos: Path) -> None:
    assert edit(photos / "edited", photos) == SKIPPED_EXIT
    before = sorted((photos / "edited").iterdir())
    assert edit(photos / "edited", photos) == SKIPPED_EXIT
    assert sorted((photos / "edited").iterdir()) == before
