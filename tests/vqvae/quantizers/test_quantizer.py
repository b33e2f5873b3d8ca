"""What every quantiser promises, and that each agrees with a public implementation of the same paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from configs.cli import UserError
from configs.loader import load_config
from vqvae.config import TokenizerConfig, VqvaeConfig
from vqvae.quantizers.create import create_quantizer
from vqvae.quantizers.ema_codebook import EmaQuantizer, highest
from vqvae.quantizers.finite_scalar import FiniteScalarQuantizer
from vqvae.quantizers.learned_codebook import PlainQuantizer, SimQuantizer
from vqvae.quantizers.quantizer import Quantizer, usage

CONFIGS = {
    "ema": TokenizerConfig(quantizer="ema", codebook_size=24, code_dim=4, groups=2),
    "plain": TokenizerConfig(quantizer="plain", codebook_size=24, code_dim=4, groups=2),
    "simvq": TokenizerConfig(quantizer="simvq", codebook_size=24, code_dim=4, groups=2),
    "fsq": TokenizerConfig(quantizer="fsq", levels=(4, 3, 3), codebook_size=36, code_dim=3, groups=2),
}


@pytest.fixture(params=list(CONFIGS))
def quantizer(request: pytest.FixtureRequest) -> Quantizer:
    torch.manual_seed(0)
    made = create_quantizer(CONFIGS[request.param])
    if isinstance(made, EmaQuantizer):
        made.started.fill_(1.0)
    return made.eval()


def vectors_for(quantizer: Quantizer, count: int = 40) -> torch.Tensor:
    return torch.randn(count, quantizer.groups * quantizer.dim)


def test_tokens_and_codes_agree_in_every_direction(quantizer: Quantizer) -> None:
    vectors = vectors_for(quantizer)
    made = quantizer(vectors)
    assert made.tokens.shape == (40, quantizer.groups)
    assert made.tokens.dtype == torch.int64
    assert 0 <= int(made.tokens.min()) <= int(made.tokens.max()) < quantizer.size
    assert torch.equal(quantizer.tokens(vectors), made.tokens)
    torch.testing.assert_close(quantizer.lookup(made.tokens), made.vectors)


def test_a_code_is_its_own_nearest(quantizer: Quantizer) -> None:
    tokens = torch.arange(quantizer.size).repeat(quantizer.groups, 1).T
    codes = quantizer.lookup(tokens).detach()
    if isinstance(quantizer, FiniteScalarQuantizer):
        # What is put in is squashed before it is rounded: push the codes outwards by as much.
        codes = torch.atanh(codes.clamp(-0.999, 0.999)) * 1.2
    assert torch.equal(quantizer.tokens(codes), tokens)


def test_gradients_reach_the_vectors_and_what_is_learned(quantizer: Quantizer) -> None:
    vectors = vectors_for(quantizer).requires_grad_()
    made = quantizer.train()(vectors)
    (made.vectors.square().sum() + made.commitment + made.codebook).backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert float(vectors.grad.abs().sum()) > 0
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("name", ["plain", "simvq"])
def test_learned_codes_move_towards_their_vectors(name: str) -> None:
    torch.manual_seed(0)
    quantizer = create_quantizer(CONFIGS[name])
    vectors = 0.5 * torch.randn(256, 8)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    distances = []
    for _ in range(60):
        made = quantizer(vectors)
        distances.append(float(made.codebook.detach()))
        optimizer.zero_grad()
        made.codebook.backward()
        optimizer.step()
    assert distances[-1] < 0.8 * distances[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["quantizer=fsq", "levels=[8,8,8]", "code_dim=4"], "make codebook_size=512 and code_dim=3"),
        (["levels=[8,8,8]"], "levels belong to quantizer=fsq"),
        (["quantizer=fsq"], "needs levels"),
        (["side=7"], "must lie between 8 and 32"),
        (["side=33"], "must lie between 8 and 32"),
    ],
)
def test_settings_must_fit_together(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(VqvaeConfig, None, [f"tokenizer.{setting}" for setting in settings])


def test_usage_and_perplexity_of_known_counts() -> None:
    assert usage(torch.tensor([[5.0, 5.0, 5.0, 5.0]])) == pytest.approx((1.0, 4.0))
    assert usage(torch.tensor([[8.0, 0.0, 0.0, 0.0]])) == pytest.approx((0.25, 1.0))
    assert usage(torch.tensor([[2.0, 2.0, 0.0, 0.0]])) == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize("size", [24, 63, 64, 72, 512])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_highest_score_is_found_as_by_argmax(size: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(size)
    scores = torch.randn(300, size)
    scores[7] = -math.inf
    scores[7, size // 2] = 0.0
    assert torch.equal(highest(scores), scores.argmax(dim=1))
    # Each place can be the highest, the first and the last too.
    assert torch.equal(highest(torch.eye(size)), torch.arange(size))
    tied = highest(torch.ones(3, size))
    assert tied.shape == (3,)
    assert 0 <= int(tied.min()) <= int(tied.max()) < size


@pytest.fixture
def peers() -> Any:
    """vector-quantize-pytorch (MIT), the library that people would otherwise use; given the same inputs and codes below."""
    return pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")


@pytest.mark.parametrize("size", [16, 128])
def test_ema_codes_follow_the_public_implementation(size: int, peers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    ours = EmaQuantizer(size, 4, 1, decay=0.9, restart_after=0.0).train()
    ours.started.fill_(1.0)
    peer = peers.VectorQuantize(
        dim=4, codebook_size=size, decay=0.9, use_cosine_sim=True, threshold_ema_dead_code=0, commitment_weight=0.0
    ).train()
    book = peer._codebook
    book.embed.data.copy_(ours.codes)
    # One vector has been seen at each code, on both sides.
    book.embed_avg.data.copy_(ours.codes)
    book.cluster_size.data.fill_(1.0)
    for _ in range(5):
        vectors = torch.randn(200, 4)
        mine = ours(vectors)
        _, tokens, _ = peer(vectors.unsqueeze(0))
        assert torch.equal(mine.tokens[:, 0], tokens[0])
        torch.testing.assert_close(F.normalize(ours.codes[0], dim=-1), F.normalize(book.embed[0], dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("levels", [(8, 8, 8), (8, 5, 5, 5), (3, 4, 7)])
def test_fsq_numbers_and_values_are_those_of_the_public_implementation(levels: tuple[int, ...], peers: Any) -> None:
    ours, peer = FiniteScalarQuantizer(levels, 1), peers.FSQ(list(levels))
    vectors = 2.0 * torch.randn(500, len(levels))
    mine = ours(vectors)
    values, numbers = peer(vectors.unsqueeze(0))
    assert torch.equal(mine.tokens[:, 0], numbers[0].long())
    torch.testing.assert_close(mine.vectors, values[0])


def test_simvq_and_plain_choose_what_the_public_implementation_chooses(peers: Any) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(300, 6)
    sim, peer = SimQuantizer(32, 6, 1), peers.SimVQ(dim=6, codebook_size=32, rotation_trick=False)
    sim.table[0].copy_(peer.frozen_codebook)
    sim.maps.data[0].copy_(peer.code_transform.weight.T)
    values, numbers, _ = peer(vectors.unsqueeze(0))
    assert torch.equal(sim(vectors).tokens[:, 0], numbers[0])
    torch.testing.assert_close(sim(vectors).vectors, values[0])
    plain = PlainQuantizer(32, 6, 1).eval()
    plain.codes.data.normal_()
    peer = peers.VectorQuantize(dim=6, codebook_size=32, rotation_trick=False).eval()
    peer._codebook.embed.data.copy_(plain.codes.data)
    values, numbers, _ = peer(vectors.unsqueeze(0))
    assert torch.equal(plain(vectors).tokens[:, 0], numbers[0])
    torch.testing.assert_close(plain(vectors).vectors.detach(), values[0].detach())
