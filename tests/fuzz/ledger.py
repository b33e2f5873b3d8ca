"""A ledger of campaigns, a JSON line each, so that what several nights tried adds up into one table.

python -m tests.fuzz.ledger FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_COLUMNS = {
    "trials": "trials", "kills": "kills", "failures": "failures", "worst_seconds": "worst time (s)",
    "worst_megabytes": "worst memory (MB)",
}  # fmt: skip


def add_to_ledger(path: Path, campaign: str, command: str, **figures: float) -> None:
    """Add a line. Figures whose names begin with ``worst`` are maxima, others are counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps({"campaign": campaign, "command": command, **figures}) + "\n")


def read_ledger(path: Path) -> dict[str, dict[str, Any]]:
    """What all campaigns of one name came to together."""
    together: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        name = entry.pop("campaign")
        before = together.setdefault(name, {})
        for key, value in entry.items():
            if key == "command":
                before[key] = value
            else:
                before[key] = max(before.get(key, 0), value) if key.startswith("worst") else before.get(key, 0) + value
    return together


def markdown(path: Path) -> str:
    """The ledger as a table, a row a campaign."""
    rows = read_ledger(path)
    shown = {key: title for key, title in _COLUMNS.items() if any(key in row for row in rows.values())}
    lines = ["| campaign | " + " | ".join(shown.values()) + " | command |", "|---|" + "---:|" * len(shown) + "---|"]
    for name, row in rows.items():
        cells = (f"{row[key]:,}" if isinstance(row.get(key), int) else str(row.get(key, "")) for key in shown)
        lines.append(f"| {name} | {' | '.join(cells)} | `{row['command']}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(Path(sys.argv[1])))
