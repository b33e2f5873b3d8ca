"""README and docs/: every link, command, option, setting and Python name that they show exists."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import pytest
import yaml

from configs.explain import all_keys, dotted
from docs import from_code
from mimique.__main__ import PROGRAMS

ROOT, DOCS = from_code.ROOT, from_code.DOCS
CARDS = list(from_code.cards().values())
PAGES = [*from_code.pages(), *CARDS]
MOST_WORDS = 900
COMMAND = re.compile(r"^mimique [a-z-]+(?: |$)|-m (?:encoder|vqvae|generation|eval)\.|(?:encoder|vqvae)/train\.py|^make ")
# The configuration that a program reads, where its command line takes key=value.
READS = {"encoder.train": "EncoderConfig", "encoder.train_gender": "GenderConfig", "vqvae.train": "VqvaeConfig"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: their language ("" for commands) and what they hold."""
    yield from re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link may name after ``#`` on a page."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(text_of(page)), flags=re.MULTILINE):
        given = re.search(r"\{ #(\S+) \}", heading)
        slug = re.sub(r"[^\w\s-]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)).strip().lower()
        found.add(given[1] if given else re.sub(r"[-\s]+", "-", slug))
    if "<!-- from code: programs -->" in text_of(page):
        found |= {program.replace(".", "-") for program in from_code.programs()}
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """Every command that a page shows, in a block or in the text, as its words."""
    text = text_of(page)
    lines = [line for language, inside in blocks(text) if not language for line in inside.replace("\\\n", " ").splitlines()]
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose(text))]
    for line in lines:
        if COMMAND.search(line):
            yield shlex.split(line, comments=True)


def program_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The program that a command starts, and the words after it."""
    if words[0] == "mimique" and len(words) > 1 and words[1] in PROGRAMS:
        return PROGRAMS[words[1]].module.removesuffix(".__main__"), words[2:]
    for place, word in enumerate(words):
        if word == "-m" and words[place + 1].split(".")[0] in from_code.FLOORS:
            return words[place + 1], words[place + 2 :]
        if word in ("encoder/train.py", "vqvae/train.py"):
            return word.removesuffix(".py").replace("/", "."), words[place + 1 :]
    return None


def wrong_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text_of(page))):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        outside = re.match(r"\w+:", target) or not file.is_relative_to(ROOT)
        if outside or not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def wrong_commands(page: Path) -> Iterator[str]:
    for words in commands(page):
        program, after = program_of(words) or ("", [])
        if words[0] == "make":
            if f"\n{words[1]}:" not in text_of(ROOT / "Makefile"):
                yield " ".join(words)
        elif words[:2] in (["mimique", "--help"], ["mimique", "--version"]):
            continue
        elif program not in from_code.programs():
            yield " ".join(words)
        else:
            known = from_code.parser_of(program)._option_string_actions
            options = [word.partition("=")[0] for word in after if word.startswith("--")]
            yield from (f"{program} {option}" for option in options if option not in known)
            if program in READS:
                keys = {dotted(key) for key in all_keys(from_code.settings()[READS[program]])}
                given = [word.partition("=")[0] for word in after if re.match(r"[a-z][\w.]*=", word)]
                yield from (f"{program} {key}" for key in given if key not in keys)


def wrong_names(page: Path) -> Iterator[str]:
    """Imports of examples, dotted names and files in code that are not there."""
    text, floors = text_of(page), "|".join(from_code.FLOORS)
    imported = re.findall(r"^from (\S+) import (.+)$", text, flags=re.MULTILINE)
    names = [f"{module}.{name}" for module, listed in imported for name in listed.split(", ")]
    for name in names + re.findall(rf"`((?:{floors})(?:\.\w+)+)`", prose(text)):
        holder, _, last = name.rpartition(".")
        known = name in from_code.modules() or name in from_code.programs()
        if not known and not (holder in from_code.modules() and hasattr(importlib.import_module(holder), last)):
            yield name
    files = re.findall(rf"`((?:{floors}|pretrained|docs|tests)/[\w./-]*)`", prose(text))
    yield from (path for path in files if not (ROOT / path).exists())


def wrong_python(page: Path) -> Iterator[str]:
    for language, inside in blocks(text_of(page)):
        if language == "python":
            try:
                compile(inside, page.name, "exec")
            except SyntaxError as error:
                yield str(error)


@pytest.mark.parametrize("wrong", [wrong_links, wrong_commands, wrong_names, wrong_python])
def test_what_pages_show_exists(wrong: Callable[[Path], Iterator[str]]) -> None:
    assert [f"{page.relative_to(ROOT)}: {found}" for page in PAGES for found in wrong(page)] == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (wrong_links, "[a](absent.md)"),
        (wrong_links, "# Here\n\n[a](#there)"),
        (wrong_links, "[a](http://elsewhere)"),
        (wrong_commands, "```\npython -m generation.simple --emotion fear\n```"),
        (wrong_commands, "text `python -m generation.sample --emoton fear` text"),
        (wrong_commands, "```\naccelerate launch vqvae/train.py --resume latest \\\n    tokenizer.sise=12\n```"),
        (wrong_commands, "```\nmake faces\n```"),
        (wrong_commands, "```\nmimique simple --emotion fear\n```"),
        (wrong_commands, "```\nmimique sample --emoton fear\n```"),
        (wrong_names, "`generation.pipeline.FacePipe`"),
        (wrong_names, "```python\nfrom encoder.emotion import Emotion\n```"),
        (wrong_names, "`configs/vqvae/bass.yaml`"),
        (wrong_python, "```python\npipe(\n```"),
    ],
)
def test_what_does_not_exist_is_found(wrong: Callable[[Path], Iterator[str]], text: str) -> None:
    page = DOCS / "how_to" / "page.md"
    with mock.patch(f"{__name__}.text_of", lambda path: text if path == page else path.read_text(encoding="utf-8")):
        assert len(list(wrong(page))) == 1


def test_readme_is_for_ten_minutes() -> None:
    assert len(text_of(ROOT / "README.md").split()) <= MOST_WORDS


def test_every_page_is_in_the_menu_and_every_picture_on_a_page() -> None:
    def entries(menu: object) -> Iterator[str]:
        for entry in menu if isinstance(menu, list) else menu.values() if isinstance(menu, dict) else []:
            yield from [entry] if isinstance(entry, str) else entries(entry)

    menu = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert sorted(entries(menu)) == sorted(pages | from_code.cards().keys())
    shown = "".join(text_of(page) for page in from_code.pages())
    assert [file.name for file in DOCS.rglob("*.*") if file.suffix in (".png", ".svg", ".html") and file.name not in shown] == []


def test_the_reference_names_every_program_and_setting() -> None:
    programs, settings = from_code.write_programs(), from_code.write_settings()
    assert [name for name in from_code.programs() if f"### {name} " not in programs] == []
    keys = [dotted(key) for model in from_code.settings().values() for key in all_keys(model) if "." in dotted(key)]
    assert len(keys) > 80
    assert [key for key in keys if f"`{key}`" not in settings and f"### {key} " not in settings] == []
    assert "generation.pipeline" in from_code.named_modules()


class _Loaded(HTMLParser):
    """Addresses of what a page loads by itself: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"script": "src", "link": "href", "img": "src", "iframe": "src"}
        self.found += [value or "" for name, value in attrs if names.get(tag) == name]


@pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
                    reason="the site is built with the extra docs: make docs")  # fmt: skip
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) > 40
    for page in built:
        loaded = _Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert [address for address in loaded.found if re.match(r"(https?:)?//", address)] == [], page.name
    assert "&lt;!-- from code" not in (tmp_path / "site/reference/programs.html").read_text(encoding="utf-8")
