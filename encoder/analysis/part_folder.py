"""The folder of a reading in parts: its plan, what is finished of it, and the manifest at the end.

``part-000000.parquet`` and so on hold the rows. ``_work/plan.json`` says what each part is made from, ``_work/part-000000.json``
that one is finished. ``_manifest.json`` comes last. (Readers of a folder of Parquet files pass over names that begin with ``_``.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from configs.cli import UserError
from encoder.analysis.inputs import Input
from encoder.analysis.parts import Part, part_from
from engine.storage.plain_json import parse_json
from engine.storage.provenance import generator
from engine.storage.stored_files import StoredFolder

FORMAT_VERSION = 1
MANIFEST, WORK = "_manifest.json", "_work"
_PLAN = f"{WORK}/plan.json"
COUNTS = ("pictures", "faces", "without_face", "problems")


class PartFolder:
    """A folder on disk or under a URL that holds the parts of one reading.

    Attributes:
        parts: what each part is made from; once the folder is open.
    """

    def __init__(self, place: str) -> None:
        """Raises UserError: no such storage."""
        self._files = StoredFolder(place)
        self._plan: dict[str, Any] = {}
        self._digest = ""
        self.parts: list[Part] = []

    @property
    def kept_kinds(self) -> dict[str, str]:
        """Arrow types of the kept columns, by their names in the result; once the folder is open."""
        return dict(self._plan["kept"])

    def claim(
        self,
        decides: Mapping[str, Any],
        inputs: Sequence[Input],
        plan: Callable[[], tuple[Iterable[Part], Mapping[str, str]]],
    ) -> None:
        """Make the folder that of this reading; what is finished of it stays. For one process, before all :meth:`open` it.

        Args:
            decides: settings and weights that decide the rows, plain data in named groups.
            inputs: of known size.
            plan: makes the parts and the types of the kept columns where this reading is a new one.

        Raises:
            UserError: the folder holds something else, or parts of other settings, weights or inputs.
        """
        # In this order: a part is there only after its plan. What else is in WORK may be the plan of a job that begins just now.
        others = self._files.names() - {WORK}
        if _PLAN in self._files.sizes(WORK):
            self._read_plan()
            self._compare(decides, inputs)
            return
        if others:
            raise UserError(f"{self._files.place}: is not empty and holds no parts of this program; choose another --out")
        parts, kept = plan()
        content = {"format_version": FORMAT_VERSION, **decides, "kept": kept, "parts": [part.as_record() for part in parts]}
        self._files.write(_PLAN, json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace"))

    def open(self) -> None:
        """Read the plan. Raises UserError: it cannot be read."""
        self._read_plan()

    def _read_plan(self) -> None:
        (data,) = self._files.read([_PLAN])
        where = self._files.path(_PLAN)
        content = parse_json(data, where)
        try:
            if content["format_version"] != FORMAT_VERSION:
                raise UserError(f"{where}: was written by another release; go on with that one, or choose another --out")
            self._plan, self._digest = content, hashlib.sha256(data).hexdigest()
            self.parts = [part_from(number, record) for number, record in enumerate(content["parts"])]
            _ = self.kept_kinds
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: is damaged; choose another --out") from None

    def _compare(self, decides: Mapping[str, Any], inputs: Sequence[Input]) -> None:
        """Refuse a plan of another reading, and say what is other."""
        place = self._files.place
        for group, wanted in json.loads(json.dumps(decides)).items():
            stored = self._plan.get(group, {})
            for name in sorted({*wanted, *stored}):
                if stored.get(name) != wanted.get(name):
                    former = f"{stored.get(name)!r:.60}, not {wanted.get(name)!r:.60}"
                    raise UserError(f"{place}: holds parts made with {group} {name} = {former}; choose another --out")
        before = {each.name: each.size for part in self.parts for each in part.inputs}
        now = {each.name: each.size for each in inputs}
        changed = sorted(name for name in {*before, *now} if name not in before or name not in now or before[name] != now[name])
        if changed:
            name = changed[0]
            how = (
                "is new" if name not in before else "is gone" if name not in now else f"had {before[name]} bytes, not {now[name]}"
            )
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise UserError(f"{place}: holds parts of other inputs: {name} {how}{more}; choose another --out")

    def finished(self) -> dict[int, dict[str, Any]]:
        """What is known of the finished parts, by number. Raises UserError: a record cannot be read."""
        there = self._files.sizes("", WORK)
        names = {part.number: f"{WORK}/{part.name.removesuffix('.parquet')}.json" for part in self.parts}
        present = [number for number, name in names.items() if name in there]
        found = {}
        for number, data in zip(present, self._files.read([names[number] for number in present]), strict=True):
            record = parse_json(data, self._files.path(names[number]))
            # A part that somebody removed or replaced is made again.
            if record.get("plan_sha256") == self._digest and there.get(self.parts[number].name) == record["bytes"]:
                found[number] = record
        return found

    def keep(self, part: Part, table: bytes, counts: Mapping[str, int]) -> None:
        """Put a part in its place, then say that it is finished. Raises UserError: it cannot be written."""
        figures = {"file": part.name, **counts, "bytes": len(table), "sha256": hashlib.sha256(table).hexdigest()}
        self._files.write(part.name, table)
        record = json.dumps(figures | {"plan_sha256": self._digest})
        self._files.write(f"{WORK}/{part.name.removesuffix('.parquet')}.json", record.encode())

    def finish(self, about: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write the manifest if every part is finished, and return it; None while some are not.

        Args:
            about: how the parts were made, beside what decides them.
        """
        done = self.finished()
        if len(done) < len(self.parts):
            return None
        if MANIFEST in self._files.sizes(""):
            content = parse_json(self._files.read([MANIFEST])[0], self._files.path(MANIFEST))
            hashes = [record["sha256"] for _, record in sorted(done.items())]
            if content["plan_sha256"] == self._digest and [part["sha256"] for part in content["parts"]] == hashes:
                return content
        files = {each.name: each.size or 0 for part in self.parts for each in part.inputs}
        content = {
            "generator": generator(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **about,
            **{name: value for name, value in self._plan.items() if name not in ("format_version", "parts")},
            "plan_sha256": self._digest,
            "inputs": {"files": len(files), "bytes": sum(files.values())},
            **{count: sum(record[count] for record in done.values()) for count in COUNTS},
            "rows": sum(record["rows"] for record in done.values()),
            "parts": [
                {name: value for name, value in (done[part.number] | part.as_record()).items() if name != "plan_sha256"}
                for part in self.parts
            ],
        }
        self._files.write(MANIFEST, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
        return content
