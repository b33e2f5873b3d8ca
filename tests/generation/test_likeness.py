"""Of a person's change as much as the emotion takes, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from encoder.emotions import Emotion
from generation.likeness import STEPS, between, least_changed
from generation.pipeline import FacePipeline
from generation.verify import Verdict


def two_faces(colour: FacePipeline, count: int) -> tuple[Tensor, Tensor]:
    """Tokens of people, and of the same with all codes of the expression drawn by lot."""
    config, lot = colour.tokenizer.config, torch.Generator().manual_seed(3)
    shape = count, config.grid**2, config.groups
    known, other = (torch.randint(config.codebook_size, shape, generator=lot) for _ in range(2))
    return known, torch.where(colour.expression_mask()[None, :, None], other, known)


def test_the_mouth_goes_all_the_way_and_the_rest_a_part_of_it(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 4)
    mask = colour.expression_mask()
    none, half, full = (between(colour.tokenizer, known, drawn, upper) for upper in (0.0, 0.5, 1.0))
    assert torch.equal(full, drawn)
    for each in (none, half):
        assert torch.equal(each[:, ~mask], known[:, ~mask])
    mouth = (none == drawn).all(dim=2).all(dim=0)
    upper = mask & ~mouth
    assert mouth[mask].any()
    assert upper.any()
    assert torch.equal(none[:, upper], known[:, upper])
    # A code between two others is neither, or the nearer of them.
    assert (half[:, upper] != known[:, upper]).any()
    assert (half[:, upper] != drawn[:, upper]).any()


def test_the_least_is_taken_that_is_read_nearly_the_same(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 5)
    read_as_fear = torch.stack([between(colour.tokenizer, known, drawn, upper) for upper in (*STEPS, 1.0)])
    asked = list[list[int]]()

    def read(made: Tensor, numbers: Sequence[int]) -> list[Verdict]:
        """Face n shows fear from the step n on; the last is never accepted, and read alike at every step."""
        step = len(STEPS) if not asked else len(asked) - 1
        asked.append(list(numbers))
        said = []
        for face, number in zip(made, numbers, strict=True):
            assert torch.equal(read_as_fear[step][number], face)
            fear = 0.3 if number == 4 else 0.9 if step >= number else 0.6
            shares = np.full(7, (1 - fear) / 6)
            shares[Emotion.FEAR] = fear
            said.append(Verdict(tuple(shares.tolist()), Emotion.FEAR, fear, fear > 0.5))
        return said

    best = least_changed(colour.tokenizer, known, drawn, read)
    for number, step in enumerate((0, 1, 2, 3, 0)):
        assert torch.equal(best[number], read_as_fear[step][number]), number
    # Who has been found is not read again.
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [1, 2, 3], [2, 3]]


def test_one_that_is_accepted_is_not_given_up_for_one_that_is_not(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 1)
    said = iter([0.55, 0.45, 0.45, 0.45])

    def read(made: Tensor, numbers: Sequence[int]) -> list[Verdict]:
        fear = next(said)
        return [Verdict((fear, 1 - fear, 0, 0, 0, 0, 0), Emotion.FEAR, fear, fear > 0.5)]

    assert torch.equal(least_changed(colour.tokenizer, known, drawn, read), drawn)
