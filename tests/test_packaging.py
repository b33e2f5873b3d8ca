"""The install: every package shipped, every dependency pinned inside the range it may have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES if not line.startswith("#")}
REQUIREMENTS = [
    *PROJECT["project"]["dependencies"],
    *(entry for extra in PROJECT["project"]["optional-dependencies"].values() for entry in extra),
]


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_every_dependency_has_a_tested_version_in_its_range(text: str) -> None:
    wanted = Requirement(text)
    pin = PINS[canonicalize_name(wanted.name)]
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert wanted.specifier.contains(exact.version)


def test_pins_name_versions_only() -> None:
    assert [line for line in LINES if not line.startswith("#") and ("/" in line or line.count("==") != 1)] == []


def test_both_opencv_distributions_are_one_release() -> None:
    assert PINS["opencv-python"].specifier == PINS["opencv-contrib-python-headless"].specifier


def test_every_package_in_the_tree_is_shipped() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/__init__.py")}
    assert folders == {name for name in listed if "." not in name}
    assert {f"{name}.*" for name in folders} == {name for name in listed if "." in name}
    assert [name for name in folders - {"pretrained"} if not (ROOT / name / "py.typed").is_file()] == []


@pytest.mark.parametrize("package", ["encoder.evaluation", "eval.blind", "eval.report", "generation.dataset"])
def test_templates_are_shipped(package: str) -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    folder = ROOT / package.replace(".", "/")
    shipped = {path for pattern in patterns for path in folder.glob(pattern)}
    assert set((folder / "templates").iterdir()) <= shipped


def test_who_clones_gets_every_package_of_the_design() -> None:
    (extras,) = re.findall(r"^EXTRAS\s*:= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    brought = {
        Requirement(text).name
        for group in (
            PROJECT["project"]["dependencies"],
            *(PROJECT["project"]["optional-dependencies"][extra] for extra in extras.split(",")),
        )
        for text in group
    }
    assert {"accelerate", "deepface", "lpips", "matplotlib", "scipy", "torchmetrics", "torchvision", "wandb"} <= brought


def test_the_version_is_one_in_every_file() -> None:
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["project"]["license"]
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_folder_called_mimique_beside_a_script_hides_nothing(tmp_path: Path) -> None:
    """An editable install adds a path; setuptools' finder would lose to the clone as a namespace package."""
    clone = tmp_path / "mimique"
    names = [
        *(f"{path.parent.name}/__init__.py" for path in ROOT.glob("*/__init__.py")),
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ]
    for name in names:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    build = "import sys, setuptools.build_meta as backend; backend.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=clone, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        added = {name: files.read(name).decode().strip() for name in files.namelist() if ".dist-info/" not in name}
    assert list(added.values()) == [str(clone)]
    assert all(name.endswith(".pth") for name in added)
