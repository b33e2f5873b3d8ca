"""A pupil that learns from its teachers' answers about faces that nobody labelled."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from configs.cli import UserError
from configs.loader import load_config
from encoder.config import EncoderConfig
from encoder.data.face_parquet import write_parquet_splits
from encoder.data.load import load_faces
from encoder.drawing.faces import drawn_set
from encoder.fitting.degrade import NUM_UNIFORMS, degrade
from encoder.fitting.fit import EncoderTask, fit_encoder
from encoder.fitting.loss import disagreement
from encoder.fitting.self_training import load_teachers, self_training_lessons, teacher_answers


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    drawn = {split: drawn_set(split, 64, seed=1, size=48) for split in ("train", "valid")}
    write_parquet_splits(folder / "stored", drawn)
    write_parquet_splits(folder / "photographs", {"train": drawn_set("train", 70, seed=2, size=96)})
    return folder


@pytest.fixture(scope="module")
def teacher(small_encoder: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    small_encoder(24, heads=("fer2013",)).save_pretrained(folder)
    return folder


def config(data: Path, teacher: Path, **self_training: object) -> EncoderConfig:
    chosen = {"teachers": [str(teacher)], "photographs": [str(data / "photographs" / "train.parquet")], **self_training}
    return load_config(
        EncoderConfig,
        None,
        defaults={
            "model": {"widths": [8, 16], "depths": [1, 1], "heads": ["fer2013"]},
            "preprocessing": {"size": 24},
            "data": {"path": str(data / "stored")},
            "train": {"epochs": 2, "batch_size": 16, "device": "cpu", "precision": "no", "mixup": 0},
            "self_training": chosen,
        },
    )


def lessons(settings: EncoderConfig, data: Path) -> Any:
    return self_training_lessons(settings, load_faces(data / "stored", "train", size=24), load_teachers(settings))


def test_targets_mix_people_and_teachers_and_photographs_are_the_teachers_alone(data: Path, teacher: Path) -> None:
    settings = config(data, teacher, teacher_share=0.25, sharpening=1.0)
    made, train = lessons(settings, data), load_faces(data / "stored", "train", size=24)
    assert made.crops.shape == (64 + 70, 2, 24, 24)
    answers = teacher_answers(load_teachers(settings), np.stack([train.images] * 2, 1), 1.0, ("fer2013",))["fer2013"]
    said = torch.nn.functional.one_hot(torch.from_numpy(train.labels.astype(int)), 7) * 0.9 + 0.1 / 7
    torch.testing.assert_close(made.targets["fer2013"][:64], (0.75 * said + 0.25 * answers).float())
    torch.testing.assert_close(made.targets["fer2013"].sum(1), torch.ones(134))
    # A photograph is shown as it is and degraded: alike, and not the same.
    sharp, poor = made.crops[64:].float().unbind(1)
    difference = (sharp - poor).abs().mean((1, 2))
    assert (difference > 0).all()
    assert difference.mean() < 30


def test_an_answer_of_several_teachers_is_their_mean_and_sharpening_makes_it_surer(
    data: Path, small_encoder: Callable[..., Any]
) -> None:
    one, other = (small_encoder(24, seed, heads=("fer2013",)) for seed in (0, 1))
    faces = load_faces(data / "stored", "valid", size=24).images[:, None]
    ask = lambda teachers, sharpening: teacher_answers(teachers, faces, sharpening, ("fer2013",))["fer2013"]  # noqa: E731
    together = torch.softmax((ask([one], 1.0).log() + ask([other], 1.0).log()) / 2, dim=1)
    torch.testing.assert_close(ask([one, other], 1.0), together)
    assert (ask([one], 0.5).amax(1) > ask([one], 1.0).amax(1)).all()
    mirrored = teacher_answers([one], faces[..., ::-1].copy(), 1.0, ("fer2013",))["fer2013"]
    torch.testing.assert_close(ask([one], 1.0), mirrored)


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_photographs_take_their_share_of_the_draws(data: Path, teacher: Path, balance: float) -> None:
    made = lessons(config(data, teacher, photograph_share=0.3, balance=balance), data)
    weights, photographs = made.weights, made.targets["fer2013"][64:]
    assert weights[64:].sum().item() == pytest.approx(0.3)
    assert weights.sum().item() == pytest.approx(1.0)
    by_class = torch.zeros(7, dtype=torch.float64).index_add(0, photographs.argmax(1), weights[64:])
    present = by_class > 0
    if balance:
        torch.testing.assert_close(by_class[present], torch.full_like(by_class[present], 0.3 / present.sum()))
    else:
        assert (weights[64:] == weights[64]).all()


def test_two_crops_that_read_alike_do_not_disagree() -> None:
    logits = torch.randn(6, 7)
    assert disagreement({"fer2013": logits.repeat_interleave(2, 0)}, 2).item() == pytest.approx(0, abs=1e-6)
    sure = 50.0 * torch.eye(7)[[0, 1]]
    # One crop says anger for sure, the other disgust: a bit of information, in nats.
    assert disagreement({"fer2013": sure}, 2).item() == pytest.approx(np.log(2), rel=1e-4)


def test_a_degraded_face_depends_on_its_numbers_alone_and_loses_detail(rng: np.random.Generator) -> None:
    face = rng.integers(0, 256, (96, 96), dtype=np.uint8)
    u = rng.random(NUM_UNIFORMS)
    poor = degrade(face, u)
    np.testing.assert_array_equal(poor, degrade(face, u))
    sharpness = [cv2.Laplacian(each.astype(np.float32), cv2.CV_32F).std() for each in (face, poor)]
    assert poor.shape == face.shape
    assert sharpness[1] < 0.5 * sharpness[0]
    assert (poor != degrade(face, rng.random(NUM_UNIFORMS))).any()


def test_a_pupil_interrupted_and_resumed_equals_an_unbroken_one(
    data: Path, teacher: Path, tmp_path: Path, signal_in_step: Any, differing: Any
) -> None:
    settings = config(data, teacher, aligned=str(data / "stored"))
    assert fit_encoder(settings, tmp_path / "whole", None) == 0
    with signal_in_step(EncoderTask, 9, signal.SIGINT):
        assert fit_encoder(settings, tmp_path / "broken", None) == 130
    assert fit_encoder(settings, tmp_path / "broken", "latest") == 0
    assert differing(tmp_path / "whole", tmp_path / "broken") == []
    text = (tmp_path / "whole" / "weights" / "config.json").read_text()
    assert '"photographs": 70' in text
    assert str(data) not in text
    assert str(teacher) not in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"photographs": ["nowhere.parquet"]}, "nowhere.parquet: no such file"),
        ({"aligned": "valid"}, "holds other faces than data.path"),
        ({"teachers": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    data: Path, teacher: Path, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "aligned" in changed:
        other = load_faces(data / "stored", "train").subset(np.arange(64)[::-1])
        write_parquet_splits(tmp_path / "other", {"train": other})
        changed = {"aligned": str(tmp_path / "other")}
    with pytest.raises(UserError, match=message):
        lessons(config(data, teacher, **changed), data)


def test_a_teacher_without_a_head_that_is_trained_is_refused(data: Path, teacher: Path) -> None:
    settings = config(data, teacher)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"heads": ("fer2013", "ferplus")})})
    with pytest.raises(UserError, match="has no head ferplus"):
        load_teachers(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["self_training.photographs=[a.parquet]"], "do nothing without teachers"),
        (["self_training.aligned=there"], "do nothing without teachers"),
        (["self_training.teachers=[t]", "train.sampling=balanced"], "train.sampling=balanced does nothing"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(EncoderConfig, None, settings)
