"""How far a training is, as a bar: in steps, or in the share of its time."""

from __future__ import annotations

from typing import Any


def training_bar(label: str, total_steps: int, max_minutes: float | None, *, step: int, elapsed: float, main: bool) -> Any:
    """A tqdm bar from ``step``, after ``elapsed`` seconds; only the first process (``main``) shows one."""
    from tqdm import tqdm

    if max_minutes is None:
        return tqdm(total=total_steps, initial=step, desc=label, unit="step", disable=None if main else True)
    return tqdm(
        total=100.0,
        initial=round(min(elapsed / (0.6 * max_minutes), 100.0), 1),
        desc=label,
        unit="%",
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.0f}{unit} [{elapsed}<{remaining}{postfix}]",
        disable=None if main else True,
    )
