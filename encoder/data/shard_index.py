"""Where each face of a data set in shards stands: an index of bytes per tar, and one table over all shards.

A tar holds samples as WebDataset does: members of one name up to the first dot belong together, such as ``0001.png`` and
``0001.cls``. Its index is a JSON file beside it, or in the cache where that place cannot be written. The table has a row
of fixed size per face and is mapped into memory, so that looking a face up costs the same for 10³ and for 10⁸ faces.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import one_line, printable
from encoder.data.face_set import parse_label
from encoder.data.shard_files import ShardFile, ShardFiles
from encoder.emotions import NUM_EMOTIONS
from engine.storage.atomic import atomic_write_text, draft, make_folder
from engine.storage.plain_json import parse_json

FORMAT_VERSION = 1
INDEX_ENDING = ".index.json"
SHARD_ENDINGS = (".tar", ".parquet")
IMAGE_ENDINGS = ("png", "jpg", "jpeg", "webp", "bmp")
LABEL_ENDINGS = ("cls", "json")
_MAX_LABEL_BYTES = 1 << 16
_MAX_PICTURE_BYTES = (1 << 32) - 1  # what a row of the table can say
_TAR_END = 2 * tarfile.BLOCKSIZE
# ``offset``: of the image in its tar; in a Parquet file (``length`` 0) the number of its row. ``emotion``: a distribution,
# or zeros.
ROW = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("emotion", "<f4", (NUM_EMOTIONS,))])
Sample = tuple[int, int, list[float] | int]


@dataclass(frozen=True)
class ShardTable:
    """The rows of a data set and the shards they point into; ``digest`` changes with any shard and any index."""

    files: ShardFiles
    shards: tuple[ShardFile, ...]
    path: Path
    digest: str

    def rows(self) -> NDArray[Any]:
        """(N,) records of :data:`ROW`, mapped and not read."""
        return np.memmap(self.path, dtype=ROW, mode="r")


def build_table(files: ShardFiles, shards: list[ShardFile], cache: Path) -> ShardTable:
    """The table of ``shards``, made in ``cache`` unless it is there; shards without an index get one.

    Raises UserError: a shard that is damaged, or a cache that cannot be written.
    """
    from tqdm import tqdm

    table = _table(files, shards, cache)
    if table.path.is_file() and table.path.stat().st_size and table.path.stat().st_size % ROW.itemsize == 0:
        return table
    count = 0
    make_folder(cache, "folder")
    with draft(table.path) as stream:
        for number, shard in enumerate(tqdm(shards, desc="index", unit="shard", delay=1, leave=False, disable=None)):
            samples = _samples_of(files, shard, cache)
            stream.write(_rows(number, samples).tobytes())
            count += len(samples)
        if not count:
            raise UserError(f"{files.place}: {len(shards)} shard(s), but no picture in them ({', '.join(IMAGE_ENDINGS)})")
    # The same, called by the indexes that were made on the way.
    named = _table(files, shards, cache)
    with suppress(FileNotFoundError):  # another process did so first
        table.path.replace(named.path)
    return named


def _table(files: ShardFiles, shards: list[ShardFile], cache: Path) -> ShardTable:
    """The table as it is called now: by name, size, last change and index of every shard."""
    state = [(shard.name, shard.size, shard.version, _index_hash(files, shard, cache)) for shard in shards]
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, state]).encode()).hexdigest()
    return ShardTable(files, tuple(shards), cache / f"shards-{digest[:16]}.rows", digest)


def _index_hash(files: ShardFiles, shard: ShardFile, cache: Path) -> str:
    """Of the index on this machine; an index in an object store is not fetched for it: its tar's version says enough."""
    for path in _index_places(files, shard, cache):
        with suppress(OSError), path.open("rb") as stream:
            digest = hashlib.sha256()
            while part := stream.read(1 << 16):
                digest.update(part)
            return digest.hexdigest()
    return ""


def _index_places(files: ShardFiles, shard: ShardFile, cache: Path) -> list[Path]:
    """Where the index of a tar may stand on this machine; one that is older than its tar is of another."""
    places = [_index_in_cache(files, shard, cache)]
    if not files.remote:
        beside = Path(files.place).expanduser() / (shard.name + INDEX_ENDING)
        with suppress(OSError, ValueError):
            if beside.stat().st_mtime_ns >= int(shard.version):
                places.append(beside)
    return places


def _rows(shard: int, samples: list[Sample]) -> NDArray[Any]:
    rows = np.zeros(len(samples), ROW)
    rows["shard"] = shard
    rows["offset"] = [offset for offset, _, _ in samples]
    rows["length"] = [length for _, length, _ in samples]
    # A row of zeros below those of the seven: what the number -1, nothing known, points at.
    known = np.vstack([np.eye(NUM_EMOTIONS), np.zeros(NUM_EMOTIONS)]).tolist()
    shares = [emotion if isinstance(emotion, list) else known[emotion] for _, _, emotion in samples]
    rows["emotion"] = np.array(shares, np.float32).reshape(-1, NUM_EMOTIONS)
    return rows


def _samples_of(files: ShardFiles, shard: ShardFile, cache: Path) -> list[Sample]:
    if shard.name.endswith(".parquet"):
        from encoder.data.shard_parquet import parquet_samples

        return parquet_samples(files, shard)
    found = _stored_index(files, shard, cache)
    if found is None:
        found = list(tar_samples(files, shard))
        store_index(files, shard, cache, found)
    return found


def _index_in_cache(files: ShardFiles, shard: ShardFile, cache: Path) -> Path:
    key = hashlib.sha256(f"{files.place}/{shard.name} {shard.version}".encode(errors="surrogateescape")).hexdigest()[:16]
    return cache / f"{key}{INDEX_ENDING}"


def _stored_index(files: ShardFiles, shard: ShardFile, cache: Path) -> list[Sample] | None:
    """The index of a tar; None where there is none, or one of another file."""
    reads: list[Callable[[], bytes]] = [path.read_bytes for path in _index_places(files, shard, cache)]
    if files.remote:
        reads.append(partial(_fetched, files, shard.name + INDEX_ENDING))
    for read in reads:
        with suppress(OSError, UserError, KeyError, TypeError, ValueError):
            content = parse_json(read(), shard.name)
            if (content["format_version"], content["tar_bytes"]) == (FORMAT_VERSION, shard.size):
                return [_checked(sample, shard) for sample in content["samples"]]
    return None


def _fetched(files: ShardFiles, name: str) -> bytes:
    with files.open(name) as stream:
        return stream.read()


def _checked(sample: Any, shard: ShardFile) -> Sample:
    offset, length, emotion = sample
    if not (type(offset) is type(length) is int and offset >= 0 and length > 0 and offset + length <= shard.size):
        raise ValueError("outside of the shard")
    if isinstance(emotion, list):
        return offset, length, _distribution(emotion)
    if type(emotion) is not int or not -1 <= emotion < NUM_EMOTIONS:
        raise ValueError("not an emotion")
    return offset, length, emotion


def store_index(files: ShardFiles, shard: ShardFile, cache: Path, samples: list[Sample]) -> None:
    """Write the index beside its tar, or into ``cache`` where that place is remote or read-only.

    Raises UserError: neither can be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, "tar_bytes": shard.size, "samples": samples}, separators=(",", ":"))
    if not files.remote:
        with suppress(UserError):
            atomic_write_text(Path(files.place).expanduser() / (shard.name + INDEX_ENDING), text)
            return
    cache.mkdir(parents=True, exist_ok=True)
    atomic_write_text(_index_in_cache(files, shard, cache), text)


def tar_samples(files: ShardFiles, shard: ShardFile) -> Iterator[Sample]:
    """(offset, length, emotion) of each picture in a tar, in its order; nothing is unpacked.

    Raises UserError: not an uncompressed tar, cut off, or a label that is none.
    """
    where = f"{files.place}/{shard.name}"
    key: str | None = None
    place: tuple[int, int] | None = None
    emotion: list[float] | int = -1
    try:
        # tarfile takes the middle of a file for its end.
        if any(files.read([(shard.name, max(0, shard.size - _TAR_END), min(shard.size, _TAR_END))])[0]):
            raise UserError(
                f"{where}: cannot be read as an uncompressed tar: it does not end like one; copy it anew or unpack it"
            )
        with files.open(shard.name) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (member := tar.next()) is not None:
                # tarfile remembers every member, which for a tar of any length is too much.
                tar.members = []  # type: ignore[attr-defined]
                if not member.isreg():
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, _, ending = base.partition(".")
                if f"{folder}/{stem}" != key:
                    if place is not None:
                        yield (*place, emotion)
                    key, place, emotion = f"{folder}/{stem}", None, -1
                if ending.lower() in IMAGE_ENDINGS:
                    if not 0 < member.size <= min(_MAX_PICTURE_BYTES, shard.size - member.offset_data):
                        raise UserError(f"{where}: {printable(member.name)}: a picture of {member.size} bytes cannot be")
                    place = (member.offset_data, member.size)
                elif ending.lower() in LABEL_ENDINGS and 0 < member.size <= _MAX_LABEL_BYTES:
                    content = tar.extractfile(member)
                    emotion = _emotion(
                        content.read() if content is not None else b"", ending.lower(), f"{where}: {printable(member.name)}"
                    )
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        # The last four: numbers, names and chains of headers that no tar has.
        raise UserError(f"{where}: cannot be read as an uncompressed tar ({one_line(error)})") from None
    if place is not None:
        yield (*place, emotion)


def _emotion(data: bytes, ending: str, where: str) -> list[float] | int:
    """The emotion in a label file: a number or name in ``.cls``; ``emotion`` or ``label`` of a ``.json``, if there."""
    try:
        if ending == "cls":
            return parse_label(data.decode())
        content = parse_json(data, where)
        value = content.get("emotion", content.get("label")) if isinstance(content, dict) else None
        if value is None:
            return -1
        return _distribution(value) if isinstance(value, list) else parse_label(str(value))
    except (UserError, ValueError) as error:
        raise UserError(f"{where}: holds no emotion ({one_line(error)})") from None


def _distribution(values: list[Any]) -> list[float]:
    # Compared before they are converted: a number of 500 digits is no float.
    shares = all(type(value) in (int, float) and 0 <= value <= 1 for value in values)
    if len(values) != NUM_EMOTIONS or not shares or not abs(sum(values) - 1.0) < 1e-3:
        raise ValueError(f"not {NUM_EMOTIONS} shares that sum to 1: {str(values[:NUM_EMOTIONS])[:100]}")
    return [float(value) for value in values]
