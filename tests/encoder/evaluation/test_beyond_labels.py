"""What needs no labels: steadiness, groups of people, and what the program makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from configs.cli import UserError
from encoder import evaluate
from encoder.data.face_parquet import write_parquet_splits
from encoder.drawing.faces import drawn_set
from encoder.emotions import EMOTION_NAMES, Emotion
from encoder.evaluation.groups import assess_groups, gap_sentence
from encoder.evaluation.steadiness import assess_steadiness, steadiness_lines
from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
from encoder.pictures.changes import CHANGES
from encoder.pictures.face_images import png_bytes

Make = Callable[..., EmotionEncoder]


class Reader:
    """Stands in for an encoder: happy about a light face, neutral else; ``sure`` of it."""

    def __init__(self, light: Callable[[np.ndarray], np.ndarray], sure: float = 1.0) -> None:
        self.light, self.sure = light, sure

    def predict(self, faces: np.ndarray, *, batch_size: int | None = None) -> Prediction:
        light = np.asarray(self.light(faces), bool)
        rows = np.full((len(faces), len(EMOTION_NAMES)), (1 - self.sure) / (len(EMOTION_NAMES) - 1))
        rows[np.arange(len(faces)), np.where(light, Emotion.HAPPINESS, Emotion.NEUTRAL)] = self.sure
        distributions = torch.from_numpy(rows)
        return Prediction(distributions, {}, distributions)


def test_a_reader_of_mean_light_is_steady_and_one_of_a_single_pixel_is_not(rng: np.random.Generator) -> None:
    faces = rng.integers(0, 256, (300, 48, 48), dtype=np.uint8)
    faces[:150] //= 4
    steady = assess_steadiness(Reader(lambda x: x.mean(axis=(1, 2)) > 60), faces, "noise")  # type: ignore[arg-type]
    assert {row["unchanged"] for row in steady["changes"].values()} == {1.0}
    assert {row["distance"] for name, row in steady["changes"].items() if name != "all"} == {0.0}
    # The upper and lower pixels of the middle are compared, so that a mirror image gets the same answer.
    nervous = assess_steadiness(
        Reader(lambda x: x[:, 20, 23].astype(int) + x[:, 20, 24] > x[:, 21, 23].astype(int) + x[:, 21, 24]),  # type: ignore[arg-type]
        faces,
        "noise",
    )
    assert nervous["changes"]["shift"]["unchanged"] == pytest.approx(0.5, abs=0.1)
    assert nervous["changes"]["all"]["unchanged"] < 0.1
    each = [nervous["changes"][name]["unchanged"] for name in CHANGES]
    assert nervous["changes"]["mean"]["unchanged"] == pytest.approx(np.mean(each), abs=1e-3)
    # A changed answer of a reader that is always sure moves the whole distribution.
    for row in (nervous["changes"][name] for name in CHANGES):
        assert row["distance"] == pytest.approx(1 - row["unchanged"], abs=1e-3)
        assert row["unchanged_interval"][0] <= row["unchanged"] <= row["unchanged_interval"][1]
    assert "half size and back" in "\n".join(steadiness_lines(nervous))


def test_the_largest_gap_between_groups_is_named(rng: np.random.Generator) -> None:
    read = rng.dirichlet(np.ones(7), 600)
    race = np.array(["a", "b", "c"])[rng.integers(0, 3, 600)]
    race[:50] = ""
    # Faces of b are read as sad more often by 0.3, and less neutral by as much.
    read[race == "b"] = 0.4 * read[race == "b"]
    read[race == "b", Emotion.SADNESS] += 0.6
    found = assess_groups(read, {"race": race, "gender": np.array(["x", "y"] * 300), "nobody": np.array([""] * 600)}, "drawn")
    assert found["attributes"].keys() == {"race", "gender"}
    assert found["largest"] == "race"
    gap = found["gaps"]["race"]
    assert (gap["emotion"], gap["most"]) == ("sadness", "b")
    assert gap["by_chance"] < gap["interval"][0] < gap["gap"] < gap["interval"][1]
    assert found["gaps"]["gender"]["gap"] < 2 * found["gaps"]["gender"]["by_chance"]
    row = found["attributes"]["race"]["b"]
    assert row["count"] == (race == "b").sum()
    assert row["mean"]["sadness"] == pytest.approx(read[race == "b", Emotion.SADNESS].mean(), abs=1e-4)
    assert "sadness is read most in 'b'" in gap_sentence("race", gap)
    with pytest.raises(UserError, match="no column of race names two groups"):
        assess_groups(read, {"race": np.array(["a"] * 600)}, "drawn")


def test_ages_are_listed_from_young_to_old(rng: np.random.Generator) -> None:
    ages = ["0-2", "3-9", "10-19", "more than 70"]
    found = assess_groups(rng.dirichlet(np.ones(7), 40), {"age": np.array(ages[::-1] * 10)}, "drawn")
    assert list(found["attributes"]["age"]) == ages


@pytest.fixture
def colour(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Drawn faces in the layout of colour128, of two groups each way."""
    rows = [
        {
            "source": "drawn",
            "file": f"{number}.png",
            "person": None,
            "age": ("20-29", "30-39")[number % 2],
            "gender": ("Female", "Male")[number // 2 % 2],
            "race": ("first", "second")[number // 4 % 2],
            "yaw": 0.0,
            "points": [0.5] * 10,
            "image": {"bytes": png_bytes(np.stack([face] * 3, axis=2)), "path": ""},
        }
        for number, face in enumerate(drawn_set("test", 14, size=128).images)
    ]
    (tmp_path / "colour").mkdir()
    pq.write_table(
        pa.Table.from_pylist([rows[number] for number in rng.permutation(len(rows))]), tmp_path / "colour/valid.parquet"
    )
    return tmp_path / "colour"


def test_the_program_shows_it_all_on_screen_page_and_in_json(
    tmp_path: Path, colour: Path, small_encoder: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = []
    for seed in (0, 1):
        small_encoder(16, seed=seed, answer="ferplus").save_pretrained(tmp_path / f"run{seed}" / "weights")
        weights += ["--weights", str(tmp_path / f"run{seed}" / "weights")]
    blank = {"bytes": png_bytes(np.full((90, 90, 3), 127, np.uint8)), "path": ""}
    posed = [{"person": "1", "expression": name, "image": blank} for name in ("neutral", "smiling")]
    pq.write_table(pa.Table.from_pylist(posed), tmp_path / "london.parquet")
    faces = {"train": drawn_set("train", 14, size=48), "test": drawn_set("test", 28, size=48)}
    write_parquet_splits(tmp_path / "small", faces)  # type: ignore[arg-type]
    out, more = tmp_path / "out", ["--steady", "--as-seeds", "--colour", str(colour), "--posed", str(tmp_path / "london.parquet")]
    options = ["--data", str(tmp_path / "small"), "--device", "cpu", "--out", str(out), "--report", str(out / "report"), *more]
    assert evaluate.main([*options, *weights]) == 0
    shown = capsys.readouterr().out
    for words in (
        "answer unchanged, small test",
        "largest gap by gender",
        "smiling read as happiness    0 of 1",
        "a face found                 0 of 2",
        "run1 minus run0",
        "recall of fear",
        "2 trainings, seeds unknown",
    ):
        assert words in shown
    evaluation = json.loads((out / "run1" / "evaluation.json").read_text())
    assert [each["data"] for each in evaluation["steadiness"]] == ["small test", "colour faces valid"]
    assert evaluation["photographs"]["expressions"]["smiling"]["read_as"] == {"no face": 1}
    report = json.loads((out / "report" / "report.json").read_text())
    for name in ("steadiness", "groups", "photographs"):
        assert report["models"][1][name] == evaluation[name]
    assert report["spread"] == json.loads((out / "spread.json").read_text())
    assert report["comparison"] == json.loads((out / "comparison.json").read_text())
    page = (out / "report" / "report.html").read_text()
    for words in ("How steady the answer is", "different groups", "0 of 1", "Several trainings", "Confusion of run1 minus"):
        assert words in page
    assert (out / "run1" / "confusion-change-fer2013.png").read_bytes().startswith(b"\x89PNG")


def test_figures_by_group_do_not_depend_on_the_order_of_rows(colour: Path, small_encoder: Make, tmp_path: Path) -> None:
    from encoder.analysis.beyond_labels import load_beyond_labels

    encoder = small_encoder(16, answer="fer2013")
    first = load_beyond_labels(None, colour, None).measure(encoder)
    table = pq.read_table(colour / "valid.parquet")
    (tmp_path / "turned").mkdir()
    pq.write_table(table.take(list(range(len(table)))[::-1]), tmp_path / "turned" / "valid.parquet")
    assert load_beyond_labels(None, tmp_path / "turned", None).measure(encoder) == first


def test_the_same_weights_are_no_two_seeds(tmp_path: Path, small_encoder: Make) -> None:
    for name in "ab":
        small_encoder(16).save_pretrained(tmp_path / name)
    with pytest.raises(UserError, match=r"b holds the same weights as .*a; leave one out"):
        evaluate.main(["--data", "drawn", "--as-seeds", "--weights", str(tmp_path / "a"), "--weights", str(tmp_path / "b")])
    with pytest.raises(UserError, match="--as-seeds: needs several trainings"):
        evaluate.main(["--data", "drawn", "--as-seeds", "--weights", str(tmp_path / "a")])
