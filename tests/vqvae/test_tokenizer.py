"""Faces to tokens and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from configs.cli import UserError
from vqvae.config import TokenizerConfig
from vqvae.tokenizer import Tokenizer

TINY = TokenizerConfig(size=16, widths=(8, 16), codebook_size=8, code_dim=4, groups=2)


def make() -> Tokenizer:
    torch.manual_seed(0)
    tokenizer = Tokenizer(TINY)
    tokenizer.quantizer.started.fill_(1.0)
    return tokenizer


def test_training_and_inference_agree_and_keep_their_ranges() -> None:
    tokenizer = make().eval()
    faces = torch.rand(3, 1, 16, 16)
    made, tokens, _, _ = tokenizer(faces)
    assert tokens.shape == (3, 16, 2)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < 8
    assert torch.equal(tokens, tokenizer.encode(faces))
    torch.testing.assert_close(made.clamp(0, 1), tokenizer.decode(tokens))


def test_faces_between_two_begin_and_end_with_them() -> None:
    tokenizer = make().eval()
    some, others = torch.randint(0, 8, (2, 3, 16, 2))
    torch.testing.assert_close(tokenizer.decode_between(some, others, torch.zeros(16)), tokenizer.decode(some))
    torch.testing.assert_close(tokenizer.decode_between(some, others, torch.ones(16)), tokenizer.decode(others))
    share = (torch.arange(16) < 8).float()
    mixed = torch.where(share.bool()[:, None], others, some)
    torch.testing.assert_close(tokenizer.decode_between(some, others, share), tokenizer.decode(mixed))
    half = tokenizer.decode_between(some, others, torch.full((3, 16), 0.5))
    torch.testing.assert_close(half, tokenizer.decode_between(others, some, torch.full((16,), 0.5)))
    with pytest.raises(UserError, match="need shape"):
        tokenizer.decode_between(some, others[:, :4], share)


def test_every_parameter_gets_a_gradient() -> None:
    tokenizer = make().train()
    faces = torch.rand(8, 1, 16, 16)
    # Residual branches end in zeros; one step away from the start every weight takes part.
    optimizer = torch.optim.SGD(tokenizer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        made, _, commitment, _ = tokenizer(faces)
        ((made - faces).square().mean() + commitment).backward()
        optimizer.step()
    without = [n for n, p in tokenizer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UserError, match=r"tokenizer\.size: 18"):
        Tokenizer(TINY.model_copy(update={"size": 18}))


def test_tokens_of_another_grid_are_refused() -> None:
    with pytest.raises(UserError, match="need shape"):
        make().eval().decode(torch.zeros(1, 9, 2, dtype=torch.int64))


def test_weights_survive_saving(tmp_path: Path) -> None:
    tokenizer = make().eval()
    tokenizer.save_pretrained(tmp_path / "t")
    loaded = Tokenizer.from_pretrained(tmp_path / "t")
    tokens = torch.randint(0, 8, (2, 16, 2))
    torch.testing.assert_close(loaded.decode(tokens), tokenizer.decode(tokens), atol=5e-3, rtol=1e-2)


@pytest.mark.parametrize(("side", "positions"), [(None, 64), (8, 64), (12, 144), (16, 256), (32, 1024)])
def test_a_face_has_as_many_positions_as_asked_for(side: int | None, positions: int) -> None:
    torch.manual_seed(0)
    config = TokenizerConfig(size=64, widths=(8, 16, 16), side=side, codebook_size=8, code_dim=4, groups=1)
    tokenizer = Tokenizer(config).train()
    faces = torch.rand(2, 1, 64, 64)
    made, tokens, commitment, _ = tokenizer(faces)
    assert (tokens.shape, made.shape) == ((2, positions, 1), faces.shape)
    ((made - faces).square().mean() + commitment).backward()
    assert all(p.grad is not None for p in tokenizer.parameters())
    assert tokenizer.decode(tokenizer.eval().encode(faces)).shape == faces.shape
