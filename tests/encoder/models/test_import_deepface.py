"""DeepFace's emotion network: our copy answers as the original does."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.cli import UserError
from configs.loader import load_config
from encoder import import_deepface
from encoder.config import EncoderConfig, ModelConfig
from encoder.emotions import EMOTION_NAMES
from encoder.fitting.starting_point import make_net
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models import deepface_client
from encoder.models.create import create_model
from encoder.models.deepface_client import import_deepface as import_module
from encoder.models.deepface_weights import copy_layers


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Any:
    """DeepFace's client with random weights in place of the published ones."""
    emotion = import_module("deepface.models.demography.pytorch.Emotion")
    torch.manual_seed(0)
    network = emotion.base_model().eval()
    client = emotion.EmotionClient.__new__(emotion.EmotionClient)
    client.model_name, client.device, client.model = "Emotion", torch.device("cpu"), network
    monkeypatch.setattr(deepface_client, "load_deepface", lambda *_: client)
    return client


def test_pictures_give_the_answer_that_deepface_gives(original: Any, rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (3, 48, 48), dtype=np.uint8)
    blue_first = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32) / 255
    theirs = original.predict(blue_first)
    ours = import_deepface.published_encoder().predict(grey).distributions.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_classes_in_another_order_are_put_into_ours(original: Any) -> None:
    labels = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry"]
    net = create_model(ModelConfig(name="deepface", heads=("fer2013",))).eval()
    copy_layers(original.model, labels, net)
    face = torch.rand(1, 1, 48, 48)
    with torch.no_grad():
        ours, theirs = net(face).logits["fer2013"].softmax(1)[0], original.model(face)[0]
    assert ours[EMOTION_NAMES.index("neutral")] == pytest.approx(float(theirs[0]), abs=1e-5)
    assert ours[EMOTION_NAMES.index("anger")] == pytest.approx(float(theirs[6]), abs=1e-5)


@pytest.mark.usefixtures("original")
def test_the_command_writes_weights_that_load(tmp_path: Path) -> None:
    assert import_deepface.main(["--out", str(tmp_path / "weights")]) == 0
    loaded = EmotionEncoder.from_pretrained(tmp_path / "weights")
    assert sum(p.numel() for p in loaded.net.parameters()) == 1_485_831


def settings(**preprocessing: object) -> EncoderConfig:
    defaults = {"model": {"name": "deepface"}, "preprocessing": preprocessing, "train": {"init": "deepface"}}
    return load_config(EncoderConfig, None, defaults=defaults)


def test_training_starts_from_them(original: Any) -> None:
    net = make_net(settings(normalisation="fixed", mean=0.0, std=1.0))
    assert torch.equal(net.state_dict()["stages.1.3.weight"], original.model.conv_3.weight)
    with pytest.raises(UserError, match="grey levels from 0 to 1"):
        make_net(settings())


def test_another_network_is_refused() -> None:
    net = create_model(ModelConfig(name="deepface"))
    with pytest.raises(UserError, match="another one than this project knows"):
        copy_layers(torch.nn.Linear(2, 2), [], net)
    with pytest.raises(UserError, match="PyTorch backend"):
        copy_layers(object(), [], net)


def test_offline_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def build_model(**_: object) -> None:
        raise ValueError("connection refused")

    modeling = types.SimpleNamespace(AVAILABLE_MODELS={"facial_attribute": {"Emotion": None}}, build_model=build_model)
    monkeypatch.setattr(deepface_client, "import_deepface", lambda _: modeling)
    with pytest.raises(UserError, match=r"deepface:Emotion: its weights cannot be had \(connection refused\)"):
        import_deepface.main(["--out", str(tmp_path / "weights")])
    assert not (tmp_path / "weights").exists()
