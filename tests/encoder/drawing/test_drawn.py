"""Drawn faces: known emotions, pure functions of seed and number, legible to a small classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from configs.cli import UserError
from encoder.drawing.action_units import AU_COLUMN, NUM_ACTION_UNITS
from encoder.drawing.faces import draw_faces, drawn_set
from encoder.drawn import main
from encoder.emotions import NUM_EMOTIONS, Emotion


def test_faces_have_the_promised_shapes_and_ranges(rng: np.random.Generator) -> None:
    faces = draw_faces(9, seed=int(rng.integers(1 << 30)), size=40)
    assert faces.images.shape == (9, 40, 40)
    assert faces.images.dtype == np.uint8
    assert faces.action_units.shape == (9, NUM_ACTION_UNITS)
    assert ((faces.action_units >= 0) & (faces.action_units <= 1)).all()
    np.testing.assert_allclose(faces.distributions.sum(axis=1), 1.0, atol=1e-6)
    assert faces.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_a_face_does_not_depend_on_the_batch_around_it(rng: np.random.Generator) -> None:
    seed = int(rng.integers(1 << 30))
    together = draw_faces(23, seed=seed, size=32)
    alone = draw_faces(1, seed=seed, size=32, first=20)
    np.testing.assert_array_equal(together.images[20], alone.images[0])
    np.testing.assert_array_equal(together.action_units[20], alone.action_units[0])


def test_seeds_draw_different_people(rng: np.random.Generator) -> None:
    seed = int(rng.integers(1 << 30))
    a, b = draw_faces(8, seed=seed), draw_faces(8, seed=seed + 1)
    assert (a.images != b.images).any(axis=(1, 2)).all()
    assert len(set(a.identity.tolist())) == 8


@pytest.mark.parametrize("emotion", [e for e in Emotion if e is not Emotion.NEUTRAL])
def test_action_units_rise_with_intensity(emotion: Emotion) -> None:
    levels = np.linspace(0, 1, 6)
    one = np.eye(NUM_EMOTIONS)[[emotion] * 6]
    units = np.stack(
        [draw_faces(1, seed=5, distribution=row, intensity=level).action_units[0] for row, level in zip(one, levels, strict=True)]
    )
    assert (np.diff(units, axis=0) >= -1e-6).all()
    assert units[-1].sum() > units[0].sum() + 0.5


def test_a_mixture_moves_the_units_of_both_emotions() -> None:
    half = np.zeros(NUM_EMOTIONS)
    half[[Emotion.HAPPINESS, Emotion.SURPRISE]] = 0.5
    units = draw_faces(1, seed=0, distribution=half, intensity=1.0, variation=0.0).action_units[0]
    assert units[AU_COLUMN[12]] > 0.3
    assert units[AU_COLUMN[2]] > 0.3


def test_zero_intensity_is_neutral() -> None:
    fear = np.eye(NUM_EMOTIONS)[Emotion.FEAR]
    faces = draw_faces(2, seed=0, distribution=fear, intensity=0.0, variation=0.0)
    assert faces.action_units.max() == 0
    np.testing.assert_array_equal(faces.distributions[:, Emotion.NEUTRAL], 1.0)


def test_splits_share_nobody() -> None:
    people = [set(drawn_set(split, 300).identities) for split in ("train", "valid", "test")]
    assert len(set.union(*people)) == sum(len(group) for group in people)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "size of drawn faces"),
        ({"intensity": 1.5}, "intensity"),
        ({"distribution": [1, 0, 0]}, "shape"),
        ({"distribution": [0.9, 0.9, 0, 0, 0, 0, 0]}, "sum to 1"),
        ({"variation": 2.0}, "variation"),
        ({"count": "3"}, r"count: must be a whole number, got '3' \(str\)"),
        ({"seed": "x"}, "seed: must be a whole number"),
        ({"size": 64.5}, "size: must be a whole number"),
        ({"variation": "some"}, "variation: must be a number"),
        ({"intensity": "full"}, "intensity: must be numbers"),
        ({"identities": ["a", "b"]}, "identities: must be 2 integers"),
        ({"distribution": "fera"}, "did you mean 'fear'"),
        ({"distribution": object()}, "distribution: must be numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_faces(**{"count": 2, "seed": 0, **settings})


def test_emotions_are_drawn_by_name_too() -> None:
    fear, anger = np.eye(NUM_EMOTIONS)[Emotion.FEAR], np.eye(NUM_EMOTIONS)[Emotion.ANGER]
    by_numbers = draw_faces(np.int64(2), seed=np.int64(3), size=32, distribution=[fear, anger]).images
    for form in (["fear", Emotion.ANGER], ["peur", {"anger": 2}]):
        np.testing.assert_array_equal(draw_faces(2, seed=3, size=32, distribution=form).images, by_numbers)
    for one in ("fear", Emotion.FEAR, {"fear": 1}):
        assert set(draw_faces(2, seed=3, size=32, distribution=one).labels) == {Emotion.FEAR}


def test_the_command_writes_a_sheet(tmp_path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["--count", "7", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_small_classifier_tells_the_seven_apart_on_people_it_never_saw() -> None:
    torch.manual_seed(0)
    train, test = drawn_set("train", 7000, seed=1, size=32), drawn_set("test", 1400, seed=2, size=32)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, NUM_EMOTIONS)),
    )
    epochs, batch = 6, 64
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * (len(train) // batch))

    def prepare(images: np.ndarray) -> torch.Tensor:
        faces = torch.from_numpy(images).float().unsqueeze(1) / 255
        return (faces - faces.mean((2, 3), keepdim=True)) / (faces.std((2, 3), keepdim=True) + 1e-3)

    faces, labels = prepare(train.images), torch.from_numpy(train.labels).long()
    for _ in range(epochs):
        for rows in torch.randperm(len(faces)).split(batch):
            if len(rows) < batch:
                continue
            loss = F.cross_entropy(net(faces[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        found = net.eval()(prepare(test.images)).argmax(1).numpy()
    assert (found == test.labels).mean() >= 0.95
