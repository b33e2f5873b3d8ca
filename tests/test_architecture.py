"""What holds for every file: start-up stays light, nothing is unpickled, every program explains itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("configs", "engine", "encoder", "vqvae", "generation", "eval", "mimique")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Slow to import or only needed by some users: imported where they are used.
HEAVY = {
    *("accelerate", "av", "cv2", "deepface", "dlib", "gradio", "lightgbm", "lpips", "matplotlib", "onnx", "onnxruntime"),
    *("onnxscript", "pandas", "pyarrow", "scipy", "sklearn", "torchvision", "wandb"),
}
# The page of the studio is made of Gradio's components. Its door and what loads it, `__main__` and `app`, stay light.
PAGE = {"blocks.py", "page.py", "parts.py", "theme.py", *(path.name for path in (ROOT / "generation/studio/tabs").glob("*.py"))}
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Calls that read or write pickles, by the last two names of what is called.
UNPICKLING_CALLS = {"torch.load", "torch.save", "hub.load", "hub.load_state_dict_from_url", "pd.read_pickle"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "misc"}
PROGRAM = re.compile(r"^cli = command\(main\)$", flags=re.MULTILINE)
PROGRAMS = [path for path in FILES if PROGRAM.search(path.read_text(encoding="utf-8"))]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Full names of the modules an import statement (or `import_module("...")`) loads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        prefix = relative(folder).split("/") if node.level else []
        module = ".".join([*prefix, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: all but function bodies and `if TYPE_CHECKING`."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def heavy_imports(source: str, path: Path) -> list[str]:
    names = (name for node in run_at_import(ast.parse(source)) for name in imported(node, path))
    own = {"gradio"} if relative(path).startswith("generation/studio/") and path.name in PAGE else set()
    return [name for name in names if name.split(".")[0] in HEAVY - own]


def unpickling(source: str, path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node, path):
            if name.split(".")[0] in UNPICKLERS or name in UNPICKLING_CALLS:
                found.append(name)
        if isinstance(node, ast.Call):
            whole = ast.unparse(node.func)
            called = ".".join(whole.split(".")[-2:])
            if called in UNPICKLING_CALLS and not whole.startswith("safetensors."):
                found.append(called)
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    found.append("allow_pickle")
    return found


def everywhere(check: Callable[[str, Path], list[str]]) -> dict[str, list[str]]:
    """What ``check`` finds, by file."""
    found = {relative(path): check(path.read_text(encoding="utf-8"), path) for path in FILES}
    return {name: names for name, names in found.items() if names}


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    assert everywhere(heavy_imports) == {}


def test_nothing_is_unpickled() -> None:
    assert everywhere(unpickling) == {}


def test_files_are_named_by_their_idea() -> None:
    assert [relative(path) for path in FILES if VAGUE_NAMES & {*path.relative_to(ROOT).parts, path.stem}] == []


@pytest.mark.parametrize(
    ("source", "heavy", "unpickled"),
    [
        ("try:\n    import cv2\nexcept ImportError:\n    cv2 = None", True, False),
        ("class A:\n    from accelerate import Accelerator", True, False),
        ("def f():\n    import cv2", False, False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from accelerate import Accelerator", False, False),
        ("import pickle", False, True),
        ("torch.load(path, weights_only=True)", False, True),
        ("from torch import load", False, True),
        ("np.load(path, allow_pickle=True)", False, True),
        ("np.load(path, allow_pickle=False)", False, False),
    ],
)
def test_the_checks_find_what_they_look_for_and_nothing_else(source: str, heavy: bool, unpickled: bool) -> None:
    path = ROOT / "encoder" / "model.py"
    assert (bool(heavy_imports(source, path)), bool(unpickling(source, path))) == (heavy, unpickled)


def run_python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def imported_packages(importtime: str) -> set[str]:
    return set(re.findall(r"^import time:.*\|\s+([A-Za-z_]\w*)$", importtime, flags=re.MULTILINE))


@pytest.mark.parametrize("path", PROGRAMS, ids=relative)
def test_help_shows_an_example_without_importing_torch(path: Path) -> None:
    module = relative(path).removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    result = run_python("-m", module, "--help", cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "example" in result.stdout.lower()
    assert imported_packages(result.stderr) & {"torch", "numpy", *HEAVY} <= {"numpy"}


def test_training_script_starts_from_any_folder_without_installation(tmp_path: Path) -> None:
    result = run_python(str(ROOT / "vqvae" / "train.py"), "--help", cwd=tmp_path, PYTHONPATH="")
    assert result.returncode == 0, result.stderr[-2000:]


def test_packages_themselves_are_light(tmp_path: Path) -> None:
    names = ", ".join((*PACKAGES, "eval.benchmarks", "pretrained"))
    result = run_python("-c", f"import {names}", cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert not imported_packages(result.stderr) & {"torch", "numpy", *HEAVY}
