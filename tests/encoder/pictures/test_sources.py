"""Arrays as a source of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from configs.cli import UserError
from encoder.pictures.sources import view_arrays


def test_arrays_may_be_grey_but_not_of_another_kind() -> None:
    (view,) = view_arrays([np.zeros((5, 6), np.uint8)])
    assert view.picture.pixels.shape == (5, 6, 3)
    for wrong in (np.zeros((5, 6, 3), np.float32), np.zeros((5, 6, 4), np.uint8), np.zeros((0, 6), np.uint8), ["a.jpg"]):
        with pytest.raises(UserError, match="array 0: need"):
            list(view_arrays([wrong]))
