"""A finished data set on disk: pictures in folders or Parquet, one row of facts a face, a manifest and a data card."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion, one_hot
from encoder.evaluation.metrics import wilson_interval
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, explain_write_error, make_folder, sync_folder
from generation.dataset.blocks import load_block
from generation.dataset.card import data_card
from generation.dataset.selection import Selection, Tally
from generation.draw import FaceModel
from generation.faces import Face, FaceBatch
from generation.files import face_png, made_now
from generation.verify import CAUSES

MANIFEST, CARD, TABLE = "manifest.json", "README.md", "faces.csv"
ROWS_A_GROUP = 1024

Splits = dict[str, Counter[str]]  # faces by split and emotion


@dataclass(frozen=True)
class Entry:
    """One face of the set and where it goes."""

    split: str
    emotion: Emotion
    face: Face
    png: bytes

    @property
    def name(self) -> str:
        """File name: the emotion and the seed that makes the face again."""
        return f"{self.emotion.label}-{self.face.seed:08d}.png"

    def row(self) -> dict[str, Any]:
        """The facts of the face: what was asked and told, how it was made, what encoder, critic, probe and detector say of it."""
        verdict, marks = self.face.verdict, self.face.landmarks
        facts = {"seed": self.face.seed, "tries": self.face.tries, "match": round(verdict.match, 4)}
        read = {f"read_{name}": round(p, 4) for name, p in zip(EMOTION_NAMES, verdict.distribution, strict=True)}
        vetoes = {} if self.face.realism is None else {"realism": round(self.face.realism, 4)}
        vetoes |= {} if self.face.seen is None else {f"seen_{name}": p for name, p in self.face.seen.as_record().items()}
        vetoes |= {} if marks is None else {"face_score": round(marks.score, 3)}
        return {"emotion": self.emotion.label, "fer2013_label": int(self.emotion), **facts, **self.face.told, **vetoes, **read}


def entries(selection: Selection, blocks: Path, model: FaceModel) -> Iterator[Entry]:
    """The faces of the set, emotion by emotion in the order of their seeds, each as a PNG that says what it is."""
    request, held_out = selection.request, selection.held_out()
    for cell, tally in selection.tallies.items():
        loaded, first_held = None, len(tally.kept) - held_out[cell]
        for ordinal, (number, position) in enumerate(tally.kept):
            if loaded is None or loaded.number != number:
                loaded = load_block(blocks, request, number, model.attributes)
                batch = FaceBatch(request.candidates(number), loaded.faces, loaded.tried, 0.0, model.weights)
            face = loaded.faces[position]
            png = face_png(face, batch, one_hot(cell.emotion), mark=request.mark)
            yield Entry("valid" if ordinal >= first_held else "train", cell.emotion, face, png)


def write_dataset(selection: Selection, blocks: Path, folder: Path, model: FaceModel, command: str) -> dict[str, Any]:
    """Write everything, the manifest last: when it is there, the set is complete. Returns the manifest.

    Raises:
        UserError: a block or a file cannot be read or written.
    """
    total = sum(len(tally.kept) for tally in selection.tallies.values())
    found = entries(selection, blocks, model)
    rows = tqdm(found, total=total, desc="writing", unit="face", delay=1, leave=False, disable=None)
    parquet = selection.request.form == "parquet"
    splits = _write_parquet(rows, folder, blocks, _columns(selection, model)) if parquet else _write_folders(rows, folder)
    content = manifest(selection, splits, model, command)
    atomic_write_text(folder / CARD, data_card(content))
    atomic_write_text(folder / MANIFEST, json.dumps(content, indent=2) + "\n")
    return content


def _write_folders(rows: Iterator[Entry], folder: Path) -> Splits:
    splits: Splits = defaultdict(Counter)
    table, writer = io.StringIO(), None
    for entry in rows:
        place = Path(entry.split) / entry.emotion.label / entry.name
        if not (folder / place).exists():  # an interrupted run left it, and it was complete when it got its name
            make_folder(folder / place.parent)
            atomic_write_bytes(folder / place, entry.png)
        row = {"file": place.as_posix(), "split": entry.split, **entry.row()}
        if writer is None:
            writer = csv.DictWriter(table, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
        splits[entry.split][entry.emotion.label] += 1
    atomic_write_text(folder / TABLE, table.getvalue())
    return splits


def _columns(selection: Selection, model: FaceModel) -> list[tuple[str, str]]:
    """What is stored of a face only where the weights have it: name and type."""
    settings = selection.request.candidates(0)
    probed = settings.as_told == "on"
    asked = {"realism": bool(settings.realism), "seen_hands": probed, "seen_closed": probed}
    asked["face_score"] = settings.landmarks == "on"
    return [*((name, "string") for name in model.attributes), *((name, "float") for name, yes in asked.items() if yes)]


def _write_parquet(rows: Iterator[Entry], folder: Path, drafts: Path, more: Sequence[tuple[str, str]]) -> Splits:
    """``train.parquet`` and ``valid.parquet`` in the layout of :mod:`encoder.data.face_parquet`, with the facts beside it.

    Both grow in ``drafts``, a group of rows at a time: a set may be larger than the memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    reading = [(f"read_{name}", pa.float32()) for name in EMOTION_NAMES]
    facts = [("emotion", pa.string()), ("fer2013_label", pa.int8()), ("seed", pa.int64()), ("tries", pa.int32())]
    extra = [(name, pa.type_for_alias(kind)) for name, kind in more]
    schema = pa.schema([("image", picture), *facts, ("match", pa.float32()), *extra, *reading])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features(schema)}})})
    splits: Splits = defaultdict(Counter)
    writers: dict[str, Any] = {}
    group: dict[str, list[dict[str, Any]]] = defaultdict(list)
    try:
        with ExitStack() as stack:
            for entry in rows:
                split, waiting = entry.split, group[entry.split]
                if split not in writers:
                    writer = pq.ParquetWriter(drafts / f"{split}.parquet", schema, compression="zstd")
                    writers[split] = stack.enter_context(writer)
                waiting.append({"image": {"bytes": entry.png, "path": entry.name}, **entry.row()})
                splits[split][entry.emotion.label] += 1
                if len(waiting) == ROWS_A_GROUP:
                    writers[split].write_batch(pa.RecordBatch.from_pylist(group.pop(split), schema=schema))
            for split, waiting in group.items():
                writers[split].write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
        for split in splits:
            with (drafts / f"{split}.parquet").open("rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(drafts / f"{split}.parquet", folder / f"{split}.parquet")
        sync_folder(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {explain_write_error(error)}") from None
    return splits


def _features(schema: Any) -> dict[str, Any]:
    """The columns as Hugging Face ``datasets`` describes them, so that it shows pictures and not bytes."""
    kinds = {field.name: {"dtype": str(field.type).replace("float", "float32"), "_type": "Value"} for field in schema}
    return {**kinds, "image": {"_type": "Image"}}


def manifest(selection: Selection, splits: Splits, model: FaceModel, command: str) -> dict[str, Any]:
    """Everything needed to make the set again and to trust it."""
    import torch

    request, config = selection.request, model.tokenizer.config
    colour = request.settings["look"] == "photo"
    emotions = dict[str, Tally]()
    for cell, tally in selection.tallies.items():
        former = emotions.get(cell.emotion.label)
        emotions[cell.emotion.label] = tally if former is None else former + tally
    # Of emotions alone the cells would say the same again.
    cells = {cell.name: _as_record(tally) for cell, tally in selection.tallies.items() if cell.told}
    return {
        **made_now(),
        "command": command,
        "request": request.model_dump(mode="json"),
        "weights_sha256": model.weights,
        # Sums in another order differ in their last bits, which may move a pixel by one grey level.
        "environment": {"torch": torch.__version__, "device": model.encoder.device.type, "threads": torch.get_num_threads()},
        "pictures": {"side": config.painted if colour else config.size, "colour": colour},
        "told": list(model.attributes),
        "complete": all(tally.full for tally in selection.tallies.values()),
        "splits": splits,
        "emotions": {name: _as_record(tally) for name, tally in emotions.items()},
        **({"cells": cells} if cells else {}),
    }


def _as_record(tally: Tally) -> dict[str, Any]:
    return {
        "asked": tally.asked,
        "delivered": len(tally.kept),
        "candidates": tally.candidates,
        "accepted_at_first_try": round(tally.first_try / tally.candidates, 4),
        "accepted_at_first_try_interval": [round(x, 4) for x in wilson_interval(tally.first_try, tally.candidates)],
        "draws_per_candidate": round(tally.tried / tally.candidates, 3),
        "refused": tally.refused,
        "near_duplicates_left_out": tally.duplicates,
        "refused_draws": {cause: tally.refused_draws[cause] for cause in CAUSES if tally.refused_draws[cause]},
    }
