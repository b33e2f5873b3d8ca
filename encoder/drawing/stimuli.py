"""Drawn faces as files: each person at each emotion and intensity, or with chosen action units, and a table of what is true."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.drawing.action_units import AU_NUMBERS, checked_action_units
from encoder.drawing.faces import MAX_COUNT, MAX_SIZE, MIN_SIZE, draw_faces
from encoder.emotions import Emotion, one_hot
from engine.counter_random import hash64
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder
from engine.storage.provenance import png

TABLE, SHEET = "faces.csv", "contact_sheet.png"
_PERSON_STREAM = 14
_SHEET_FACES, _SHEET_SIDE = 84, 128


@dataclass(frozen=True)
class Stimuli:
    """What is to be drawn: ``people`` times ``emotions`` times ``intensities``, everybody the same in all of theirs.

    Attributes:
        emotions: neutral is drawn once a person, it has no intensity; empty: nothing but ``units``.
        intensities: above 0 to 1. units: strengths of action units in every face, in place of what its emotion gives.
        variation: 0: seen from the front, sharp, evenly lit, exactly the prototypes; 1: as in photographs.

    Raises:
        UserError: something that cannot be drawn.
    """

    people: int
    emotions: tuple[Emotion, ...] = tuple(Emotion)
    intensities: tuple[float, ...] = (1.0,)
    units: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    size: int = 256
    variation: float = 0.0

    def __post_init__(self) -> None:
        checked_action_units(self.units)
        if not 1 <= self.people <= MAX_COUNT // 100:
            raise UserError(f"drawn faces: people must lie between 1 and {MAX_COUNT // 100}, got {self.people}")
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise UserError(f"drawn faces: size must lie between {MIN_SIZE} and {MAX_SIZE} pixels, got {self.size}")
        if not 0.0 <= self.variation <= 1.0:
            raise UserError(f"drawn faces: variation must lie between 0 and 1, got {self.variation}")
        levels = self.intensities
        if not levels or not all(0.0 < level <= 1.0 for level in levels) or len(set(levels)) < len(levels):
            raise UserError(f"drawn faces: intensities must differ and lie above 0 up to 1, got {', '.join(map(str, levels))}")
        if not self.emotions and not self.units:
            raise UserError("drawn faces: name emotions or action units")

    @property
    def columns(self) -> list[tuple[Emotion | None, float]]:
        """What each person shows, in order; None: action units alone."""
        if not self.emotions:
            return [(None, 0.0)]
        steps = [(emotion, level) for emotion in self.emotions for level in sorted(self.intensities)]
        return list(dict.fromkeys((each, 1.0 if each is Emotion.NEUTRAL else level) for each, level in steps))

    def person(self, number: int) -> list[tuple[dict[str, Any], NDArray[np.uint8]]]:
        """The (row of facts, picture) of everything that person ``number``, from 0, shows."""
        columns = self.columns
        identity = int(hash64(self.seed, number, _PERSON_STREAM) >> np.uint64(24))
        found = []
        for emotion, level in columns:
            # Each by the same number: the person is seen alike, and moves in the same variant of each prototype.
            made = draw_faces(
                1,
                seed=self.seed,
                size=self.size,
                distribution=one_hot(Emotion.NEUTRAL if emotion is None else emotion),
                intensity=level,
                identities=[identity],
                variation=self.variation,
                units=self.units,
                first=number,
            )
            asked = [f"{emotion.label}_{round(100 * level):03d}"] if emotion is not None else []
            fixed = [f"AU{each:02d}-{round(100 * strength):03d}" for each, strength in self.units.items()]
            facts = {
                "file": "_".join([f"p{number + 1:03d}", *asked, *fixed]) + ".png",
                "person": f"p{number + 1:03d}",
                "emotion": "" if emotion is None else emotion.label,
                "intensity": "" if emotion is None else level,
                "seed": self.seed,
                "identity": identity,
                "size": self.size,
                "units_set": " ".join(f"AU{each:02d}" for each in self.units),
            }
            shown = zip(AU_NUMBERS, made.action_units[0].tolist(), strict=True)
            found.append((facts | {f"AU{each:02d}": round(strength, 4) for each, strength in shown}, made.images[0]))
        return found


def write_stimuli(asked: Stimuli, folder: Path) -> list[dict[str, Any]]:
    """Write the pictures, a contact sheet of the first people and, last, the table; returns its rows.

    Raises:
        UserError: the folder cannot be written.
    """
    from tqdm import tqdm

    make_folder(folder)
    rows: list[dict[str, Any]] = []
    first: list[NDArray[np.uint8]] = []
    for number in tqdm(range(asked.people), desc="drawing", unit="person", delay=1, leave=False, disable=None):
        for facts, image in asked.person(number):
            atomic_write_bytes(folder / facts["file"], png(image, dict(_texts(facts)), kind="drawn"))
            rows.append(facts)
            first += [image] if len(first) < _SHEET_FACES else []
    columns = len(asked.columns) if asked.emotions else min(8, asked.people)
    atomic_write_bytes(folder / SHEET, png(contact_sheet(first, columns, _SHEET_SIDE), {}, kind="drawn"))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(folder / TABLE, table.getvalue())
    return rows


def _texts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["emotion"]:
        yield "Emotion", f"{facts['emotion']} {facts['intensity']:g}"
    yield "Action units", ", ".join(f"{name} {facts[name]:g}" for name in facts if name.startswith("AU") and facts[name])
    yield "Seed", f"{facts['seed']}, identity {facts['identity']}"


def contact_sheet(images: list[NDArray[np.uint8]], columns: int, side: int) -> NDArray[np.uint8]:
    """(rows * (side + 2), columns * (side + 2)) grey: faces row by row, each resized to ``side`` pixels."""
    from PIL import Image

    sheet = np.full((-(-len(images) // columns), side + 2, columns, side + 2), 255, np.uint8)
    for number, image in enumerate(images):
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        sheet[number // columns, :side, number % columns, :side] = np.asarray(tile)
    return sheet.reshape(-1, columns * (side + 2))
