"""What the people of a drawn video show over time, by the command and from Python, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mimique
from configs.cli import UserError
from encoder import analyze
from encoder.analysis.analyzer import Reading
from encoder.analysis.rows import NO_FACE, FaceRow
from encoder.emotions import EMOTION_NAMES
from encoder.pictures.sources import View
from encoder.timelines.person import smooth
from encoder.timelines.seconds import SecondMeans
from encoder.timelines.timeline import Timeline
from encoder.timelines.video import read_video
from tests.encoder.timelines.conftest import BACK, FRAMES, LEAVES, RATE

CPU = ("--device", "cpu", "--quiet")


def reading(source: str, frame: int, time: float, *faces: tuple[int, str], rate: float | None = None) -> Reading:
    rows = []
    for person, emotion in faces:
        sure = tuple(float(name == emotion) for name in EMOTION_NAMES)
        rows.append(FaceRow(source, frame, time, 0, (0, 0, 9, 9), 1.0, sure, person=person))
    return Reading(View(source, frame, time, rate=rate), tuple(rows or [FaceRow(source, frame, time, problem=NO_FACE)]))


# ---- the command on a drawn video


def test_the_command_and_python_say_the_same_of_two_people_one_of_whom_comes_back(drawn_video: Path, tmp_path: Path) -> None:
    out, made = tmp_path / "seconds.csv", tmp_path / "made"
    assert analyze.main([str(drawn_video), "--timeline", str(made), "--out", str(out), "--per", "second", *CPU]) == 0
    assert {path.name for path in made.iterdir()} == {
        f"two people-{end}" for end in ("people.csv", "timeline.csv", "timeline.png")
    }
    people = pd.read_csv(made / "two people-people.csv")
    moving = people[people["frames"] == FRAMES]
    # The other is a new person when coming back: only boxes were asked for.
    assert len(people) == 3
    assert len(moving) == 1
    assert moving["happiness"].item() == pytest.approx(0.5, abs=0.05)
    assert moving["anger"].item() == pytest.approx(0.5, abs=0.05)
    assert moving["seconds"].item() == pytest.approx(FRAMES / RATE)
    others = people[people["frames"] < FRAMES].sort_values("first")
    assert others["emotion"].tolist() == ["sadness", "sadness"]
    assert others["first"].tolist() == pytest.approx([0, BACK / RATE])
    assert others["last"].tolist() == pytest.approx([(LEAVES - 1) / RATE, (FRAMES - 1) / RATE])
    seconds = pd.read_csv(out)
    assert seconds["frames"].sum() == people["frames"].sum()
    mine = seconds[seconds["person"] == moving["person"].item()]
    assert mine["second"].tolist() == list(range(6))
    assert mine["emotion"].tolist() == ["happiness"] * 3 + ["anger"] * 3
    assert Image.open(made / "two people-timeline.png").size[0] == 1200

    timeline = mimique.read_video(drawn_video, mimique.FaceAnalyzer.from_pretrained(device="cpu"))
    assert len(timeline.people) == 3
    assert timeline.cuts == ()
    assert timeline.to_dataframe("person").drop(columns="source").equals(people.drop(columns="source"))
    told = timeline.to_dataframe("second").drop(columns=["source", "problem"])
    assert told.equals(seconds.drop(columns=["source", "problem"]))
    smoothed = pd.read_csv(made / "two people-timeline.csv")
    assert timeline.to_dataframe("smoothed").drop(columns="source").equals(smoothed.drop(columns="source"))
    assert timeline.to_dataframe()["person"].notna().all()
    assert "3 people" in repr(timeline)
    assert "<table" in timeline._repr_html_()


def test_numbers_of_people_are_a_column_only_where_they_are_asked_for(drawn_video: Path, tmp_path: Path) -> None:
    plain, tracked = tmp_path / "plain.csv", tmp_path / "tracked.parquet"
    how = ["--every", "10", *CPU]
    assert analyze.main([str(drawn_video), "--out", str(plain), *how]) == 0
    assert analyze.main([str(drawn_video), "--out", str(tracked), "--track", "boxes", *how]) == 0
    assert "person" not in pd.read_csv(plain).columns
    table = pd.read_parquet(tracked)
    assert table["person"].dtype == "int32"
    assert table.columns.get_loc("person") == table.columns.get_loc("face") + 1
    assert table.drop(columns="person").equals(pd.read_parquet(tracked, columns=list(pd.read_csv(plain).columns)))


def test_tracking_by_faces_asks_the_named_embedder_and_never_falls_back(drawn_video: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces.csv"
    with pytest.raises(UserError, match=r"embedder 'nobody': choose dlib"):
        analyze.main([str(drawn_video), "--track", "faces", "--embedder", "nobody", "--out", str(out), *CPU])
    assert not out.exists()
    with pytest.raises(UserError, match=r"embedder 'nobody'"):
        read_video(drawn_video, embedder="nobody")


def test_a_camera_or_video_stopped_halfway_leaves_the_timeline_so_far(
    drawn_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoder.timelines import files

    real, seen = files.TimelineFiles.add, []

    def add(self: files.TimelineFiles, given: Reading) -> None:
        real(self, given)
        seen.append(given)
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(files.TimelineFiles, "add", add)
    with pytest.raises(KeyboardInterrupt):
        analyze.main([str(drawn_video), "--fps", "1", "--timeline", str(tmp_path), *CPU])
    people = pd.read_csv(tmp_path / "two people-people.csv")
    assert people["frames"].max() == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--smooth 2", "--smooth is for --timeline"),
        ("--timeline T --smooth -1", "--smooth must lie between 0 and 3600 seconds, got -1"),
        ("--timeline T --smooth nan", "--smooth must lie between 0 and 3600 seconds, got nan"),
        ("--per second", "--per second changes the rows of --out; add --out FILE"),
        ("--per second --out a.csv --gender", "no column for --gender"),
        ("--per second --out a.csv --landmarks", "no column for --landmarks"),
        ("--track boxes --out parts/", "goes without --track"),
        ("--timeline T --out parts/", "goes without --timeline"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    words: str, said: str, drawn_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        analyze.main([str(drawn_video), *words.split()])
    assert list(tmp_path.iterdir()) == []


def test_a_timeline_that_is_there_is_not_replaced_unasked(drawn_video: Path, tmp_path: Path) -> None:
    (tmp_path / "two people-people.csv").write_text("mine")
    with pytest.raises(UserError, match=r"two people-people\.csv: is there already; choose another --timeline"):
        analyze.main([str(drawn_video), "--timeline", str(tmp_path), *CPU])
    assert (tmp_path / "two people-people.csv").read_text() == "mine"


def test_what_is_no_video_is_refused_from_python(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
    with pytest.raises(UserError, match=r"one\.png: is a picture"):
        read_video(tmp_path / "one.png")
    with pytest.raises(UserError, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="not both"):
        read_video(tmp_path / "none.mp4", every=2, fps=1)
    with pytest.raises(UserError, match="smooth must lie"):
        read_video(tmp_path / "none.mp4", smooth=-1)


# ---- the figures


def test_smoothing_is_the_mean_of_the_seconds_around_and_stops_at_gaps(rng: np.random.Generator) -> None:
    times = np.concatenate([np.arange(20) / 10, 5 + np.arange(10) / 10])
    values = rng.random((30, 7))
    found = smooth(times, values, 0.4, 1.0)
    for k, time in enumerate(times):
        near = (np.abs(times - time) <= 0.2 + 1e-9) & ((times < 3) == (time < 3))
        assert found[k] == pytest.approx(values[near].mean(axis=0))
    assert smooth(times, values, 0.0, 1.0) == pytest.approx(values)
    everything = smooth(times, values, 100.0, 1.0)
    assert everything[:20] == pytest.approx(np.tile(values[:20].mean(axis=0), (20, 1)))


def test_shares_are_of_time_and_not_of_frames() -> None:
    # Frames of one second each, but the angry one stands for three.
    readings = [
        reading("a.mp4", 0, 0.0, (1, "fear")),
        reading("a.mp4", 1, 1.0, (1, "anger")),
        reading("a.mp4", 2, 4.0, (1, "fear")),
    ]
    (person,) = Timeline("a.mp4", readings, smooth=0).people
    assert dict(zip(EMOTION_NAMES, person.shares.tolist(), strict=True))["anger"] == pytest.approx(3 / 6)
    assert person.as_record()["seconds"] == pytest.approx(1 + 3 + 2)
    (alone,) = Timeline("a.mp4", [reading("a.mp4", 0, 0.0, (1, "fear"), rate=25.0)]).people
    assert (alone.as_record()["seconds"], alone.emotion) == (0.04, "fear")


def test_rows_by_second_name_pictures_problems_and_videos_without_a_face() -> None:
    means = SecondMeans()
    broken = Reading(View("d.mp4", problem="broken"), (FaceRow("d.mp4", problem="broken"),))
    face = FaceRow("c.png", face=0, box=(0, 0, 9, 9), distribution=(0, 0, 0, 1.0, 0, 0, 0))
    given = [
        reading("a.mp4", 0, 0.2, (1, "fear"), (2, "anger")),
        reading("a.mp4", 1, 0.7),
        reading("a.mp4", 2, 0.9, (1, "anger")),
        reading("a.mp4", 3, 2.1, (1, "fear")),
        reading("b.mp4", 0, 0.0),
        reading("b.mp4", 1, 1.5),
        Reading(View("c.png"), (face,)),
        broken,
    ]
    rows = [row.values for each in given for row in means.add(each)] + [row.values for row in means.finish()]
    told = [(row["source"], row["person"], row["second"], row["frames"], row["problem"]) for row in rows]
    assert told == [
        ("a.mp4", 1, 0, 2, None),
        ("a.mp4", 2, 0, 1, None),
        ("a.mp4", 1, 2, 1, None),
        ("b.mp4", None, None, 0, NO_FACE),
        ("c.png", None, None, 1, None),
        ("d.mp4", None, None, 0, "broken"),
    ]
    assert (rows[0]["fear"], rows[0]["anger"], rows[4]["emotion"]) == (0.5, 0.5, "happiness")


def test_means_of_action_units_leave_out_frames_without_an_answer() -> None:
    means = SecondMeans(("AU01", "AU02"))
    for k, units in enumerate(({"AU01": 0.2, "AU02": None}, {"AU01": 0.6, "AU02": None}, None)):
        row = FaceRow("a.mp4", k, k / 10, 0, (0, 0, 9, 9), 1.0, (1.0, 0, 0, 0, 0, 0, 0), person=1, units=units)
        assert list(means.add(Reading(View("a.mp4", k, k / 10), (row,)))) == []
    (found,) = means.finish()
    assert (found.values["AU01"], found.values["AU02"]) == (0.4, None)


def test_the_plot_shows_those_in_sight_for_longest_and_says_who_is_left_out(tmp_path: Path) -> None:
    readings = [reading("a$1$.mp4", k, k / 10, *((p, "fear") for p in range(1, 12) if k <= p)) for k in range(12)]
    timeline = Timeline("a$1$.mp4", readings)
    figure = timeline.plot(tmp_path / "a.png")
    assert len(figure.axes) == 8
    assert figure.axes[0].get_title(loc="left").startswith("person 4: fear 100%")
    assert "3 more people not shown" in figure.get_suptitle()
    assert Image.open(tmp_path / "a.png").info["Software"].startswith("Mimique")
    with pytest.raises(UserError, match=r"a\.png: is there already; choose another path, or .* with overwrite=True"):
        timeline.plot(tmp_path / "a.png")
    timeline.plot(tmp_path / "a.png", overwrite=True)
    empty = Timeline("b.mp4", [reading("b.mp4", 0, 0.0)])
    assert empty.people == ()
    assert empty.plot().axes[0].texts[0].get_text() == "no face found"
    assert list(csv.reader(empty.to_dataframe("person").to_csv(index=False).splitlines()))[1:] == []
    with pytest.raises(UserError, match="by must be"):
        empty.to_dataframe("minute")  # type: ignore[arg-type]
