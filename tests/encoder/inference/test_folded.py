"""The copy of a network through which faces are read on the CPU: the same answers, whatever was done before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.explain import grad_cam
from encoder.inference.folded import folded
from encoder.models.create import create_model, list_models, registered_model
from engine.training.ema import Ema

SIZE = 24


def vary(net: nn.Module, seed: int = 0) -> None:
    """Give every parameter and every norm's statistics values as of a trained network."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                scales = (module.weight, 0.5, 1.5), (module.running_var, 0.2, 2.0)
                places = (module.bias, -0.5, 0.5), (module.running_mean, -0.5, 0.5)
                for tensor, low, high in (*scales, *places):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)


def make(name: str = "resnet", size: int = SIZE, seed: int = 0) -> EmotionEncoder:
    torch.manual_seed(seed)
    sizes = {"widths": (8, 16), "depths": (2, 1)} if registered_model(name).sized else {}
    net = create_model(ModelConfig(name=name, **sizes))
    vary(net, seed)
    return EmotionEncoder(net, PreprocessingConfig(size=size), CalibrationConfig())


@pytest.fixture
def faces(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)


def directly(encoder: EmotionEncoder, faces: np.ndarray) -> dict[str, Tensor]:
    """What the network itself says."""
    with torch.inference_mode():
        output = encoder.forward_unit(torch.from_numpy(faces)[:, None] / 255.0)
        heads = {name: encoder.head_log_probabilities(output, name).exp() for name in output.logits}
        return {**heads, "distribution": encoder.log_distribution(output).exp(), "embedding": output.embedding}


def predicted(encoder: EmotionEncoder, faces: np.ndarray) -> dict[str, Tensor]:
    found = encoder.predict(faces)
    return {**found.heads, "distribution": found.distributions, "embedding": found.embeddings}


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    assert one.keys() == two.keys()
    for name in one:
        # Embeddings have no scale of their own.
        scale = max(1.0, float(two[name].abs().max()))
        assert float((one[name] - two[name]).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("name", list_models())
def test_every_network_answers_as_it_does_itself(name: str, rng: np.random.Generator) -> None:
    entry = registered_model(name)
    size = entry.size or max(SIZE, entry.smallest)
    encoder = make(name, size)
    shown = rng.integers(0, 256, (3, size, size), dtype=np.uint8)
    assert_same(predicted(encoder, shown), directly(encoder, shown))


@pytest.mark.parametrize("name", ["resnet", "plain"])
def test_no_norm_is_left_in_our_networks(name: str) -> None:
    net = make(name).net
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(net).modules())


@pytest.mark.parametrize("weights", ["encoder", "judge", "fast"])
def test_the_shipped_networks_answer_the_same(weights: str) -> None:
    from encoder.drawing.faces import draw_faces
    from engine.storage.weights import resolve_folder

    encoder = EmotionEncoder.from_pretrained(resolve_folder(f"pretrained/{weights}"))
    shown = draw_faces(14, seed=0, size=48).images
    assert_same(predicted(encoder, shown), directly(encoder, shown))


def scale(encoder: EmotionEncoder) -> None:
    next(encoder.net.parameters()).mul_(1.5)


def average(encoder: EmotionEncoder) -> None:
    ema = Ema(encoder.net, 0.9)
    ema.module = encoder.net
    ema.update(make(seed=1).net)


def renew_statistics(encoder: EmotionEncoder) -> None:
    encoder.net.train()
    encoder.net(torch.linspace(-1, 1, 4 * SIZE * SIZE).view(4, 1, SIZE, SIZE))
    encoder.net.eval()


CHANGES: dict[str, Callable[[EmotionEncoder], object]] = {
    "scaled in place": torch.no_grad()(scale),
    "scaled in inference mode": torch.inference_mode()(scale),
    "other weights loaded": lambda encoder: encoder.net.load_state_dict(make(seed=1).net.state_dict()),
    "other weights assigned": lambda encoder: encoder.net.load_state_dict(make(seed=1).net.state_dict(), assign=True),
    "another network": lambda encoder: setattr(encoder, "net", make(seed=1).net),
    "another part": lambda encoder: encoder.net.stages.__setitem__(1, make(seed=1).net.stages[1]),
    "rounded to half": lambda encoder: encoder.net.half().float(),
    "averaged": average,
    "new statistics": renew_statistics,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_answers_as_if_it_was_never_read_before(change: str, faces: np.ndarray) -> None:
    used, fresh = make(), make()
    before = predicted(used, faces)
    for encoder in (used, fresh):
        CHANGES[change](encoder)
    after = predicted(used, faces)
    assert_same(after, predicted(fresh, faces), 0.0)
    assert_same(after, directly(used, faces))
    if change != "rounded to half":
        assert not torch.equal(after["distribution"], before["distribution"])


def test_training_mode_hooks_and_other_types_are_read_from_the_network_itself(faces: np.ndarray) -> None:
    encoder = make()
    expected = predicted(encoder, faces)
    seen: list[int] = []
    handle = encoder.net.stages[0].register_forward_hook(lambda *_: seen.append(1))
    assert_same(predicted(encoder, faces), expected)
    assert seen
    handle.remove()
    encoder.net.train()
    statistics = encoder.net.stages[0][1].running_mean.clone()
    encoder.predict(faces)
    assert not torch.equal(encoder.net.stages[0][1].running_mean, statistics)
    with torch.inference_mode():
        born_there = make()
        assert_same(predicted(born_there, faces), directly(born_there, faces), 0.0)


def test_gradients_and_weights_are_those_of_a_network_that_was_never_read(faces: np.ndarray, tmp_path: Path) -> None:
    used, fresh = make(), make()
    used.predict(faces)
    assert np.array_equal(grad_cam(used, faces), grad_cam(fresh, faces))
    for encoder, name in ((used, "used"), (fresh, "fresh")):
        encoder.save_pretrained(tmp_path / name)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "used" / file).read_bytes() == (tmp_path / "fresh" / file).read_bytes()


def test_a_copied_encoder_makes_its_own(faces: np.ndarray) -> None:
    encoder = make()
    expected = predicted(encoder, faces)
    other = copy.deepcopy(encoder)
    assert_same(predicted(other, faces), expected, 0.0)
    CHANGES["scaled in place"](other)
    assert not torch.equal(other.predict(faces).distributions, expected["distribution"])
    assert_same(predicted(encoder, faces), expected, 0.0)
