"""The weights that ship do what the README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder.emotions import EMOTION_NAMES
from generation.pipeline import FacePipeline

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
PARTS = ("encoder", "judge", "tokenizer", "prior", "critic", "critic_judge", "gender")


@pytest.mark.parametrize("emotion", EMOTION_NAMES)
def test_every_emotion_is_delivered_and_no_other_is_passed_off(shipped: FacePipeline, emotion: str) -> None:
    batch = shipped(emotion, 4, 0)
    assert batch.complete
    assert {verdict.top.label for verdict in batch.verdicts} == {emotion}
    assert len({face.image.tobytes() for face in batch.faces}) == 4
    once = shipped(emotion, 2, 5, max_tries=1)
    assert {verdict.top.label for verdict in once.verdicts} <= {emotion}
    assert once.complete == (len(once.faces) == 2)


def test_the_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 28_000_000


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_its_card_and_names_no_folder_of_its_maker(part: str) -> None:
    folder = PRETRAINED / part
    assert (folder / "README.md").read_text().startswith("# ")
    assert '"/' not in (folder / "config.json").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
