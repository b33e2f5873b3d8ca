"""The five rules of the house: where a file may live, and what it may import."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Lowest first. A file may import what stands on its own floor or on one before it.
FLOORS = (
    "configs",
    "engine",
    "engine.counter_random",
    "engine.progress",
    "engine.threads",
    "engine.rendezvous",
    "engine.devices",
    "engine.storage",
    "engine.training",
    "encoder.emotions",
    "encoder.config",
    "encoder.pictures",
    "encoder.data",
    "encoder.drawing",
    "encoder.models",
    "encoder.inference",
    "encoder.detection",
    "encoder.evaluation",
    "encoder.fitting",
    "encoder.landmarks",
    "encoder.people",
    "encoder.attributes",
    "encoder.analysis",
    "encoder.timelines",
    "encoder.experiments",
    "encoder",
    "vqvae",
    "generation",
    "eval",
    "mimique",
)
PACKAGES = tuple(dict.fromkeys(floor.split(".")[0] for floor in FLOORS))
# What may stand at a package's root beside its programs: words that every room uses.
VOCABULARY = {
    "engine": {"counter_random", "devices", "progress", "rendezvous", "threads"},
    "encoder": {"emotions", "config"},
    "eval": set[str](),
}
MOST_FILES = 15


def name_of(path: Path) -> str:
    """The dotted name that imports ``path``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def files() -> Mapping[str, ast.Module]:
    """Every module of the product, by its dotted name."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def loaded(tree: ast.Module, known: Container[str]) -> Iterator[str]:
    """The modules among ``known`` that ``tree`` imports, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)]
        else:
            continue
        for name in names:
            holder = name.rpartition(".")[0]
            yield from [name] if name in known else [holder] if holder in known else []


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """What each module of the product imports of the product. A folder's own name is its ``__init__``."""
    return {name: frozenset(loaded(tree, files())) - {name} for name, tree in files().items()}


def floor_of(name: str) -> int:
    """The place of the longest floor name that ``name`` begins with."""
    at = [floor for floor in FLOORS if name == floor or name.startswith(f"{floor}.")]
    return FLOORS.index(max(at, key=len))


def is_program(tree: ast.Module) -> bool:
    """Whether the file ends with ``cli = command(main)``."""
    return any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "cli" for node in tree.body)


def rooms() -> Iterator[tuple[Path, list[str]]]:
    """Each folder with Python files, tests too, and the names of those files."""
    for top in (*PACKAGES, "tests"):
        for folder in (ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())):
            stems = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
            if stems:
                yield folder, stems


def test_imports_go_down_or_stay() -> None:
    wrong = [
        f"{importer} -> {imported}"
        for importer, names in imports().items()
        for imported in names
        if floor_of(imported) > floor_of(importer)
    ]
    assert wrong == []


def test_only_tests_import_a_program() -> None:
    programs = {name for name, tree in files().items() if is_program(tree)}
    assert len(programs) > 30
    assert [f"{importer} -> {name}" for importer, names in imports().items() for name in names & programs] == []


def test_a_root_holds_programs_and_the_named_vocabulary() -> None:
    wrong = [
        name
        for name, tree in files().items()
        for package, _, stem in [name.partition(".")]
        if package in VOCABULARY and stem and "." not in stem and not is_program(tree)
        if stem not in VOCABULARY[package] and not (ROOT / package / stem).is_dir()
    ]
    assert wrong == []


def test_no_room_is_too_full() -> None:
    counts = {folder.relative_to(ROOT).as_posix(): len(stems) for folder, stems in rooms()}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_two_files_import_each_other() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        raise AssertionError(f"a ring: {' -> '.join(error.args[1])}") from None


def test_the_rules_find_what_they_look_for() -> None:
    tree = ast.parse("def f():\n    from generation.sample import cli\nimport eval.report as page")
    assert set(loaded(tree, ["generation.sample", "generation", "eval.report"])) == {"generation.sample", "eval.report"}
    assert floor_of("eval.report.page") > floor_of("encoder.train") > floor_of("encoder.people.gender") > floor_of("configs.cli")
    assert is_program(ast.parse("cli = command(main)"))
    assert not is_program(ast.parse("def cli(): ..."))
