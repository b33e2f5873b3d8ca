"""Learning rates over a run."""

from __future__ import annotations

import pytest

from engine.training.optimization import constant_schedule, rate_factor


def test_a_constant_rate_warms_up_stays_and_falls_to_zero() -> None:
    warming = [constant_schedule(step, 0.0, 0.75) for step in range(300)]
    assert 0 < warming[0] < 0.01
    assert warming == sorted(warming)
    assert {constant_schedule(step, progress, 0.75) for step, progress in ((200, 0.01), (5000, 0.5), (9000, 0.7499))} == {1.0}
    falling = [constant_schedule(10_000, 0.75 + 0.0025 * part, 0.75) for part in range(101)]
    assert falling == sorted(falling, reverse=True)
    assert (falling[0], falling[-1]) == (1.0, pytest.approx(0, abs=1e-6))


def test_what_is_done_before_the_decay_does_not_depend_on_the_length_of_the_run() -> None:
    short, long = ([rate_factor("constant", step, step / total, 0.75) for step in range(600)] for total in (800, 80_000))
    assert short == long
    assert rate_factor("cosine", 600, 600 / 800, 0.75) < rate_factor("cosine", 600, 600 / 80_000, 0.75)


@pytest.mark.parametrize("decay_from", [0.0, 1.0])
def test_the_decay_may_take_the_whole_run_or_nothing(decay_from: float) -> None:
    middle = constant_schedule(1000, 0.5, decay_from)
    assert middle == (1.0 if decay_from else pytest.approx(1 - 0.5**0.5))
    assert constant_schedule(1000, 0.999999, decay_from) >= 0
