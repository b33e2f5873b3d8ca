"""The prior: a bidirectional masked transformer over the tokens of a face, told which emotion to make.

MaskGIT (Chang et al., 2022) conditioned through adaptive layer norm shared by all blocks (PixArt, Chen et al., 2024). The
codes of one position are predicted one after the other, each knowing those before it (RQ-Transformer, Lee et al., 2022):
finer positions cost no longer sequence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.emotions import NUM_EMOTIONS
from engine.storage.weights import load_network, read_config, save_weights
from vqvae.attributes import ATTRIBUTES, NOT_TOLD
from vqvae.config import PriorConfig, SamplingConfig
from vqvae.faces import SOURCES
from vqvae.fast_linear import linear, linear_gelu, matrix

KIND = "prior"


class PriorShape(StrictModel):
    """A prior and the token grid it was made for.

    ``tokenizer_sha256`` is the :meth:`vqvae.tokenizer.Tokenizer.encoding_sha256` of the tokens' maker.
    """

    prior: PriorConfig
    positions: int = Field(ge=1, le=1 << 14)
    groups: int = Field(ge=1, le=8)
    codebook_size: int = Field(ge=2, le=1 << 20)
    tokenizer_sha256: str = ""
    looks: int = Field(3, ge=1, le=len(SOURCES), description="how many of the first sources it knows")
    exit: int = Field(0, ge=0, le=63, description="blocks after which a weaker prior is read off; 0: none")
    exit_rank: int = Field(0, ge=0, le=2048, description="width of what the exit corrects")


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1.0 + scale) + shift


class _Block(nn.Module):
    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.table = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: Tensor, condition: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(N, L, D) to (N, L, D), or to (N, W, D) at the W ``wanted`` positions: all are looked at, only those computed."""
        width = x.shape[-1]
        shift1, scale1, gate1, shift2, scale2, gate2 = (condition + self.table).unsqueeze(2).unbind(1)
        seen = _modulate(self.norm1(x), shift1, scale1)
        if wanted is None:
            q, k, v = rearrange(linear(seen, self.qkv), "n l (part h d) -> part n h l d", part=3, h=self.heads)
        else:
            x = x[:, wanted]
            q = rearrange(linear(seen[:, wanted], self.qkv, slice(width)), "n w (h d) -> n h w d", h=self.heads)
            k, v = rearrange(linear(seen, self.qkv, slice(width, None)), "n l (part h d) -> part n h l d", part=2, h=self.heads)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "n h l d -> n l (h d)")
        x = x + gate1 * F.dropout(linear(mixed, self.out), self.dropout, self.training)
        y = linear(linear_gelu(_modulate(self.norm2(x), shift2, scale2), self.up), self.down)
        return x + gate2 * F.dropout(y, self.dropout, self.training)


class EarlyExit(nn.Module):
    """What the blocks have made of a position so far, (…, D), to the states that the last block would leave, (…, D)."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x + self.out(self.into(x))


class MaskedPrior(nn.Module):
    """Predicts the hidden tokens of a face from the visible ones, its emotion, its source and its attributes.

    Tokens are (N, L, G) int64; ``hidden`` (N, L) bool marks positions whose tokens are unknown. ``emotion`` is (N, 7), a
    row of zeros where no emotion is asked for. ``source`` is (N,) int64, an index into :data:`vqvae.faces.SOURCES`.
    ``attributes`` is (N, A) int64, classes of those of ``shape.prior.attributes`` or ``NOT_TOLD``; None tells nothing.
    ``sampling`` says how faces are best drawn from it.
    """

    def __init__(self, shape: PriorShape) -> None:
        super().__init__()
        self.shape, self.sampling = shape, SamplingConfig()
        width = shape.prior.width
        self.codes = nn.ModuleList([nn.Embedding(shape.codebook_size, width) for _ in range(shape.groups)])
        self.biases = nn.Parameter(torch.zeros(shape.groups, shape.codebook_size))
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(shape.positions, width) * 0.02)
        self.sources = nn.Embedding(shape.looks, width)
        self.emotion = nn.Sequential(nn.Linear(NUM_EMOTIONS + 1, width), nn.SiLU(), nn.Linear(width, width))
        # One row more than classes: what is not told.
        self.attributes = nn.ModuleList([nn.Embedding(len(ATTRIBUTES[name]) + 1, width) for name in shape.prior.attributes])
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList([_Block(shape.prior) for _ in range(shape.prior.depth)])
        self.norm = nn.LayerNorm(width)
        self.refine = nn.ModuleList(
            [nn.Sequential(nn.Linear(2 * width, width), nn.GELU("tanh")) for _ in range(shape.groups - 1)]
        )
        self._initialise()
        self.exit = EarlyExit(width, shape.exit_rank) if shape.exit else None

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=0.02)
        for block in self.blocks:
            # Gates of adaptive layer norm start at one here, and the residual branches small: trains at once on little data.
            nn.init.ones_(block.table[2])  # type: ignore[index]
            nn.init.ones_(block.table[5])  # type: ignore[index]

    def trunk(
        self,
        tokens: Tensor,
        hidden: Tensor,
        emotion: Tensor,
        source: Tensor,
        wanted: Tensor | None = None,
        attributes: Tensor | None = None,
        *,
        leave: int = 0,
        early: bool = False,
    ) -> Tensor:
        """(N, L, D) states that say what each position should hold; with ``wanted`` (W,) those of these positions only.

        Args:
            leave: give what has been made after so many blocks, of all positions, instead.
            early: give (2, N, L, D): second, the states that the exit reads off on the way.
        """
        visible = torch.stack([table(tokens[..., g]) for g, table in enumerate(self.codes)]).sum(dim=0)
        x = torch.where(hidden.unsqueeze(-1), self.mask, visible) + self.positions
        asked = (emotion.sum(dim=1, keepdim=True) > 0).to(emotion.dtype)
        condition = self.emotion(torch.cat([emotion, asked], dim=1)) + self.sources(source)
        for column, table in enumerate(self.attributes):
            rows = table.num_embeddings - 1  # type: ignore[operator]
            told = torch.full_like(source, NOT_TOLD) if attributes is None else attributes[:, column]
            condition = condition + table(torch.where(told == NOT_TOLD, rows, told))
        x = x + condition.unsqueeze(1)
        modulation = self.modulation(condition).view(len(x), 6, -1)
        reached = x
        for number, block in enumerate(self.blocks[: leave or -1], 1):
            x = block(x, modulation)
            reached = x if number == self.shape.exit else reached
        if leave:
            return x
        states = self.norm(self.blocks[-1](x, modulation, wanted))
        if not early or self.exit is None:
            return states
        return torch.stack([states, self.exit(reached if wanted is None else reached[:, wanted])])

    def head(self, states: Tensor, group: int, earlier: Tensor | None = None) -> Tensor:
        """(…, K) logits of the code of ``group``, given the (…, group) codes of the groups before (None for the first)."""
        if group:
            if earlier is None or earlier.shape[-1] != group:
                raise ValueError(f"codes of {group} groups are needed to predict group {group}")
            first = 0 if self.shape.prior.sees == "all" else group - 1
            known = torch.stack([self.codes[g](earlier[..., g]) for g in range(first, group)]).sum(dim=0)
            states = states + self.refine[group - 1](torch.cat([states, known], dim=-1))
        return matrix(states, self.codes[group].weight, self.biases[group]).float()  # type: ignore[arg-type]

    def with_exit(self, after: int, rank: int) -> None:
        """Let a weaker prior be read off after so many of the blocks, by a fresh exit; 0: none."""
        self.shape = self.shape.model_copy(update={"exit": after, "exit_rank": rank if after else 0})
        self.exit = EarlyExit(self.shape.prior.width, rank).to(self.mask.device) if after else None

    def forward(
        self, tokens: Tensor, hidden: Tensor, emotion: Tensor, source: Tensor, attributes: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy in nats per code, over the hidden positions."""
        states = self.trunk(tokens, hidden, emotion, source, attributes=attributes)[hidden]
        return self.code_loss(states, tokens[hidden])

    def code_loss(self, states: Tensor, wanted: Tensor) -> Tensor:
        """Mean cross-entropy in nats per code of (M, G) ``wanted`` codes, given (M, D) states."""
        losses = [
            F.cross_entropy(self.head(states, group, wanted[:, :group] if group else None), wanted[:, group])
            for group in range(self.shape.groups)
        ]
        return torch.stack(losses).mean()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load strictly from ``folder``; ready for inference.

        Raises:
            UserError: see :func:`engine.storage.weights.load_network`.
        """
        stored = read_config(folder, KIND)
        place = f"{folder}/config.json"
        shape, sampling = (
            validate(PriorShape, stored["model"], place),
            validate(SamplingConfig, stored.get("calibration", {}), place),
        )
        if sampling.autoguidance and not shape.exit:
            raise UserError(f"{place}: autoguidance {sampling.autoguidance:g}, and no early exit to lead away from")
        prior = load_network(folder, stored, lambda: cls(shape))
        prior.sampling = sampling
        return prior.eval().requires_grad_(False)

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write weights in half precision with their configuration."""
        stored = {"kind": KIND, "model": self.shape.model_dump(mode="json"), "calibration": self.sampling.model_dump(mode="json")}
        save_weights(folder, self.state_dict(), {**stored, **notes})
