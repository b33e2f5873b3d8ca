"""The sweep: distances beside their floors, a rerun that goes on, and the rule that names the best point."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.cli import UserError
from encoder.drawing.faces import drawn_set
from encoder.emotions import EMOTION_NAMES
from eval import sweep
from eval.experiments.sweep import Sweep, best
from eval.measures.distances import bootstrap, frechet_distance
from eval.measures.floors import RealFeatures, closeness, read_real_faces, share

OPTIONS = ["--data", "drawn", "--source", "drawn", "--per-emotion", "3", "--bootstrap", "3", "--steps", "2", "--temperature", "1"]


def test_every_point_is_reported_and_a_rerun_draws_only_what_is_missing(
    places: list[str], tmp_path: Path, before_each: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[float] = []

    def counted(_self: Sweep, point: Any) -> None:
        drawn.append(point.requests["fear"].guidance)
        assert {request.seed for request in point.requests.values()} == {50000}

    before_each(Sweep, "measure", counted)
    options = [*OPTIONS, *places]
    assert sweep.main([*options, "--guidance", "0"]) == 0
    first = json.loads((tmp_path / "sweep.json").read_text())["points"]
    assert sweep.main([*options, "--guidance", "0,2"]) == 0
    assert drawn == [0.0, 2.0]
    report = json.loads((tmp_path / "sweep.json").read_text())
    assert report["points"][0] == first[0]
    assert [point["guidance"] for point in report["points"]] == [0.0, 2.0]
    for judge in ("encoder", "judge"):
        for emotion in ("all", *EMOTION_NAMES):
            figures = report["points"][1][judge][emotion]
            assert {"accuracy", "diversity", "kernel", "density", "coverage"} <= figures.keys()
            low, high = figures["accuracy"]["interval"]
            assert 0 <= low <= figures["accuracy"]["value"] <= high <= 1
        assert report["points"][1][judge]["all"]["frechet"]["relative"] > 0
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert {row["emotion"] for row in rows} == {"all", *EMOTION_NAMES}
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sweep.md").read_text() in capsys.readouterr().out
    # Figures of another seed must not stand in the same table.
    with pytest.raises(UserError, match="made with other seed"):
        sweep.main([*options, "--guidance", "0", "--seed", "7"])
    point = next((tmp_path / "points").glob("*guidance-0_*"))
    point.write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        sweep.main([*options, "--guidance", "0"])


def reals(rng: np.random.Generator, per_emotion: int) -> RealFeatures:
    reference = tuple(rng.normal(size=(60, 6)) for _ in EMOTION_NAMES)
    floors = tuple(tuple(rng.normal(size=(per_emotion, 6)) for _ in EMOTION_NAMES) for _ in range(5))
    return RealFeatures(reference, floors, (0.5,) * 7)


def test_faces_of_the_same_source_are_at_the_floor_and_others_far_from_it(rng: np.random.Generator) -> None:
    real = reals(rng, 40)
    near = closeness([rng.normal(size=(40, 6)) for _ in EMOTION_NAMES], real, rounds=20)["all"]
    assert 0.2 < near["frechet"]["relative"] < 5.0
    assert abs(near["kernel"]["relative"]) < 0.5
    assert near["coverage"]["relative"] == pytest.approx(1.0, abs=0.1)
    assert near["diversity"]["relative"] == pytest.approx(1.0, abs=0.1)
    narrow = closeness([2.0 + 0.1 * rng.normal(size=(40, 6)) for _ in EMOTION_NAMES], real, rounds=20)["all"]
    assert narrow["frechet"]["relative"] > 10.0
    assert narrow["kernel"]["relative"] > 1.0
    assert narrow["coverage"]["relative"] < 0.3
    assert narrow["diversity"]["relative"] == pytest.approx(0.1, abs=0.03)
    for found in (near, narrow):
        for name in ("frechet", "kernel", "diversity"):
            low, high = found[name]["interval"]
            assert low <= found[name]["value"] <= high


def test_the_interval_of_a_distance_is_moved_to_where_the_distance_is(rng: np.random.Generator) -> None:
    real, made = rng.normal(size=(60, 20)), rng.normal(size=(40, 20))
    value = frechet_distance(real, made)
    # Faces drawn twice look like structure: the plain interval lies above the distance itself.
    assert bootstrap(lambda rows: frechet_distance(real, made[rows]), 40, rounds=50)[0] > value
    low, high = bootstrap(lambda rows: frechet_distance(real, made[rows]), 40, rounds=50, centre=value)
    assert low < value < high


def test_a_share_stands_beside_that_of_real_faces() -> None:
    found = share(np.array([True, True, False, False]), 0.25)
    assert (found["value"], found["floor"], found["relative"]) == (0.5, 0.25, 2.0)
    assert share(np.array([False, True]), 0.0)["relative"] is None


def test_too_few_real_faces_are_refused_by_name(weights: Path) -> None:
    from encoder.inference.emotion_encoder import EmotionEncoder

    judges = {"judge": EmotionEncoder.from_pretrained(weights / "judge")}
    train = drawn_set("train", 70, size=16)
    with pytest.raises(UserError, match="coverage needs more than 5"):
        read_real_faces(judges, train, drawn_set("valid", 14, size=16), 4)
    with pytest.raises(UserError, match="train has only 10"):
        read_real_faces(judges, train, drawn_set("valid", 70, size=16), 11)
    # Faces that stand in train are no held-out faces.
    with pytest.raises(UserError, match="held-out faces: 0"):
        read_real_faces(judges, train, train, 4)


def point(steps: int, accuracy: float, coverage: float | None) -> dict[str, Any]:
    return {"steps": steps, "judge": {"all": {"accuracy": {"value": accuracy}, "coverage": {"relative": coverage}}}}


def test_the_best_point_is_the_most_accurate_that_keeps_its_variety() -> None:
    narrow, wide, middle = point(8, 0.99, 0.3), point(8, 0.8, 0.9), point(4, 0.9, 0.7)
    assert best([narrow, wide, middle]) is middle
    assert best([wide, point(16, 0.8, 0.9)]) is wide
    assert best([narrow, point(8, 1.0, None)]) is None
