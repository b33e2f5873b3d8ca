"""Every command that README, the pages under docs/, the cards of the weights and the programs' own help show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs import from_code
from mimique.__main__ import PROGRAMS

_SCRIPTS = ("encoder/train.py", "vqvae/train.py")
_COMMAND = re.compile(r"^mimique [a-z-]+(?: |$)|-m (?:encoder|vqvae|generation|eval)\.|(?:encoder|vqvae)/train\.py|^make ")


@dataclass(frozen=True)
class Command:
    """One command: where it stands, and its words. ``whole``: it stands in a block; in the text it may be a mere name."""

    where: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"

    @property
    def program(self) -> str:
        """What it starts: ``encoder.train``; of ``make`` and of what is no program of the project, nothing."""
        return self._split()[0]

    @property
    def arguments(self) -> list[str]:
        """What it says to the program."""
        return self._split()[1]

    def _split(self) -> tuple[str, list[str]]:
        if self.words[0] == "mimique" and self.words[1:] and self.words[1] in PROGRAMS:
            return PROGRAMS[self.words[1]].module.removesuffix(".__main__"), list(self.words[2:])
        for place, word in enumerate(self.words):
            if word == "-m" and self.words[place + 1].split(".")[0] in from_code.FLOORS:
                return self.words[place + 1], list(self.words[place + 2 :])
            if word in _SCRIPTS:
                return word.removesuffix(".py").replace("/", "."), list(self.words[place + 1 :])
        return "", []


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: their language ("" for commands) and what they hold."""
    yield from re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def on_page(text: str, where: str) -> Iterator[Command]:
    """The commands of a page, in its blocks and in its text."""
    lines = [line for language, inside in blocks(text) if not language for line in inside.replace("\\\n", " ").splitlines()]
    spans = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose(text))]
    for whole, found in ((True, lines), (False, spans)):
        for line in filter(_COMMAND.search, found):
            yield Command(where, tuple(shlex.split(line, comments=True)), whole)


def in_help(program: str) -> Iterator[Command]:
    """The examples under the options of a program; what a line says of them stands behind two spaces or more."""
    for line in (from_code.parser_of(program).epilog or "").splitlines():
        if re.match(r"  (?:python|accelerate|torchrun|mimique) ", line) and _COMMAND.search(line):
            words = shlex.split(re.split(r"\s{2,}", line.strip())[0], comments=True)
            yield Command(f"{program} --help", tuple(words), whole=True)


def shown(pages: list[Path]) -> list[Command]:
    """Those of all pages and of every program's help."""
    found = [each for page in pages for each in on_page(page.read_text(encoding="utf-8"), str(page.relative_to(from_code.ROOT)))]
    return found + [each for program in from_code.programs() for each in in_help(program)]
