"""Arguments from outside: numbers in every form are numbers, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from configs.cli import UserError
from configs.values import real, whole


@pytest.mark.parametrize(
    "value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)], ids=lambda value: type(value).__name__
)
def test_whole_numbers_of_every_kind(value: Any) -> None:
    assert whole("count", value) == 3
    assert type(whole("count", value)) is int
    assert real("share", value) == 3.0


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5)], ids=lambda value: type(value).__name__)
def test_numbers_that_are_not_whole(value: Any) -> None:
    assert real("share", value) == 0.5
    with pytest.raises(UserError, match="count: must be a whole number, got"):
        whole("count", value)


@pytest.mark.parametrize("value", ["3", None, True, [3], np.array([3]), object(), 3j], ids=repr)
def test_what_is_no_number_is_refused_by_name_with_its_type(value: Any) -> None:
    for check, wanted in ((whole, "a whole number"), (real, "a number")):
        with pytest.raises(UserError) as refusal:
            check("count", value)
        assert str(refusal.value).startswith(f"count: must be {wanted}, got ")
        assert f"({type(value).__name__})" in str(refusal.value)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(UserError) as refusal:
        whole("count", "x" * 10_000)
    assert len(str(refusal.value)) < 120
