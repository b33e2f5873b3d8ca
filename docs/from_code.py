"""The reference pages, made from the code while MkDocs builds the site, so that they cannot grow old.

A page with the line ``<!-- from code: NAME -->`` gets there what ``NAME`` of :data:`WRITERS` writes: programs from their
parsers, settings from their types, the Python interface from docstrings. The cards of the weights become pages, too.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pydantic

from configs.explain import describe, section_types, show

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FLOORS = {
    "mimique": "one name to import, one command to type",
    "encoder": "reads faces",
    "vqvae": "turns faces into tokens and back, and learns which tokens show which emotion",
    "generation": "makes faces and checks them",
    "eval": "measures what was made",
    "engine": "what every program runs on",
    "configs": "settings and the command line",
}
CARDS = "reference/weights"


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the product by its dotted name; a package goes by its own name."""
    found = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def programs() -> Mapping[str, str]:
    """What follows ``python -m``, and the module with its command line, for each file that ends with ``cli = command(main)``."""
    return {
        name.removesuffix(".__main__"): name
        for name, tree in modules().items()
        if any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "cli" for node in tree.body)
    }


@cache
def parser_of(program: str) -> argparse.ArgumentParser:
    """The command line of a program: whatever answers its ``--help``."""
    asked: list[argparse.ArgumentParser] = []
    answer = mock.patch.object(argparse.ArgumentParser, "print_help", lambda parser, file=None: asked.append(parser))
    with answer, suppress(SystemExit):
        importlib.import_module(programs()[program]).main(["--help"])
    return asked[0]


@cache
def settings() -> Mapping[str, type[pydantic.BaseModel]]:
    """The configurations that programs read, by class name: settings types with sections that are no section themselves."""
    names = [name for name in modules() if name.rpartition(".")[2].endswith("config")]
    found = {
        value.__name__: value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and issubclass(value, pydantic.BaseModel) and value.__module__ == name
    }
    inner = {section for model in found.values() for section in _sections(model).values()}
    return {name: model for name, model in found.items() if _sections(model) and model not in inner}


def _sections(model: type[pydantic.BaseModel]) -> dict[str, type[pydantic.BaseModel]]:
    """The sections of a configuration by their dotted names, those inside of others too."""
    found: dict[str, type[pydantic.BaseModel]] = {}
    for name, field in model.model_fields.items():
        if types := section_types(field.annotation, None):
            inside = {f"{name}.{key}": section for key, section in _sections(types[0]).items()}
            found |= {name: types[0], **inside}
    return found


def _plain(model: type[pydantic.BaseModel]) -> list[tuple[str, Any]]:
    return [(key, field) for key, field in model.model_fields.items() if key not in _sections(model)]


def pages() -> Iterator[Path]:
    """README and every page of the site that is written by hand."""
    yield ROOT / "README.md"
    yield from sorted(DOCS.rglob("*.md"))


@cache
def named_modules() -> frozenset[str]:
    """Modules that a page or README names in code, such as ``generation.pipeline.FacePipeline``; programs left out."""
    start = "|".join(FLOORS)
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages())
    found = set()
    for name in re.findall(rf"(?:`|from )((?:{start})(?:\.\w+)+)(?:`| import )", text):
        holder = name.rpartition(".")[0]
        found |= {each for each in (name, holder) if each in modules() and "." in each}
    return frozenset(name for name in found if name not in programs().values() and _has_public(modules()[name]))


def _has_public(tree: ast.Module) -> bool:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in tree.body)


def _cell(text: str) -> str:
    """Text for a cell of a table: on one line, and no HTML outside code."""
    one = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"(`[^`]*`)|([<*_])", lambda match: match[1] or f"\\{match[2]}", one)


def _docstring(text: str | None) -> str:
    """A docstring as Markdown: one pair of back-ticks, and no role before it."""
    return re.sub(r":\w+:(?=`)", "", inspect.cleandoc(text or "")).replace("``", "`")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_programs() -> str:
    """Every program: what it does, its options, and the examples of its ``--help``."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    also = {target.partition(":")[0]: script for script, target in scripts.items()}
    parts = []
    for floor, does in FLOORS.items():
        inside = [name for name in programs() if name.split(".")[0] == floor]
        if inside:
            parts.append(f"## {floor}: {does}")
        for name in inside:
            parser, module = parser_of(name), programs()[name]
            launch = module.endswith(".train")
            call = f"accelerate launch {module.replace('.', '/')}.py" if launch else f"python -m {name}"
            script = f" Installed as `{also[module]}`, too." if module in also else ""
            parts.append(f"### {name} {{ #{name.replace('.', '-')} }}\n\n`{call}`{script}\n\n{_docstring(parser.description)}")
            parts.append(_table(("option", "what it does"), [_option(parser, action) for action in parser._actions[2:]]))
            parts += [_told(part) for part in (parser.epilog or "").split("\n\n") if part.strip()]
    return "\n\n".join(parts)


def _told(part: str) -> str:
    """A part of what stands under the options: indented lines stay as they were typed, the rest is text."""
    return f"```text\n{part}\n```" if "\n  " in part or part.startswith("  ") else _cell(part)


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    shown = parser._get_formatter()
    value = "" if action.nargs == 0 else shown._format_args(action, str(action.dest).upper())
    if action.choices and not action.metavar:
        value = "{" + ", ".join(map(str, action.choices)) + "}"
    words = shown._expand_help(action) if action.help else ""
    needed = " **Must be given.**" if action.required and action.option_strings else ""
    return f"`{' '.join([*action.option_strings, value]).strip()}`".replace("|", "\\|"), _cell(words) + needed


def write_settings() -> str:
    """Every configuration: its sections, their keys, what each may be, and its default."""
    parts = []
    for name, model in settings().items():
        parts.append(f"## {name}\n\n{_docstring(model.__doc__)}")
        groups = [*((key, section, _plain(section)) for key, section in _sections(model).items()), ("", None, _plain(model))]
        for key, section, fields in groups:
            if not fields:
                continue
            title = f"### {key} {{ #{name}-{key} }}" if key else f"### of the whole run {{ #{name}-top }}"
            parts.append(f"{title}\n\n{_docstring(section.__doc__) if section else ''}")
            head, rows = ("key", "default", "may be", "meaning"), list(_rows(key, fields))
            shown = 4 if any(row[3] for row in rows) else 3
            parts.append(_table(head[:shown], [row[:shown] for row in rows]))
    return "\n\n".join(parts)


def _rows(section: str, fields: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row a key; below a key that may hold a section of its own, the keys of that."""
    for name, field in fields:
        yield _setting(section, name, field)
        for model in section_types(field.annotation, None):
            yield from _rows(f"{section}.{name}" if section else name, model.model_fields.items())


def _setting(section: str, name: str, field: Any) -> tuple[str, ...]:
    default = field.get_default(call_default_factory=True)
    default = list(default) if isinstance(default, tuple) else default
    allowed = describe(field.annotation, field.metadata) or ""
    return f"`{section}.{name}`".replace("`.", "`"), f"`{show(default)}`", _cell(allowed), _cell(field.description or "")


def write_files() -> str:
    """The configuration files that ship, with the words they begin with."""
    rows = []
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        first: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            first.append(line.lstrip("# "))
        rows.append((f"`{path.relative_to(ROOT).as_posix()}`", _cell(" ".join(first))))
    return _table(("file", "what it is for"), rows)


def write_python() -> str:
    """The modules that the pages name, with the docstrings of their public names."""
    order = [name for floor in FLOORS for name in sorted(named_modules()) if name.split(".")[0] == floor]
    return "\n\n".join(f"## {name}\n\n::: {name}" for name in order)


def write_tree() -> str:
    """Every room and file with the first line of its docstring."""
    parts = []
    for floor, does in FLOORS.items():
        parts.append(f"## {floor}/ {{ #{floor} }}\n\n{does.capitalize()}.")
        rows = []
        for name, tree in modules().items():
            told = ast.get_docstring(tree)
            if name.split(".")[0] == floor and "." in name and told:
                first = _docstring(told.split("\n\n")[0]).replace(f"`python -m {name}`: ", "")
                rows.append((f"`{name.removeprefix(floor + '.')}`", _cell(first)))
        parts.append(_table(("module", "what it is"), rows))
    return "\n\n".join(parts)


WRITERS: Mapping[str, Callable[[], str]] = {
    "programs": write_programs,
    "settings": write_settings,
    "files": write_files,
    "python": write_python,
    "tree": write_tree,
}


def cards() -> Mapping[str, Path]:
    """Where the site shows the cards of the weights that ship, and the files they are."""
    found = {f"{CARDS}/index.md": ROOT / "pretrained" / "README.md"}
    return found | {f"{CARDS}/{path.parent.name}.md": path for path in sorted((ROOT / "pretrained").glob("*/README.md"))}


def _for_the_site(text: str, page: str) -> str:
    """Links as the site needs them: a card's to its page; one to another file of the repository becomes plain text."""
    source = cards().get(page, DOCS / page)
    at = {path: shown for shown, path in cards().items()}

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        path = Path(os.path.normpath(source.parent / target))
        if path not in at and not path.is_relative_to(DOCS):
            return str(words)
        shown = at.get(path) or path.relative_to(DOCS).as_posix()
        return f"[{words}]({posixpath.relpath(shown, posixpath.dirname(page))}{anchor or ''})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(((?!\w+:)[^)#\s]+)(#[^)]*)?\)", link, text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """MkDocs: the cards become pages."""
    from mkdocs.structure.files import File

    for shown, path in cards().items():
        files.append(File.generated(config, shown, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """MkDocs: a page before it becomes HTML."""
    text = _for_the_site(markdown, page.file.src_uri)
    # A block of commands names no language; on the site it is coloured as one.
    text = re.sub(r"^```(\w*)\n(.*?^```)$", lambda m: f"```{m[1] or 'bash'}\n{m[2]}", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!-- from code: (\w+) -->", lambda match: WRITERS[match[1]](), text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """MkDocs: docstrings say ``:func:`name```; the page shows the name."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):(?=<code>)", "", html)
