"""Faces whose hands or eyes are not as they were asked for are refused; details are drawn cooler than the whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.attributes.labels import ATTRIBUTES as PROBED
from encoder.attributes.probe import FaceAttributes, FaceFeatures, Linear, ProbeCalibration, ProbeConfig
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.weights import read_config
from generation.dataset.blocks import face_columns, faces_from
from generation.pipeline import FacePipeline
from generation.sample import main as sample
from generation.vetoes import Seen, look_for

FREE = {"threshold": 0.0, "realism": 0.0}


@pytest.fixture
def probed_weights(tmp_path: Path, photo_weights: Any, likely_in_colour: str) -> Path:
    """Weights with a probe that sees hands in one half of the faces, and closed eyes in none."""
    folder: Path = photo_weights(tmp_path / "weights")
    encoder = EmotionEncoder.from_pretrained(folder / "encoder")
    pipe = FacePipeline.from_pretrained(folder)
    faces = np.stack([face.image for face in pipe.draw_all(pipe.request(likely_in_colour, 24, 0, **FREE)).faces])
    features = FaceFeatures(encoder).read(faces, ("stages",))["stages"]
    direction = torch.randn(features.shape[1], generator=torch.Generator().manual_seed(0))
    said = features @ direction
    probe = Linear(features.shape[1])
    weight, bias = torch.zeros_like(probe.weight), torch.full_like(probe.bias, -9.0)
    weight[PROBED.index("object")] = direction * 8.0 / said.std()
    bias[PROBED.index("object")] = -8.0 * said.median() / said.std()
    probe.load_state_dict({"weight": weight, "bias": bias})
    sha256 = read_config(folder / "encoder", "encoder")["sha256"]
    config = ProbeConfig(features="stages", width=features.shape[1], attributes=PROBED, encoder_sha256=sha256)
    calibration = ProbeCalibration(thresholds=dict.fromkeys(PROBED, 0.3))
    FaceAttributes(encoder, probe, config, calibration).save_pretrained(folder / "attributes")
    return folder


@pytest.mark.parametrize(
    ("told", "agrees"),
    [
        ({"hands": "no", "eyes": "open"}, False),
        ({"hands": "yes", "eyes": "open"}, True),
        ({"hands": "yes", "eyes": "closed"}, False),
        ({"hands": None, "eyes": "open"}, True),
        ({}, True),
    ],
)
def test_a_face_agrees_with_what_was_told_and_with_anything_that_was_not(told: dict[str, str | None], agrees: bool) -> None:
    assert Seen(hands=0.5, closed=0.49).agrees(told) == agrees


def test_hands_nobody_asked_for_are_refused_and_recorded(probed_weights: Path, likely_in_colour: str) -> None:
    pipe = FacePipeline.from_pretrained(probed_weights)
    assert pipe.settled(pipe.request("fear")).as_told == "on"
    first = pipe.draw_all(pipe.request(likely_in_colour, 24, 0, **FREE)).faces
    asked = [face for face in first if face.verdict.accepted]
    for face, seen in zip(asked, look_for(pipe.probe, np.stack([face.image for face in asked])), strict=True):  # type: ignore[arg-type]
        assert face.seen is not None
        assert face.seen.hands == pytest.approx(seen.hands, abs=1e-4)
        assert face.refused == ("attributes" if seen.hands >= 0.5 else None)
    assert {face.refused for face in asked} == {"attributes", None}

    batch = pipe(likely_in_colour, 6, 0, max_tries=60, **FREE)
    assert batch.complete
    assert batch.refused["attributes"] > 0
    assert all(face.seen is not None and face.seen.hands < 0.5 for face in batch.faces)
    with_hands = pipe(likely_in_colour, 3, 0, hands="yes", max_tries=60, **FREE)
    assert with_hands.complete
    assert all(face.seen is not None and face.seen.hands >= 0.5 for face in with_hands.faces)
    free = pipe.draw_all(pipe.request(likely_in_colour, 24, 0, as_told="off", **FREE)).faces
    assert all(face.seen is None and face.refused in ("emotion", None) for face in free)


def test_files_say_what_the_probe_saw(probed_weights: Path, likely_in_colour: str, tmp_path: Path) -> None:
    easy = ["--threshold", "0", "--max-tries", "60", "--count", "3", "--realism", "0", "--device", "cpu", "--quiet"]
    folder = ["--weights", str(probed_weights), "--out", str(tmp_path / "faces")]
    assert sample(["--emotion", likely_in_colour, *easy, *folder]) == 0
    made = json.loads((tmp_path / "faces" / "manifest.json").read_text())
    assert made["request"]["as_told"] == "on"
    assert "attributes" in made["weights_sha256"]
    assert all(face["seen"]["hands"] < 0.5 and face["seen"]["closed"] < 0.5 for face in made["faces"])


def test_stored_faces_keep_what_the_probe_saw(probed_weights: Path, likely_in_colour: str) -> None:
    pipe = FacePipeline.from_pretrained(probed_weights)
    batch = pipe(likely_in_colour, 4, 0, max_tries=60, **FREE)
    again = faces_from(face_columns(batch.faces), batch.request, pipe.attributes)
    assert [face.seen for face in again] == [face.seen for face in batch.faces]


def test_a_probe_of_another_encoder_is_refused(probed_weights: Path, tmp_path: Path, small_encoder: Any) -> None:
    other = tmp_path / "other"
    small_encoder(16, answer="ferplus", seed=5).save_pretrained(other)
    # Somebody else's encoder reads the emotion; the probe keeps its own.
    pipe = FacePipeline.from_pretrained(probed_weights, encoder=other)
    assert pipe.probe is not None
    with pytest.raises(UserError, match="the probe in attributes was fitted on another encoder"):
        pipe.save_pretrained(tmp_path / "saved")
    shutil.copytree(other, probed_weights / "encoder", dirs_exist_ok=True)
    with pytest.raises(UserError, match="fitted on another encoder"):
        FacePipeline.from_pretrained(probed_weights)


def test_a_probe_is_saved_with_the_others(probed_weights: Path, tmp_path: Path) -> None:
    FacePipeline.from_pretrained(probed_weights).save_pretrained(tmp_path / "saved")
    assert FacePipeline.from_pretrained(tmp_path / "saved").probe is not None


def test_weights_without_a_probe_cannot_be_asked(colour: FacePipeline) -> None:
    assert colour.settled(colour.request("fear")).as_told == "off"
    with pytest.raises(UserError, match="as_told on: these weights hold no probe"):
        colour("fear", 1, as_told="on")


def test_a_temperature_that_is_asked_for_holds_to_the_end(colour: FacePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = colour.prior.sampling.model_copy(update={"temperature": 1.0, "cooled": 0.4})
    monkeypatch.setattr(colour.prior, "sampling", tuned)

    def settled(**asked: float) -> tuple[float | None, float | None]:
        request = colour.settled(colour.request("fear", **asked))  # type: ignore[arg-type]
        assert colour.settled(request) == request
        return request.temperature, request.cooled

    assert settled() == (1.0, 0.4)
    assert settled(temperature=0.7) == (0.7, 0.7)
    assert settled(temperature=0.7, cooled=0.2) == (0.7, 0.2)
    assert settled(cooled=0.2) == (1.0, 0.2)


def test_autoguidance_needs_an_early_exit(colour: FacePipeline) -> None:
    assert colour.settled(colour.request("fear")).autoguidance == 0
    assert colour.settled(colour.request("fear", autoguidance=0)).autoguidance == 0
    with pytest.raises(UserError, match="autoguidance 2: these weights have no early exit"):
        colour("fear", 1, autoguidance=2)
