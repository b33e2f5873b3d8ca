"""What the tokenizer's losses reward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from configs.cli import UserError
from encoder.inference.emotion_encoder import EmotionEncoder
from vqvae.losses import EmotionLoss, PatchDiscriminator, discriminator_loss, lpips_distance, pixel_loss
from vqvae.tokenizer_stage import TokenizerTask


@pytest.fixture
def encoder(small_encoder: Callable[..., EmotionEncoder]) -> EmotionEncoder:
    return small_encoder(16, answer="ferplus")


def test_the_same_faces_lose_nothing(encoder: EmotionEncoder) -> None:
    loss = EmotionLoss(encoder)
    faces = torch.rand(4, 1, 16, 16)
    features, divergence = loss(faces, faces)
    assert float(features) == pytest.approx(0, abs=1e-5)
    assert float(divergence) == pytest.approx(0, abs=1e-5)
    assert float(pixel_loss(faces, faces)) == 0


def test_the_gradient_reaches_the_reconstruction_and_not_the_encoder(encoder: EmotionEncoder) -> None:
    made = torch.rand(4, 1, 16, 16, requires_grad=True)
    torch.stack(EmotionLoss(encoder)(made, torch.rand(4, 1, 16, 16))).sum().backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.net.parameters())


def test_faces_further_away_lose_more(encoder: EmotionEncoder) -> None:
    loss = EmotionLoss(encoder)
    faces = torch.rand(8, 1, 16, 16)
    noise = torch.randn_like(faces)
    near, far = (torch.stack(loss((faces + s * noise).clamp(0, 1), faces)).sum() for s in (0.02, 0.4))
    assert far > near > 0


def test_hinge_loss_of_known_scores() -> None:
    assert float(discriminator_loss(torch.tensor([2.0]), torch.tensor([-3.0]))) == 0
    assert float(discriminator_loss(torch.tensor([0.0]), torch.tensor([0.0]))) == 2


def test_the_discriminator_learns_to_tell_noise_from_flat_grey() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(60):
        loss = discriminator_loss(net(torch.rand(8, 1, 16, 16)), net(torch.full((8, 1, 16, 16), 0.5)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5


def test_every_part_of_the_loss_can_be_switched_off_and_the_others_stay(
    tiny_runs: Any, encoder: EmotionEncoder, tmp_path: Path
) -> None:
    encoder.save_pretrained(tmp_path / "encoder")
    parts = {"pixel": 1.0, "perceptual": 0.5, "emotion": 0.2, "commitment": 0.25, "adversarial": 0.1}
    # What a part is called in metrics.jsonl; commitment is written as it is, whatever it weighs.
    names = {"pixel": "pixel", "perceptual": "perceptual", "emotion": "emotion", "adversarial": "discriminator"}

    def weights_after(off: str | None) -> torch.Tensor:
        weights = [f"loss.{part}={0.0 if part == off else weight}" for part, weight in parts.items()]
        short = ["tokenizer_stage.epochs=0.5", "loss.adversarial_start=0.05"]
        assert tiny_runs.train(str(off), "tokenizer", f"encoder={tmp_path / 'encoder'}", *short, *weights) == 0
        tensors = tiny_runs.tensors(str(off), "tokenizer")
        return torch.cat([tensor.flatten() for name, tensor in tensors.items() if name.startswith("tokenizer/")])

    whole = weights_after(None)
    for off in parts:
        assert not torch.equal(weights_after(off), whole), off
        last = tiny_runs.figures(off, "tokenizer")[-1]
        assert {part for part, name in names.items() if last.get(name, 0.0) > 0} == {*names} - {off}


NO_ENCODER = ["encoder=null", "loss.emotion=0", "loss.perceptual=0"]


def test_the_discriminator_is_listened_to_late(tiny_runs: Any, before_each: Callable[..., None]) -> None:
    heard: list[int] = []
    before_each(TokenizerTask, "train_step", lambda *_: heard.append(0))
    before_each(TokenizerTask, "_at_last_layer", lambda *_: heard.__setitem__(-1, 1))
    assert tiny_runs.train("run", "tokenizer", *NO_ENCODER, "loss.adversarial_start=0.5") == 0
    assert heard == [0] * 6 + [1] * 6
    assert ["discriminator" in row for row in tiny_runs.figures("run", "tokenizer")] == [False] * 6 + [True] * 6


def test_a_louder_discriminator_pulls_no_harder(tiny_runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def after_one_step(name: str, loudness: float, weight: float = 0.1) -> torch.Tensor:
        original = PatchDiscriminator.forward
        with monkeypatch.context() as patch:
            patch.setattr(PatchDiscriminator, "forward", lambda self, faces: loudness * original(self, faces))
            one = ["tokenizer_stage.epochs=0.17", "loss.adversarial_start=0", f"loss.adversarial={weight}"]
            assert tiny_runs.train(name, "tokenizer", *NO_ENCODER, *one) == 0
        tensors = tiny_runs.tensors(name, "tokenizer")
        moved = {key: tensor for key, tensor in tensors.items() if key.startswith("optimizer-tokenizer/") and "exp_avg" in key}
        return torch.cat([moved[key].flatten() for key in sorted(moved)])

    plain, loud, none = after_one_step("plain", 1.0), after_one_step("loud", 50.0), after_one_step("none", 1.0, 0.0)
    assert torch.allclose(plain, loud, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(plain, none, rtol=1e-2, atol=1e-7)


def test_lpips_is_zero_for_copies_and_differentiable(monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    monkeypatch.setattr(lpips, "LPIPS", functools.partial(lpips.LPIPS, pnet_rand=True))
    distance = lpips_distance(torch.device("cpu"))
    faces, made = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32, requires_grad=True)
    assert float(distance(faces, faces)) == pytest.approx(0, abs=1e-6)
    found = distance(made, faces)
    found.backward()
    assert float(found.detach()) > 0
    assert made.grad is not None
    assert made.grad.abs().sum() > 0


def test_lpips_without_its_trunk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("lpips")

    def absent(**_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(lpips, "LPIPS", absent)
    with pytest.raises(UserError, match=r"vgg16-397923af.pth cannot be had .*no network"):
        lpips_distance(torch.device("cpu"))
