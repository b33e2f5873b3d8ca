"""The table that says whether people would believe the faces: of tiny grey weights, and of ones that paint photographs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from configs.cli import UserError
from encoder.detection import centerface
from encoder.detection.face import DetectedFace
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures.face_images import png_bytes
from eval.experiments.experiment import hits, read
from eval.realism.__main__ import main
from eval.realism.tables import PARTS
from generation.pipeline import FacePipeline
from generation.vetoes import EYE_DISTANCE, EYES, MOUTH
from vqvae.attributes import ATTRIBUTES
from vqvae.critics.critic import RealismCritic

FEW = ["--per-emotion", "3", "--threshold", "0", "--bootstrap", "2", "--epochs", "1"]


class InPlace:
    """Finds every face where it belongs, but none in black pictures."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return self.detect_all([picture])[0]

    def detect_all(self, pictures: Any) -> list[list[DetectedFace]]:
        return [[self._face(len(picture))] if picture.any() else [] for picture in pictures]

    def _face(self, side: int) -> DetectedFace:
        (x, y), half = EYES, EYE_DISTANCE / 2
        points = np.array([(x - half, y), (x + half, y), (x, 0.5), MOUTH, MOUTH])
        return DetectedFace((0, 0, side, side), 0.8, (points * side - 0.5).astype(np.float32))


@pytest.fixture(autouse=True)
def _known_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface, "CenterFaceDetector", InPlace)


@pytest.fixture
def painter(tmp_path: Path, photo_weights: Callable[..., Path]) -> Path:
    folder = photo_weights(tmp_path / "painter")
    shutil.copytree(folder / "encoder", folder / "judge")
    return folder


@pytest.fixture
def photographs(tmp_path: Path, rng: np.random.Generator) -> Path:
    faces = [png_bytes(face) for face in rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)]
    rows = [{"image": {"bytes": face, "path": None}} for face in faces]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "valid.parquet")
    return tmp_path


def parts_in(folder: Path) -> Any:
    return json.loads((folder / "realism.json").read_text())["parts"]


def test_grey_weights_give_every_part_that_they_can(places: list[str], weights: Path, drawn_data: Path, tmp_path: Path) -> None:
    assert main([*FEW, *places, "--data", str(drawn_data), "--seed", "7"]) == 0
    parts = parts_in(tmp_path)
    assert tuple(parts) == PARTS
    assert "no second critic" in parts["critic"]["absent"]
    assert "cannot be told" in parts["told"]["absent"]
    total = parts["drawing"]["all"]
    assert (total["asked"], total["first_draws_accepted"]["faces"]) == (21, 21)
    assert total["delivered"] == sum(parts["drawing"][name]["delivered"] for name in EMOTION_NAMES)
    assert total["tried"] == total["delivered"] + sum(total["refused"].values())
    for what in ("object", "closed"):
        assert parts["attributes"]["attributes"]["first"][what]["all"]["faces"] == 21
        assert parts["attributes"]["attributes"]["real"][what]["all"]["faces"] == 80
    assert parts["placement"]["first"]["in_place"]["share"] == parts["placement"]["real"]["found"]["share"] == 1.0
    assert parts["distances"]["first"]["frechet"]["value"] > 0
    assert 0 <= parts["told-apart"]["first"]["painted"]["value"] <= 1
    assert parts["told-apart"]["first"]["as_they_are"]["faces"] <= 21
    text = (tmp_path / "realism.md").read_text()
    for line in ("Fréchet / floor, judge", "hand or object, fear", "| fear |", "Not measured: these weights"):
        assert line in text

    # Face i of the k-th emotion has a seed of its own.
    pipe, judge = FacePipeline.from_pretrained(weights), EmotionEncoder.from_pretrained(weights / "judge")
    for number, name in enumerate(EMOTION_NAMES):
        batch = pipe.draw_all(pipe.request(name, 3, 7 + 3 * number))
        assert parts["emotion"]["judge"]["first"][name]["value"] == pytest.approx(
            hits(read(judge, batch, 16), name) / 3, abs=1e-4
        )


def test_what_is_done_is_kept_and_never_mixed_with_other_settings(
    places: list[str], drawn_data: Path, tmp_path: Path, before_each: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    draws: list[int] = []
    before_each(FacePipeline, "draw", lambda _self, _request, seeds, *_rest, **_options: draws.extend(seeds))
    asked = [*FEW, *places, "--data", str(drawn_data)]
    assert main([*asked, "--only", "drawing"]) == 0
    assert tuple(parts_in(tmp_path)) == ("drawing",)
    assert set(draws) == set(range(21))
    assert "Fréchet" not in capsys.readouterr().out
    draws.clear()
    assert main([*asked, "--only", "told,drawing"]) == 0
    assert tuple(parts_in(tmp_path)) == ("drawing", "told")
    assert draws == []
    with pytest.raises(UserError, match="was made with other seed"):
        main([*asked, "--only", "drawing", "--seed", "1"])


def test_weights_that_paint_photographs(painter: Path, photographs: Path, drawn_data: Path, tmp_path: Path) -> None:
    # The second critic is told from the first by its architecture alone; here it is the same.
    shutil.copytree(painter / "critic", painter / "critic_judge")
    out = tmp_path / "out"
    networks = ["--weights", str(painter), "--judge", str(painter / "judge"), "--device", "cpu"]
    asked = [*FEW, *networks, "--data", str(drawn_data), "--photographs", str(photographs), "--out", str(out)]
    assert main(asked) == 0
    parts = parts_in(out)
    assert parts["told-apart"]["real_are"] == "photographs of colour128, valid"
    assert parts["placement"]["real"]["faces"] == 21
    delivered = parts["drawing"]["all"]["delivered"]
    assert delivered > 0
    for name, classes in ATTRIBUTES.items():
        shares = parts["told"][name]
        assert sum(found["value"] for found in shares.values()) == pytest.approx(1.0, abs=0.01)
        assert set(shares) == set(classes)
    assert parts["told"]["hands"]["no"] == {
        "value": 1.0,
        "interval": parts["told"]["hands"]["no"]["interval"],
        "faces": delivered,
    }

    pipe, critic = FacePipeline.from_pretrained(painter), RealismCritic.from_pretrained(painter / "critic_judge")
    scores = []
    for number, name in enumerate(EMOTION_NAMES):
        request = pipe.request(name, 3, 3 * number, realism=0.0)
        for face in pipe.draw_all(request).faces:
            scores.append(critic.realism(torch.from_numpy(face.image).permute(2, 0, 1)[None].float() / 255.0).item())
    assert parts["critic"]["first"]["value"] == pytest.approx(np.mean(scores), abs=1e-3)
    assert parts["critic"]["verified"]["faces"] == delivered


def test_the_old_look_of_new_weights_is_compared_with_grey_faces(
    painter: Path, photographs: Path, drawn_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(painter / "critic", painter / "critic_judge")
    networks = ["--weights", str(painter), "--judge", str(painter / "judge"), "--device", "cpu"]
    asked = [*FEW, *networks, "--data", str(drawn_data), "--look", "fer2013", "--out", str(tmp_path / "out")]
    assert main([*asked, "--only", "told-apart,critic,placement"]) == 0
    parts = parts_in(tmp_path / "out")
    assert parts["told-apart"]["real_are"] == "grey faces of fer2013, valid"
    assert parts["told-apart"]["first"]["painted"]["faces"] == parts["told-apart"]["first"]["as_they_are"]["faces"] > 0
    assert "the look is fer2013" in parts["critic"]["absent"]
    with pytest.raises(UserError, match="--photographs: faces of look fer2013 by these weights are grey"):
        main([*asked, "--photographs", str(photographs)])


def test_a_second_critic_of_other_weights_is_refused(painter: Path, drawn_data: Path, tmp_path: Path) -> None:
    critic = RealismCritic.from_pretrained(painter / "critic")
    critic.tokens = {"tokenizer": "0" * 64, "prior": "0" * 64}
    critic.save_pretrained(painter / "critic_judge")
    networks = ["--weights", str(painter), "--judge", str(painter / "judge"), "--device", "cpu"]
    with pytest.raises(UserError, match="critic_judge: was trained on faces of another tokenizer or prior"):
        main([*FEW, *networks, "--data", str(drawn_data), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
