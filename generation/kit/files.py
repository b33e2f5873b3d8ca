"""A finished set of stimuli on disk: named pictures, the table, its codebook, the rating sheet, a card and a manifest."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from tqdm import tqdm

from encoder.emotions import Emotion
from encoder.evaluation.metrics import wilson_interval
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, draft
from engine.storage.provenance import png
from generation.dataset.card import render_card
from generation.draw import FaceModel
from generation.faces import FaceBatch
from generation.files import face_png, made_now, sheet
from generation.kit.columns import COLUMNS, TOLD, Column, row_of
from generation.kit.opinions import Opinions
from generation.kit.order import Cell, StimulusRequest
from generation.kit.person import Person
from generation.kit.rating_sheet import Shown, rating_sheet
from generation.kit.stored import load_person
from generation.verify import CAUSES

MANIFEST, CARD, CODEBOOK, TABLE, PARQUET, RATING, SHEET = (
    "manifest.json", "README.md", "codebook.csv", "faces.csv", "faces.parquet", "rating_sheet.html", "contact_sheet.png",
)  # fmt: skip
PICTURES = "faces"
# A page of more faces than this takes browsers too long to open, and people too long to rate.
_MOST_RATED, _SHEET_PEOPLE = 2000, 12


def file_name(person: Person, cell: Cell) -> str:
    """``p007_female_30-39_latino_fear_050.png``: who, as far as the generator was told, and what at which intensity."""
    told = person.faces[cell].told
    about = [str(told[name]) for name in ("gender", "age", "group") if told.get(name)]
    return "_".join([person.name, *about, str(cell)]) + ".png"


def write_stimuli(
    model: FaceModel, request: StimulusRequest, opinions: Opinions, folder: Path, work: Path, command: str
) -> dict[str, Any]:
    """Write everything, the manifest last: when it is there, the set is complete. Returns the manifest.

    Raises:
        UserError: a person or a file cannot be read or written.
    """
    (folder / PICTURES).mkdir(exist_ok=True)
    rows, shown, people, tiles = list[dict[str, Any]](), list[Shown](), list[Person](), list[Any]()
    labels: list[str] = []
    for number in tqdm(range(request.people), desc="writing", unit="person", delay=1, leave=False, disable=None):
        person, said = load_person(work, request, number, model.attributes)
        people.append(_without_pixels(person))
        made = FaceBatch(model.settled(request.face_request(request.cells[0])), (), 0, 0.0, model.weights)
        whole = len(person.faces) + len(shown) <= _MOST_RATED
        for place, cell in enumerate(cell for cell in request.cells if cell in person.faces):
            face, name = person.faces[cell], f"{PICTURES}/{file_name(person, cell)}"
            picture = face_png(face, made, cell.asked, mark=request.mark, Person=person.name)
            if not (folder / name).exists():  # an interrupted run left it, and it was complete when it got its name
                atomic_write_bytes(folder / name, picture)
            code = sha256(picture).hexdigest()[:10]
            about = {key: values[place] for key, values in said.items()}
            nearest = opinions.names[int(about["nearest_row"])] if opinions.names else None
            rows.append(row_of(name, code, person.name, cell, face, person.tried[cell], about, nearest))
            shown += [Shown(code, face.image)] if whole else []
        if number < _SHEET_PEOPLE:
            blank = next(iter(person.faces.values())).image * 0 + 255 if person.faces else None
            for cell in request.cells if person.faces else ():
                found = person.faces.get(cell)
                tiles.append(blank if found is None else found.image)
                labels.append(f"{cell}: none" if found is None else f"{found.verdict}")
    content = _manifest(model, request, opinions, people, rows, command)
    _write_table(folder, rows, request.form)
    atomic_write_text(folder / CODEBOOK, _csv([column._asdict() for column in COLUMNS], Column._fields[:-1]))
    atomic_write_text(folder / RATING, rating_sheet(shown, _digest(rows)))
    content["rated"] = len(shown)
    if tiles:
        picture = sheet(tiles, labels, len(request.cells), 128, f"AI-generated: {', '.join(map(str, request.cells))}")
        atomic_write_bytes(folder / SHEET, png(picture, {}))
    atomic_write_text(folder / CARD, card(content))
    atomic_write_text(folder / MANIFEST, json.dumps(content, indent=2) + "\n")
    return content


def _without_pixels(person: Person) -> Person:
    """The same for the counts: a set may be larger than the memory."""
    blank = np.zeros((0, 0), np.uint8)
    return replace(person, faces={cell: replace(face, image=blank) for cell, face in person.faces.items()})


def _digest(rows: list[dict[str, Any]]) -> str:
    return sha256("".join(sorted(row["code"] for row in rows)).encode()).hexdigest()[:10]


def _csv(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_table(folder: Path, rows: list[dict[str, Any]], form: str) -> None:
    if form == "folders":
        atomic_write_text(folder / TABLE, _csv(rows, tuple(column.name for column in COLUMNS)))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(column.name, pa.type_for_alias(column.kind)) for column in COLUMNS])
    with draft(folder / PARQUET) as stream:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream, compression="zstd")


def _manifest(
    model: FaceModel, request: StimulusRequest, opinions: Opinions, people: list[Person], rows: list[dict[str, Any]], command: str
) -> dict[str, Any]:
    """Everything needed to make the set again and to trust it."""
    import torch

    missing = [each for person in people for each in _missing(request, person)]
    config, colour = model.tokenizer.config, request.settings["look"] == "photo"
    threshold = opinions.about.get("embedder", {}).get("threshold")
    apart = [row["neutral_distance"] for row in rows if row["emotion"] != "neutral" and row["neutral_distance"] is not None]
    return {
        **made_now(),
        "set": _digest(rows),
        "command": command,
        "stimuli": request.model_dump(mode="json"),
        "weights_sha256": model.weights,
        "opinions": {**opinions.about, "absent": dict(opinions.absent)},
        # Sums in another order differ in their last bits, which may move a pixel by one grey level.
        "environment": {"torch": torch.__version__, "device": model.encoder.device.type, "threads": torch.get_num_threads()},
        "pictures": {"side": config.painted if colour else config.size, "colour": colour},
        "asked": request.people * len(request.cells),
        "made": len(rows),
        "drawn": sum(count for person in people for count in person.tried.values()),
        "complete": not missing,
        "cells": [_cell(cell, people, [row for row in rows if _is_of(row, cell)]) for cell in request.cells],
        "identity": None if not apart else _identity(apart, threshold),
        "told": {name: dict(Counter(str(each[name]) for each in _people_of(rows))) for name in TOLD if rows and rows[0][name]},
        "missing": missing,
    }


def _people_of(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row a person."""
    return iter({row["person"]: row for row in rows}.values())


def _is_of(row: dict[str, Any], cell: Cell) -> bool:
    return bool(row["emotion"] == cell.emotion.label and row["intensity"] == cell.level)


def _missing(request: StimulusRequest, person: Person) -> Iterator[dict[str, Any]]:
    for cell in request.cells:
        if cell not in person.faces:
            neutral = request.cells[0] not in person.faces and cell != request.cells[0]
            why = {"no neutral face": 1} if neutral else {**person.refused.get(cell, {})}
            why |= {"order": person.unordered[cell]} if person.unordered.get(cell) else {}
            yield {"person": person.name, "emotion": cell.emotion.label, "intensity": cell.level,
                   "drawn": person.tried.get(cell, 0), "refused_by": why}  # fmt: skip


def _identity(apart: list[float], threshold: float) -> dict[str, Any]:
    within = sum(distance <= threshold for distance in apart)
    share = {"share": round(within / len(apart), 4), "interval": [round(x, 4) for x in wilson_interval(within, len(apart))]}
    return {"faces": len(apart), "mean_distance": round(mean(apart), 4), "within_threshold": within, **share}


def _cell(cell: Cell, people: list[Person], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How one emotion at one intensity came out, over the people."""
    name, refused = cell.emotion.label, Counter[str]()
    for person in people:
        refused.update(person.refused.get(cell, {}))
        refused["order"] += person.unordered.get(cell, 0)
    tops = [row["judge_top"] for row in rows if row["judge_top"]]
    agree = sum(top == name for top in tops)
    return {
        "emotion": name,
        "intensity": cell.level,
        "asked": len(people),
        "made": len(rows),
        "drawn": sum(person.tried.get(cell, 0) for person in people),
        "refused": {cause: refused[cause] for cause in (*CAUSES, "order") if refused[cause]},
        "read": _mean(rows, f"read_{name}"),
        "judge": _mean(rows, f"judge_{name}"),
        "judge_top": agree if tops else None,
        "judge_top_interval": [round(x, 3) for x in wilson_interval(agree, len(tops))] if tops else None,
        "realism": _mean(rows, "realism"),
        "critic_judge": _mean(rows, "critic_judge"),
        "neutral_distance": _mean(rows, "neutral_distance") if cell.emotion is not Emotion.NEUTRAL else None,
    }


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return round(mean(known), 4) if known else None


def card(content: dict[str, Any]) -> str:
    """The card of a set, in Markdown, from its manifest."""
    return render_card(Path(__file__).with_name("templates") / "card.md", **content)
