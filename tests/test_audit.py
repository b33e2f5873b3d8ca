"""What `make audit` makes of the answers of pip-audit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERDICT = (
    "import sys; sys.path.insert(0, '.ci'); from audit import verdict; code, lines = verdict({}); print(code, *lines, sep='|')"
)
SOUND = {"name": "a", "version": "1", "vulns": []}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"]}


def verdict(*dependencies: dict[str, object]) -> list[str]:
    command = [sys.executable, "-c", VERDICT.format(list(dependencies))]
    return subprocess.run(command, cwd=ROOT / ".ci", check=True, capture_output=True, text=True).stdout.strip().split("|")


def test_only_an_audit_of_all_packages_ends_well() -> None:
    assert verdict(SOUND) == ["0", "1 of 1 packages were looked up; no holes are known"]
    assert verdict()[0] == "2"
    code, line = verdict(SOUND, {"name": "b", "skip_reason": "not found"})
    assert code == "2"
    assert line.startswith("error: not audited: 1 of 2 packages were looked up, and not b;")


def test_a_hole_is_named_with_its_mend() -> None:
    assert verdict({**SOUND, "vulns": [HOLE]})[:2] == ["1", "a 1: PYSEC-1 (CVE-1); mended in 2"]
    assert verdict({**SOUND, "vulns": [HOLE]}, {"name": "b", "skip_reason": "not found"})[0] == "1"
