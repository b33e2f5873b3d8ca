"""The notebooks run from first cell to last, and what their cells show can be shown."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, if that has one, is what a notebook shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_first_cell_to_last(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run(source, names) for source in cells(notebook, "code")]
    values = [value for value in shown if value is not None]
    assert len(values) >= 2
    for value in values:
        how = [name for name in ("_repr_html_", "_repr_png_") if hasattr(value, name)]
        assert all(getattr(value, name)() for name in how) if how else repr(value)
    # Of the batches that it makes none is short of a face.
    batches = [value for value in names.values() if type(value).__name__ in ("FaceBatch", "FaceStrip")]
    assert all(batch.complete for batch in batches)


def test_there_are_three_and_none_holds_what_a_run_left_or_a_picture() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["edit", "make", "read"]
    for notebook in NOTEBOOKS:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
        assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
        assert all(not cell["outputs"] and cell["execution_count"] is None for cell in content["cells"] if "outputs" in cell)
        assert cells(notebook, "markdown")[0].startswith("# ")
        links = re.findall(r"\]\(([^)]+)\)", "\n".join(cells(notebook, "markdown")))
        assert [link for link in links if not (notebook.parent / link).is_file()] == []
