"""A tokenizer that paints photographs of grey faces, and what is asked of its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.cli import UserError
from configs.loader import validate
from vqvae.colour.batches import LOOKING
from vqvae.colour.losses import Targets, gradient_loss, painted_losses, windows
from vqvae.colour.measures import detail, photograph_figures
from vqvae.colour.ycbcr import chroma, luma, shrink, to_rgb
from vqvae.config import TokenizerConfig, TokenizerLossConfig
from vqvae.losses import EmotionLoss
from vqvae.quantizers.create import create_quantizer
from vqvae.tokenizer import Tokenizer

TINY: dict[str, Any] = {"size": 16, "widths": (8, 16), "codebook_size": 8, "code_dim": 4, "groups": 4}
PAINTER = TokenizerConfig(**TINY, painted_size=64, painted_channels=3)


def make(config: TokenizerConfig = PAINTER) -> Tokenizer:
    torch.manual_seed(0)
    tokenizer = Tokenizer(config)
    tokenizer.quantizer.started.fill_(1.0)
    return tokenizer


def test_grey_faces_become_large_ones_in_colour() -> None:
    tokenizer, faces = make().eval(), torch.rand(3, 1, 16, 16)
    made, tokens, _, _ = tokenizer(faces)
    painted = tokenizer.decode(tokens)
    assert (tokens.shape, made.shape, painted.shape) == ((3, 16, 4), (3, 3, 64, 64), (3, 3, 64, 64))
    torch.testing.assert_close(made.clamp(0, 1), painted)
    assert 0.0 <= float(painted.min()) < float(painted.max()) <= 1.0
    assert float(chroma(painted).abs().max()) > 0
    assert tokenizer.as_seen(painted).shape == faces.shape
    torch.testing.assert_close(make(TokenizerConfig(**TINY)).as_seen(faces), faces)


def test_colour_changes_no_faster_than_the_features_it_is_painted_from() -> None:
    tokenizer = make().eval()
    with torch.no_grad():
        tokenizer.tail.chroma.weight.mul_(10.0)
        made, *_ = tokenizer(torch.rand(2, 1, 16, 16))
    cb_cr = chroma(made)
    # Bilinear enlargement by 4 is straight between its knots: every other second difference vanishes.
    assert float((cb_cr.diff(n=2, dim=-1).abs() < 1e-5).float().mean()) > 0.4
    assert float((luma(made).diff(n=2, dim=-1).abs() < 1e-5).float().mean()) < 0.1


def test_every_parameter_of_a_painter_gets_a_gradient() -> None:
    tokenizer, faces = make().train(), torch.rand(8, 1, 16, 16)
    optimizer = torch.optim.SGD(tokenizer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        made, _, commitment, _ = tokenizer(faces, torch.rand(8, 16, 4) * 4)
        ((made - torch.rand_like(made)).square().mean() + commitment).backward()
        optimizer.step()
    assert [n for n, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_weights_from_before_there_was_colour_load_as_they_were(tmp_path: Path) -> None:
    grey = make(TokenizerConfig(**TINY)).eval()
    grey.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["config_sha256"]
    for name in ("painted_size", "painted_channels"):
        del stored["model"][name]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    loaded = Tokenizer.from_pretrained(tmp_path)
    assert loaded.state_dict().keys() == grey.state_dict().keys()
    assert loaded.decode(torch.zeros(1, 16, 4, dtype=torch.int64)).shape == (1, 1, 16, 16)


def test_a_painter_survives_saving(tmp_path: Path) -> None:
    tokenizer = make().eval()
    tokenizer.save_pretrained(tmp_path)
    tokens = torch.randint(0, 8, (2, 16, 4))
    torch.testing.assert_close(Tokenizer.from_pretrained(tmp_path).decode(tokens), tokenizer.decode(tokens), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"painted_size": 48, "painted_channels": 3}, "must be size=16 or that doubled"),
        ({"painted_size": 32}, "belongs to painted_channels=3"),
        ({"painted_channels": 2}, "painted_channels"),
    ],
)
def test_what_cannot_be_painted_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validate(TokenizerConfig, {**TINY, "widths": [8, 16], **settings}, "here")


@pytest.mark.parametrize("quantizer", ["ema", "simvq", "plain"])
def test_near_codes_are_others_of_the_same_group_and_the_nearest_come_first(quantizer: Any) -> None:
    torch.manual_seed(1)
    book = create_quantizer(TokenizerConfig(quantizer=quantizer, codebook_size=32, code_dim=4, groups=2))
    near = book.neighbours(5, torch.device("cpu"))
    assert near.shape == (2, 32, 5)
    likeness = book.likeness(torch.arange(32).unsqueeze(1).expand(-1, 2)).movedim(1, 0)
    for group in range(2):
        for code in range(32):
            order = likeness[group, code].argsort(descending=True)
            assert near[group, code].tolist() == [other for other in order.tolist() if other != code][:5]
    assert book.neighbours(99, torch.device("cpu")).shape == (2, 32, 31)


def test_noise_swaps_the_codes_it_names_and_no_token() -> None:
    tokenizer, faces = make().eval(), torch.rand(4, 1, 16, 16)
    made, tokens, *_ = tokenizer(faces)
    untouched, same, *_ = tokenizer(faces, torch.full((4, 16, 4), 2.0))
    assert torch.equal(made, untouched)
    noise = torch.full((4, 16, 4), 2.0)
    noise[1] = 0.0
    swapped, same, *_ = tokenizer(faces, noise)
    assert torch.equal(tokens, same)
    assert torch.equal(swapped[[0, 2, 3]], made[[0, 2, 3]])
    near = tokenizer.quantizer.neighbours(1, torch.device("cpu"))[..., 0]
    others = torch.stack([near[group][tokens[1:2, :, group]] for group in range(4)], dim=-1)
    torch.testing.assert_close(swapped[1:2].clamp(0, 1), tokenizer.decode(others))


WEIGHTS = TokenizerLossConfig(perceptual=0.25, emotion=0.1)


@pytest.fixture
def judge(small_encoder: Any) -> EmotionLoss:
    return EmotionLoss(small_encoder(16))


@pytest.fixture
def targets() -> Targets:
    torch.manual_seed(2)
    return Targets(torch.rand(3, 1, 16, 16), torch.rand(3, 3, 32, 32))


def of(made: torch.Tensor, targets: Targets, judge: EmotionLoss | None) -> dict[str, float]:
    losses = painted_losses(made, targets, torch.full((6, LOOKING), 0.3), WEIGHTS, judge, emotion=judge is not None)
    return {name: float(value.detach()) for name, value in losses.items()}


def perfect(targets: Targets) -> torch.Tensor:
    large = targets.grey.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3).expand(-1, 3, -1, -1)
    return torch.cat([large, targets.photographs])


def test_perfect_pictures_lose_nothing_and_worse_ones_lose_in_every_part(targets: Targets, judge: EmotionLoss) -> None:
    made = perfect(targets)
    parts = of(made, targets, judge)
    assert set(parts) == {"pixel", "chroma", "gradient", "emotion", "perceptual"}
    assert max(parts.values()) < 1e-5
    worse = of((made + 0.3 * torch.randn_like(made)).clamp(0, 1), targets, judge)
    # An untrained encoder hardly tells emotions apart, whatever it is shown.
    assert worse.pop("emotion") > parts["emotion"]
    assert min(worse.values()) > 1e-3
    assert set(of(made, targets, None)) == {"pixel", "chroma", "gradient"}


def test_the_colour_of_a_grey_face_is_free_and_that_of_a_photograph_is_not(targets: Targets, judge: EmotionLoss) -> None:
    made = perfect(targets)
    tinted = to_rgb(luma(made), chroma(made) + 0.05)
    half = torch.cat([tinted[:3], made[3:]])
    assert max(of(half, targets, judge).values()) < 1e-5
    parts = of(tinted, targets, judge)
    assert parts.pop("chroma") == pytest.approx(0.05, rel=1e-3)
    assert max(parts.values()) < 1e-5


def test_losses_reach_every_pixel_of_both_kinds(targets: Targets, judge: EmotionLoss) -> None:
    made = torch.rand(6, 3, 32, 32, requires_grad=True)
    losses = painted_losses(made, targets, torch.rand(6, LOOKING), WEIGHTS, judge, emotion=True)
    (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), made)
    assert bool((gradient.abs() > 0).all(dim=1).flatten(1).float().mean(dim=1).gt(0.99).all())


def test_pixels_finer_than_what_is_seen_count_as_much_as_is_asked(targets: Targets) -> None:
    # A checkerboard is grey to the encoder, which sees the mean of four pixels.
    board = 0.2 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2) - 0.1
    made = perfect(Targets(targets.grey, 0.5 * targets.photographs + 0.25))
    wanted = Targets(targets.grey, 0.5 * targets.photographs + 0.25)
    made[len(targets.grey) :] += board

    def pixel(fine: float) -> float:
        weights = WEIGHTS.model_copy(update={"fine": fine})
        return float(painted_losses(made, wanted, torch.zeros(6, LOOKING), weights, None, emotion=False)["pixel"])

    assert pixel(0.0) < 1e-5 < pixel(0.3) < pixel(1.0)


def test_blur_costs_gradient_and_a_shift_in_light_does_not() -> None:
    faces = torch.rand(2, 1, 16, 16)
    assert float(gradient_loss(faces + 0.2, faces)) == pytest.approx(0, abs=1e-6)
    assert float(gradient_loss(torch.nn.functional.avg_pool2d(faces, 3, 1, 1), faces)) > 0.1


def test_windows_lie_where_their_numbers_say() -> None:
    faces = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    cut = windows(faces, 4, torch.tensor([[0.0, 0.0], [0.99, 0.99]]))
    assert torch.equal(cut[0], faces[0, :, :4, :4])
    assert torch.equal(cut[1], faces[1, :, 4:, 4:])


def test_figures_of_photographs_know_good_from_bad() -> None:
    tokenizer = make().eval()
    seen = (torch.rand(5, 16, 16) * 255).byte().numpy()
    tokens = tokenizer.encode(torch.from_numpy(seen).unsqueeze(1).float() / 255.0)
    own = (tokenizer.decode(tokens) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    right, wrong = (photograph_figures(tokenizer, faces, seen) for faces in (own, 255 - own))
    assert right["photograph_psnr"] > 45 > wrong["photograph_psnr"]
    assert right["chroma_error"] < 1 <= 1 + wrong["chroma_error"]
    assert right["colourfulness"] == pytest.approx(1, abs=0.1)
    assert right["sharpness"] == pytest.approx(1, abs=0.1)


def test_detail_is_what_half_as_many_pixels_cannot_show() -> None:
    noise = torch.rand(3, 1, 64, 64)
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(noise, 4), scale_factor=4.0, mode="bilinear")
    assert (detail(blurred) < 0.02 * detail(noise)).all()
    # A slope is no detail, though its right edge lies far from its left one.
    slope = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    assert float(detail(slope)) < 1e-4 * float(detail(noise).mean())


def test_faces_that_are_small_enough_are_not_shrunk() -> None:
    faces = torch.rand(1, 3, 8, 8)
    assert torch.equal(shrink(faces, 8), faces)
    torch.testing.assert_close(shrink(faces, 1)[..., 0, 0], faces.mean(dim=(2, 3)))
