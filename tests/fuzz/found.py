"""Cases that a campaign found, as files beside the tests."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

FOUND = Path(__file__).resolve().parent / "found"


def case_bytes(name: str, case: tuple[bytes, ...]) -> bytes:
    """A case of the target ``name`` as the content of a file.

    Every case is written before it is tried: base 64 takes a hundredth of the time of base 85, which is not in C.
    """
    return json.dumps({"target": name, "case": [base64.b64encode(part).decode() for part in case]}).encode() + b"\n"


def store_case(name: str, case: tuple[bytes, ...]) -> Path:
    """Write a case; the same one has the same file."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(repr(case).encode()).hexdigest()[:12]}.json"
    path.write_bytes(case_bytes(name, case))
    return path


def read_case(path: Path) -> tuple[str, tuple[bytes, ...]]:
    """The target's name, and the case."""
    content = json.loads(path.read_text())
    return content["target"], tuple(base64.b64decode(part) for part in content["case"])
