"""Ask whether holes are known of the packages in constraints.txt: pip-audit, and an end that cannot be misread.

    python .ci/audit.py [constraints.txt] [--service pypi|osv]

pip-audit asks the package index or the OSV data base for each package by name and version; nothing is installed. Left to
itself, it ends well where a proxy or a mirror answers that it knows none of them.
Exit code: 0 all were looked up and nothing is known, 1 holes are known, 2 they could not be looked up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def verdict(dependencies: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Exit code and lines for what pip-audit says of each package."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    holes = [(each, hole) for each in dependencies for hole in each.get("vulns", ())]
    lines = []
    for each, hole in holes:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        lines.append(f"{each['name']} {each['version']}: {hole['id']} ({', '.join(hole['aliases'])}); mended in {mended}")
    looked_up = f"{len(dependencies) - len(skipped)} of {len(dependencies)} packages were looked up"
    if skipped or not dependencies:
        some = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        lines.append(
            f"error: not audited: {looked_up}, and not {some or 'any'}; is there a network, and does it let this through?"
        )
    else:
        lines.append(f"{looked_up}; {len(holes) or 'no'} holes are known")
    return (1 if holes else 2 if skipped or not dependencies else 0), lines


def main(argv: list[str]) -> int:
    """Run pip-audit; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="who is asked (default: %(default)s)")
    arguments = parser.parse_args(argv)
    asked = [sys.executable, "-m", "pip_audit", "--requirement", str(arguments.file), "--no-deps", "--disable-pip"]
    asked += ["--vulnerability-service", arguments.service, "--format", "json", "--progress-spinner", "off"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(answer.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"error: not audited: {reason[:300]}; is there a network?", file=sys.stderr)
        return 2
    code, lines = verdict(dependencies)
    for line in lines:
        print(line, file=sys.stderr if line.startswith("error: ") else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
