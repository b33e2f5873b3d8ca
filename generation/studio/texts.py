"""What the page says, in each of its languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

# What each language calls itself.
LANGUAGES = {"en": "English", "fr": "Français"}
ASSETS = Path(__file__).with_name("assets")


@dataclass(frozen=True)
class Texts:
    """``texts("make.button", count=12)``: the words of one language, by a name that all languages share."""

    language: str
    words: Mapping[str, str]

    def __call__(self, name: str, /, **values: object) -> str:
        """Raises KeyError: there is no such text."""
        return self.words[name].format(**values)

    def number(self, value: float, digits: int = 2) -> str:
        """With the point or comma of the language."""
        shown = f"{value:.{digits}f}"
        return shown.replace(".", ",") if self.language == "fr" else shown

    def percent(self, share: float) -> str:
        """A share as a whole number of hundredths."""
        return self("percent", number=round(100 * share))

    def seconds(self, value: float) -> str:
        """``"40 s"``, ``"3 min"`` or ``"1 h 20"``."""
        minutes = round(value / 60)
        if value < 90:
            return f"{value:.0f} s"
        return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"

    def emotion(self, name: str) -> str:
        """An emotion's name, which is English in orders and files."""
        return self.words[f"emotion.{name}"]


@cache
def texts(language: str) -> Texts:
    """Those of ``en`` or ``fr``."""
    found = yaml.safe_load((ASSETS / f"{language}.yaml").read_text(encoding="utf-8"))
    return Texts(language, {f"{part}.{name}" if name else part: words for part, name, words in _flat(found)})


def preferred(accepted: str) -> str:
    """The language for an ``Accept-Language`` header: the first known one of those it names; English where there is none."""
    for part in accepted[:200].split(","):
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in LANGUAGES:
            return language
    return "en"


def _flat(found: Mapping[str, str | Mapping[str, str]]) -> list[tuple[str, str, str]]:
    return [
        (part, name, words)
        for part, inner in found.items()
        for name, words in (inner.items() if isinstance(inner, Mapping) else [("", inner)])
    ]
