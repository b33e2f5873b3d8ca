"""Grad-CAM and activation maps on networks whose answer is known to come from one place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.emotions import Emotion
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.explain import activation_maps, grad_cam, heat_overlay
from encoder.models.emotion_net import EmotionNet

SIZE = 32


class _Corner(nn.Module):
    """Two channels of 8x8 maps: the top left quarter of the brightness, and the bottom right quarter of it."""

    def forward(self, faces: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(faces.abs(), SIZE // 8)
        keep = torch.zeros(1, 2, 8, 8)
        keep[0, 0, :4, :4] = 1.0
        keep[0, 1, 4:, 4:] = 1.0
        return small * keep


@pytest.fixture
def corners() -> EmotionEncoder:
    """Fear is what stands top left, surprise what stands bottom right; nothing else matters."""
    config = ModelConfig(widths=(4,), depths=(1,), heads=("fer2013",))
    net = EmotionNet(config, [_Corner()], 2)
    head = net.heads["fer2013"]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[Emotion.FEAR, 0] = head.weight[Emotion.SURPRISE, 1] = 3.0
    preprocessing = PreprocessingConfig(size=SIZE, normalisation="fixed", mean=0.0, std=1.0)
    return EmotionEncoder(net, preprocessing, CalibrationConfig())


@pytest.fixture
def small(small_encoder: Callable[..., EmotionEncoder]) -> EmotionEncoder:
    return small_encoder(SIZE, seed=3)


def test_heat_lies_where_the_answer_comes_from(corners: EmotionEncoder, rng: np.random.Generator) -> None:
    faces = rng.integers(60, 255, (2, SIZE, SIZE), dtype=np.uint8)
    heat = grad_cam(corners, faces, [Emotion.FEAR, Emotion.SURPRISE])
    assert heat.shape == (2, SIZE, SIZE)
    assert heat.dtype == np.float32
    assert heat.max(axis=(1, 2)) == pytest.approx([1.0, 1.0])
    half = SIZE // 2
    assert heat[0, :half, :half].sum() > 0.85 * heat[0].sum()
    assert heat[1, half:, half:].sum() > 0.85 * heat[1].sum()


def test_without_a_target_the_top_emotion_is_explained(corners: EmotionEncoder) -> None:
    face = np.zeros((1, SIZE, SIZE), np.uint8)
    face[0, -10:, -10:] = 255
    assert corners.predict(face).distributions.argmax() == Emotion.SURPRISE
    assert np.array_equal(grad_cam(corners, face), grad_cam(corners, face, [Emotion.SURPRISE]))


def test_a_face_that_speaks_against_the_emotion_is_cold(corners: EmotionEncoder) -> None:
    face = np.full((1, SIZE, SIZE), 200, np.uint8)
    assert not grad_cam(corners, face, [Emotion.ANGER]).any()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_image_gives_finite_heat(small: EmotionEncoder, level: int) -> None:
    heat = grad_cam(small, np.full((3, 40, 40), level, np.uint8))
    assert heat.shape == (3, SIZE, SIZE)
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_batches_do_not_matter_and_weights_stay_frozen(small: EmotionEncoder, rng: np.random.Generator) -> None:
    faces = rng.random((5, 48, 48, 3))
    with torch.inference_mode():
        whole = grad_cam(small, faces)
    assert whole == pytest.approx(grad_cam(small, faces, batch_size=2), abs=1e-5)
    assert all(parameter.grad is None for parameter in small.net.parameters())
    assert grad_cam(small, faces[:0]).shape == (0, SIZE, SIZE)


def test_any_stage_can_be_asked(small: EmotionEncoder, rng: np.random.Generator) -> None:
    faces = rng.random((1, SIZE, SIZE))
    assert not np.array_equal(grad_cam(small, faces, layer=0), grad_cam(small, faces))
    with pytest.raises(UserError, match="layer 2: this network has 2 stages"):
        grad_cam(small, faces, layer=2)


@pytest.mark.parametrize(("target", "message"), [([0], "each of the 2 faces"), ([0, 7], "0 to 6")])
def test_wrong_targets_are_one_line(small: EmotionEncoder, target: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grad_cam(small, np.zeros((2, SIZE, SIZE)), target)


def test_activation_maps_follow_the_stages(small: EmotionEncoder, rng: np.random.Generator) -> None:
    first, second = activation_maps(small, rng.random((2, SIZE, SIZE)))
    assert first.shape == (2, 8, 16, 16)
    assert second.shape == (2, 16, 8, 8)


def test_overlay_colours_hot_places_only() -> None:
    image = np.full((20, 30), 100, np.uint8)
    heat = np.zeros((10, 15))
    heat[:3, :3] = 1.0
    shown = heat_overlay(image, heat)
    assert shown.shape == (20, 30, 3)
    assert (shown[12:, 15:] == 100).all()
    assert np.ptp(shown[1, 1].astype(int)) > 40
    assert np.array_equal(heat_overlay(np.repeat(image[..., None], 3, axis=2), heat), shown)
    with pytest.raises(ValueError, match="uint8"):
        heat_overlay(image / 255.0, heat)
