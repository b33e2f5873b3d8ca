"""Networks of earlier systems: their sizes, their input, what of them learns, where their weights come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from configs.cli import UserError
from configs.loader import load_config
from encoder.config import CalibrationConfig, EncoderConfig, ModelConfig, PreprocessingConfig
from encoder.drawing.faces import drawn_set
from encoder.evaluation.report_faces import explain_face
from encoder.fitting.starting_point import freeze, make_net
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.preprocessing import normalise
from encoder.models.create import create_model, registered_model

LAYERS = nn.Conv2d | nn.Linear


def build(name: str) -> Any:
    torch.manual_seed(0)
    return create_model(ModelConfig(name=name, heads=("fer2013",)))


def config(name: str, init: str | None = None, **preprocessing: object) -> EncoderConfig:
    defaults = {"model": {"name": name}, "preprocessing": preprocessing, "train": {"init": init}}
    return load_config(EncoderConfig, None, defaults=defaults)


def test_deepface_has_the_parameters_of_the_original() -> None:
    net = build("deepface")
    assert sum(parameter.numel() for parameter in net.parameters()) == 1_485_831
    assert [type(layer) for layer in net.modules() if isinstance(layer, LAYERS)] == [nn.Conv2d] * 5 + [nn.Linear] * 3


@pytest.mark.parametrize(
    ("name", "widths", "size"),
    [("conv4-100", [32, 64, 128, 128], 100), ("conv4-bn-128", [32, 64, 128, 256], 128), ("conv4-1024", [32, 64, 128, 128], 48)],
)
def test_the_small_ones_have_four_convolutions_and_one_dense_layer(name: str, widths: list[int], size: int) -> None:
    net = build(name)
    assert [layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d)] == widths
    assert len([layer for layer in net.neck.modules() if isinstance(layer, nn.Linear)]) == 1
    assert registered_model(name).size == size
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()) == (name == "conv4-bn-128")


def test_sizes_that_a_network_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match="deepface has its own sizes"):
        create_model(ModelConfig(name="deepface", widths=(8, 16), depths=(1, 1)))


@pytest.mark.parametrize(
    ("model", "preprocessing", "message"),
    [
        ("conv4-100", {"size": 48}, "reads 100 pixels, not 48"),
        ("vgg16", {"size": 24}, "needs at least 32"),
        ("deepface", {"size": 48, "normalisation": "imagenet"}, "reads grey"),
    ],
)
def test_input_that_does_not_fit_is_one_line_before_training(model: str, preprocessing: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_net(config(model, **preprocessing))


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_grey_faces_are_read_in_the_constants_of_imagenet(name: str) -> None:
    face = torch.rand(1, 1, 40, 40)
    shown = normalise(face, PreprocessingConfig(size=40, normalisation="imagenet"))
    restored = shown * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    torch.testing.assert_close(restored, face.expand(-1, 3, -1, -1))
    encoder = EmotionEncoder(build(name), PreprocessingConfig(size=40, normalisation="imagenet"), CalibrationConfig())
    assert encoder.predict(face).distributions.shape == (1, 7)


@pytest.mark.parametrize(("name", "weights"), [("vgg16", "VGG16_Weights"), ("resnet50", "ResNet50_Weights")])
def test_imagenet_weights_go_where_torchvision_has_them(name: str, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    torch.manual_seed(1)
    published = getattr(torchvision.models, name)(weights=None).eval()
    monkeypatch.setattr(getattr(torchvision.models, weights), "get_state_dict", lambda *_, **__: published.state_dict())
    net = make_net(config(name, "imagenet", size=32)).eval()
    picture = torch.rand(1, 3, 32, 32)
    maps = net(picture).maps[-1]
    if name == "vgg16":
        expected = published.features[:-1](picture)
    else:
        stem = published.maxpool(published.relu(published.bn1(published.conv1(picture))))
        expected = published.layer4(published.layer3(published.layer2(published.layer1(stem))))
    torch.testing.assert_close(maps, expected)


def test_imagenet_weights_that_cannot_be_had_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.VGG16_Weights, "get_state_dict", offline)
    with pytest.raises(UserError, match=r"ImageNet weights of vgg16 cannot be had \(no route to host\).*train.init=null"):
        make_net(config("vgg16", "imagenet"))
    with pytest.raises(UserError, match="no ImageNet weights for deepface; there are for resnet50, vgg16"):
        make_net(config("deepface", "imagenet"))


@pytest.mark.parametrize(
    ("name", "trainable", "convolutions"), [("conv4-bn-128", "head", 0), ("resnet50", "head", 0), ("resnet50", "last4", 4)]
)
def test_frozen_layers_and_their_statistics_do_not_move(name: str, trainable: Any, convolutions: int) -> None:
    net = build(name).train()
    freeze(net, trainable)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    size = registered_model(name).size or 48
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        net(torch.randn(2, 1, size, size)).logits["fer2013"].logsumexp(1).mean().backward()
        optimizer.step()
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    learning = [key for key, layer in net.stages.named_modules() if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad]
    assert len(learning) == convolutions
    assert "heads.fer2013.weight" in moved
    assert any(key.startswith("neck.") for key in moved) == (name != "resnet50")
    if trainable == "head":
        assert [key for key in moved if key.startswith("stages.")] == []
    else:
        # The third convolution of the last block but one, and the last block.
        assert learning == ["4.1.conv3", "4.2.conv1", "4.2.conv2", "4.2.conv3"]
        assert {key.rpartition(".")[0] for key in moved if key.startswith("stages.")} <= {
            f"stages.{layer}" for layer in (*learning, "4.1.bn3", "4.2.bn1", "4.2.bn2", "4.2.bn3")
        }
        assert "stages.4.2.bn1.running_mean" in moved


@pytest.mark.parametrize("name", ["deepface", "conv4-100", "vgg16", "resnet50"])
def test_the_report_can_show_what_a_network_looks_at(name: str) -> None:
    entry = registered_model(name)
    normalisation = "imagenet" if entry.colour else "per_image"
    preprocessing = PreprocessingConfig(size=entry.size or 48, normalisation=normalisation)
    encoder = EmotionEncoder(build(name), preprocessing, CalibrationConfig())
    shown, strips = explain_face(encoder, drawn_set("test", 1, size=preprocessing.size), 0)
    assert len(strips) == len(encoder.net.stages)
    assert shown["id"] == "drawn-test-0000000"
