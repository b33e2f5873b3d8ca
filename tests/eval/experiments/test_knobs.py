"""One knob at a time: what stays at its default, what is stored, what verification leaves, and what is avoided."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from eval import sweep
from eval.experiments import knobs
from eval.experiments.grid import GridPoint
from eval.experiments.knobs import Knobs
from generation import draw
from generation.pipeline import FacePipeline
from generation.request import FaceRequest
from vqvae.config import SamplingConfig

OPTIONS = ["--data", "drawn", "--per-emotion", "3", "--bootstrap", "3"]


def planned(*more: str) -> tuple[list[knobs.KnobRow], dict[str, GridPoint]]:
    experiment = Knobs(Knobs.build_parser().parse_args(["--data", "DATA", *more]))
    points = experiment.plan()
    return experiment.rows, points


def test_only_one_thing_differs_from_the_defaults() -> None:
    rows, points = planned()
    assert {row.knob for row in rows} == set(knobs.KNOBS)
    stored = knobs.stored_settings("pretrained")[0].model_dump()
    sampling = {name: value for name, value in stored.items() if name in knobs.KNOBS}
    for emotion in EMOTION_NAMES:
        default = FacePipeline.request(emotion, 24, 50000, look="photo", **sampling)
        assert points["base"].requests[emotion] == default
        for row in rows:
            request = points[row.point].requests[emotion]
            changed = {name for name in FaceRequest.model_fields if getattr(request, name) != getattr(default, name)}
            allowed = {row.knob, *knobs.KNOBS[row.knob].needs}
            allowed |= {"intensity": {"emotion"}, "avoidance": {"avoid"}}.get(row.knob, set())
            assert changed <= allowed
    # Every knob is shown at its default; at that all agree with the base, but for verification and what needs another knob.
    shown = {row.knob: row.point for row in rows if row.default}
    assert set(shown) == set(knobs.KNOBS)
    assert {name for name, point in shown.items() if point != "base"} == {"candidates", "threshold", "max_tries", "best_of"}
    assert shown["threshold"] == shown["max_tries"] == shown["best_of"] == "threshold-0.5"


def test_every_value_is_a_point_of_its_own_and_shared_ones_are_measured_once() -> None:
    rows, points = planned("--only", "encoder-guidance,candidates", "--encoder-guidance", "4", "--candidates", "2,4")
    assert [(row.knob, row.value, row.point) for row in rows] == [
        ("encoder_guidance", 0.0, "base"),
        ("encoder_guidance", 4.0, "encoder-guidance-4"),
        ("candidates", 2, "encoder-guidance-4_candidates-2"),
        ("candidates", 4, "encoder-guidance-4"),
    ]
    assert len(points) == 3
    settings = [tuple(point.settings.items()) for point in planned()[1].values()]
    assert len(set(settings)) == len(settings)


def test_every_knob_is_reported_and_a_rerun_draws_only_what_is_missing(
    places: list[str], tmp_path: Path, before_each: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[str] = []
    base = knobs.base_settings("drawn", SamplingConfig())
    before_each(Knobs, "measure", lambda _self, point: drawn.append(knobs.point_name(point.settings, base)))
    first = ["--only", "steps", "--steps", "2"]
    few = ["--steps", "2", "--guidance", "0", "--temperature", "1", "--encoder-guidance", "2", "--candidates", "2", "--threshold"]
    few += ["0.1", "--max-tries", "1", "--look", "fer2013", "--intensity", "0.5", "--avoidance", "1", "--precision", "float32"]
    few += ["--best-of", "1", "--cooled", "0.5"]
    assert Knobs.main([*OPTIONS, *places, *first]) == 0
    assert drawn == ["base", "steps-2"]
    before = json.loads((tmp_path / "knobs.json").read_text())["points"]
    capsys.readouterr()
    assert Knobs.main([*OPTIONS, *places, *few]) == 0
    assert drawn[2:].count("base") + drawn[2:].count("steps-2") == 0
    report = json.loads((tmp_path / "knobs.json").read_text())
    assert {name: report["points"][name] for name in before} == before
    assert {row["knob"] for row in report["rows"]} == set(knobs.KNOBS)
    for name in ("base", "identity-on", "avoidance-1", "look-fer2013", "encoder-guidance-4_candidates-2"):
        point = report["points"][name]
        assert point["faces"] == point["asked"] == point["drawn"] == 21
        assert point["seconds_per_face"] > 0
        for judge in ("encoder", "judge"):
            low, high = point[judge]["avoided"]["interval"]
            assert 0 <= low <= point[judge]["avoided"]["value"] <= high <= 1
            for emotion in ("all", *EMOTION_NAMES):
                figures = point[judge][emotion]
                low, high = figures["accuracy"]["interval"]
                assert 0 <= low <= figures["accuracy"]["value"] <= high <= 1
                assert figures["diversity"]["value"] > 0
    table = list(csv.DictReader((tmp_path / "knobs.csv").open()))
    assert {row["knob"] for row in table} == {knobs.option(name) for name in knobs.KNOBS}
    assert {row["knob"] for row in table if row["avoided, judge"]} == {"avoidance"}
    assert {row["× base"] for row in table if row["knob"] == "steps" and row["value"].endswith("(default)")} == {"1.00"}
    assert (tmp_path / "knobs.md").read_text() in capsys.readouterr().out
    with Image.open(tmp_path / "knobs.png") as picture:
        assert picture.width > 900
        assert picture.height > 800
    with pytest.raises(UserError, match="made with other seed"):
        Knobs.main([*OPTIONS, *places, *first, "--seed", "7"])


def test_results_of_another_command_in_the_same_folder_stay(places: list[str], tmp_path: Path) -> None:
    one = ["--steps", "2", "--guidance", "0", "--temperature", "1"]
    assert sweep.main([*OPTIONS, *places, "--source", "drawn", *one]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(before) == 5
    assert Knobs.main([*OPTIONS, *places, "--only", "steps", "--steps", "2"]) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_precision_is_that_of_the_prior_while_a_point_is_drawn(
    places: list[str], tmp_path: Path, before_each: Callable[..., None]
) -> None:
    import torch

    computed: list[tuple[int, torch.dtype]] = []

    def noted(_prior: Any, asked: torch.Tensor, *_rest: Any, **_settings: Any) -> None:
        linear = torch.nn.functional.linear(torch.ones(1, 1), torch.ones(1, 1))
        computed.append((len(asked), linear.dtype))

    before_each(draw, "sample_tokens", noted)
    assert Knobs.main([*OPTIONS, *places, "--only", "precision"]) == 0
    # Both are tried on two faces first, so that neither pays for the first pass.
    assert sorted(computed[:2], key=str) == [(2, torch.bfloat16), (2, torch.float32)]
    assert computed[2:] == [(3, torch.float32)] * 7 + [(3, torch.bfloat16)] * 7
    (default, other) = csv.DictReader((tmp_path / "knobs.csv").open())
    assert (default["value"], other["value"]) == ("float32 (default)", "bf16")


def test_verified_points_count_only_faces_that_the_encoder_accepts(places: list[str], tmp_path: Path) -> None:
    more = ["--only", "threshold,max-tries,best-of", "--threshold", "0,1", "--max-tries", "1"]
    more += ["--best-of", "3", "--per-emotion", "2"]
    assert Knobs.main([*OPTIONS, *places, *more]) == 0
    points = json.loads((tmp_path / "knobs.json").read_text())["points"]
    assert points["base"]["faces"] == points["base"]["asked"]
    assert points["threshold-0.5_best-of-3"]["drawn"] >= 3 * points["base"]["asked"]
    any_match = points["threshold-0"]
    assert 0 < any_match["faces"] < any_match["drawn"]
    assert any_match["encoder"]["all"]["accuracy"]["value"] == 1.0
    # No face is read with full certainty: nothing is delivered, nothing can be said of it, and the table says that.
    nothing = points["threshold-1"]
    assert nothing["faces"] == 0
    assert nothing["drawn"] == 14 * FaceRequest.model_fields["max_tries"].default
    assert nothing["judge"]["all"] == {"accuracy": None, "diversity": None}
    assert nothing["seconds_per_face"] is nothing["judge"]["avoided"] is None
    (line,) = (line for line in (tmp_path / "knobs.md").read_text().splitlines() if line.startswith("| threshold | 1 "))
    assert line == "| threshold | 1 | – | – | – | – | – | 0/14 | – | – |"


def test_ctrl_c_while_faces_are_verified_stores_no_part_of_a_point(
    places: list[str], tmp_path: Path, before_each: Callable[..., None]
) -> None:
    verified: list[FaceRequest] = []

    def stopped(_self: FacePipeline, request: FaceRequest, *_rest: Any) -> None:
        verified.extend([request] * (request.threshold == 0))
        # By then some of the faces are accepted, and generate hands those over.
        if len(verified) == 2:
            raise KeyboardInterrupt

    before_each(FacePipeline, "draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        Knobs.main([*OPTIONS, *places, "--only", "threshold", "--threshold", "0"])
    assert [path.stem for path in (tmp_path / "points").iterdir()] == ["base"]


def test_what_is_avoided_is_what_is_measured(places: list[str], tmp_path: Path) -> None:
    more = ["--only", "avoidance", "--avoidance", "1", "--per-emotion", "4"]
    experiment = Knobs(Knobs.build_parser().parse_args([*OPTIONS, *places, *more]))
    point = experiment.plan()["avoidance-1"]
    experiment.load()
    for emotion, request in point.requests.items():
        assert request.as_record()["avoid"][knobs.AVOIDED[emotion]] == 1.0
        assert request.avoidance == 1.0
    found = experiment.measure(point)["judge"]["avoided"]["value"]
    seen = [
        face.verdict.distribution[EMOTION_NAMES.index(knobs.AVOIDED[name])]
        for name, request in point.requests.items()
        for face in experiment.pipe.draw_all(request).faces
    ]
    # Encoder and judge are the same network here.
    assert found == pytest.approx(sum(seen) / len(seen), abs=1e-3)


def test_autoguidance_is_varied_where_the_prior_has_an_exit_and_the_base_cools_as_the_weights_say() -> None:
    rows, points = planned("--only", "autoguidance,temperature", "--temperature", "0.8")
    assert {row.value for row in rows if row.knob == "autoguidance"} == set(knobs.AUTOGUIDANCE)
    stored = knobs.stored_settings("pretrained")[0]
    assert {request.cooled for point in points.values() for request in point.requests.values()} == {stored.cooled}
