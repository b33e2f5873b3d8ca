"""What came of an attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Found:
    """What came of one kind of attack.

    Attributes:
        answers: by status; 0 where the connection was closed instead. wrong: the first requests that were answered wrongly.
        worst: seconds of the longest answer. health: seconds of the answers of the health check meanwhile. resident: MiB.
    """

    tried: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0
    worst: float = 0.0
    health: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)

    def blame(self, what: str) -> None:
        """Count something that was answered wrongly."""
        self.wrong_count += 1
        self.wrong += [what] if len(self.wrong) < 20 else []

    def as_record(self) -> dict[str, Any]:
        """The figures of the report."""
        return {
            "tried": self.tried,
            "answers_by_status": {str(status): count for status, count in sorted(self.answers.items())},
            "wrong": self.wrong_count,
            "wrong_ones": self.wrong,
            "worst_seconds": round(self.worst, 2),
            "health_answers": len(self.health),
            "health_p95": round(_p95(self.health), 3) if self.health else None,
            "most_resident_mib": max(self.resident, default=None),
        }


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]
