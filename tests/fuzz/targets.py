"""What is attacked, and with what: files built as they should be and then broken where it hurts.

A target is a strategy of cases, each a tuple of bytes, and a check that lets nothing but a refusal in one line through.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from configs.cli import UserError
from configs.loader import load_config
from encoder.analysis.analyzer import Reading
from encoder.analysis.annotate import Annotator
from encoder.analysis.columns import Columns
from encoder.analysis.listing import Listing
from encoder.analysis.rows import FaceRow
from encoder.analysis.shard_views import view_parquet, view_tar
from encoder.analysis.tables import create_table
from encoder.config import EncoderConfig
from encoder.data.sharded_faces import open_shards
from encoder.people.gender import GenderClassifier
from encoder.pictures.face_images import BadImage, decode_face
from encoder.pictures.pictures import Picture, decode_picture
from encoder.pictures.sources import View

Case = tuple[bytes, ...]
WEIGHTS = Path(__file__).resolve().parents[2] / "pretrained" / "gender"
_LONGEST_LINE = 5000


@dataclass(frozen=True)
class Target:
    """One campaign: ``check`` is given a case and an empty folder, and raises where the product breaks."""

    cases: st.SearchStrategy[Case]
    check: Callable[[Case, Path], None]


def refused_in_one_line(act: Callable[[], Any]) -> None:
    """Do it, or be refused; whatever else is raised is a finding."""
    try:
        act()
    except (UserError, BadImage) as error:
        words = str(error)
        if not words or len(words) > _LONGEST_LINE:
            raise AssertionError(f"no line of a readable length: {words[:200]!r}") from error


# ---- bytes


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with a few bytes changed, a part repeated, put in or cut out, or its end cut off."""
    whole = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(whole) - 1)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(("set", "repeat", "insert", "cut", "end", "large"))):
            case "set":
                whole[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "repeat":
                whole[place:place] = whole[place : place + length] * draw(st.sampled_from((1, 100, 70_000)))
            case "insert":
                whole[place:place] = draw(st.binary(max_size=length))
            case "cut":
                del whole[place : place + length]
            case "end":
                del whole[place:]
            case _:
                whole[place : place + 4] = draw(st.sampled_from((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")))
    return bytes(whole)


# ---- pictures


@st.composite
def picture_files(draw: st.DrawFn) -> Case:
    """A picture of any format and form, broken or not."""
    format = draw(st.sampled_from(("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")))
    mode = draw(st.sampled_from(("L", "RGB", "P", "RGBA", "CMYK", "1", "LA", "I;16")))
    size = draw(st.sampled_from(((1, 1), (40, 24), (1, 300), (65, 65))))
    image = Image.linear_gradient("L").resize(size)
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert("RGB").convert(mode)
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(0, 10))
        options["exif"] = exif
    if format == "JPEG":
        options["progressive"] = draw(st.booleans())
    if format == "TIFF":
        # Pillow itself may crash when it writes another mode with JPEG inside.
        jpeg = ("jpeg",) if mode in ("L", "RGB", "CMYK") else ()
        options["compression"] = draw(st.sampled_from(("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", *jpeg)))
    if format in ("PNG", "GIF", "WEBP", "TIFF") and draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)] * 2}
    out = io.BytesIO()
    try:
        image.save(out, format, **options)
    except (OSError, ValueError, KeyError, RuntimeError):  # a mode or an orientation that the format does not have
        out = io.BytesIO()
        image.convert("RGB").save(out, "PNG")
    return (draw(broken(out.getvalue())),)


def check_picture(case: Case, _folder: Path) -> None:
    """Both ways to pixels."""
    refused_in_one_line(lambda: decode_picture(case[0]))
    refused_in_one_line(lambda: decode_face(case[0], 48))


# ---- weights

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from((2**31, 10**30, "x" * 9999)),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, each in inner for place in _places(each, (*above, key)))]


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """JSON with a value replaced or taken out."""
    value = json.loads(json.dumps(value))
    place = draw(st.sampled_from(_places(value)[1:]))
    target = value
    for key in place[:-1]:
        target = target[key]
    if draw(st.integers(0, 3)):
        target[place[-1]] = draw(_VALUES)
    else:
        del target[place[-1]]
    return value


@st.composite
def weights_folders(draw: st.DrawFn) -> Case:
    """A description and weights of which one or both are changed; the hashes are mended so that the change is looked at."""
    config = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    data = (WEIGHTS / "model.safetensors").read_bytes()
    if draw(st.booleans()):
        (length,) = struct.unpack("<Q", data[:8])
        header = json.dumps(draw(changed(json.loads(data[8 : 8 + length])))).encode()
        data = struct.pack("<Q", len(header)) + header + data[8 + length :]
    elif draw(st.booleans()):
        data = draw(broken(data))
    if draw(st.booleans()):
        config = {**config, "model": draw(changed({"model": config["model"]})).get("model")}
    elif draw(st.booleans()):
        config = draw(changed({key: value for key, value in config.items() if key not in ("training", "metrics", "data")}))
    if isinstance(config, dict) and draw(st.integers(0, 4)):
        config.pop("config_sha256", None)
        config["sha256"] = hashlib.sha256(data).hexdigest()
    text = json.dumps(config).encode()
    return (draw(broken(text)) if draw(st.integers(0, 4)) == 0 else text, data)


def check_weights(case: Case, folder: Path) -> None:
    """Loaded, and then able to answer; or refused."""
    (folder / "config.json").write_bytes(case[0])
    (folder / "model.safetensors").write_bytes(case[1])

    def load_and_read() -> None:
        read = GenderClassifier.from_pretrained(folder).predict(np.zeros((1, 48, 48), np.uint8))
        if read.shape != (1, 2):
            raise AssertionError(f"an answer of shape {read.shape}")

    refused_in_one_line(load_and_read)


# ---- shards


@st.composite
def tars(draw: st.DrawFn) -> Case:
    out, picture = io.BytesIO(), io.BytesIO()
    Image.new("L", (16, 16)).save(picture, "PNG")
    with tarfile.open(fileobj=out, mode="w", format=draw(st.sampled_from((tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT)))) as tar:
        for number in range(draw(st.integers(0, 3))):
            label = json.dumps({"emotion": draw(_VALUES)}) if draw(st.booleans()) else draw(st.text(max_size=9))
            ending = draw(st.sampled_from(("json", "cls", "txt")))
            for name, data in ((f"{number}.png", picture.getvalue()), (f"{number}.{ending}", label.encode(errors="replace"))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return b"tar", draw(broken(out.getvalue()))


@st.composite
def parquets(draw: st.DrawFn) -> Case:
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = io.BytesIO()
    Image.new("L", (16, 16)).save(picture, "PNG")
    columns: dict[str, Any] = {"image": [{"bytes": picture.getvalue(), "path": "1.png"}] * 2}
    whole, few = st.integers(-(2**63), 2**63 - 1), st.lists(st.none() | st.integers(-(2**40), 2**40), max_size=12)
    kinds = (whole, st.text(max_size=5), few, st.floats(), st.booleans(), st.binary(max_size=9), st.just([1] * 10))
    for name in ("fer2013_label", "votes", "image"):
        if draw(st.integers(0, 2)) == 0:
            kind = st.none() | draw(st.sampled_from(kinds))
            columns[name] = [draw(kind), draw(kind)]
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out)
    except (pa.ArrowException, OverflowError, ValueError):
        pq.write_table(pa.table({"image": columns["image"][:0]}), out)
    return b"parquet", draw(broken(out.getvalue()))


def check_shard(case: Case, folder: Path) -> None:
    """Every face and label of it."""
    (folder / "data").mkdir()
    (folder / "data" / f"train-0.{case[0].decode()}").write_bytes(case[1])

    def read() -> None:
        faces = open_shards(str(folder / "data"), "train", size=16, cache=folder / "cache")
        index = np.arange(min(len(faces), 4))
        faces.emotions(index)
        faces.read(index)

    refused_in_one_line(read)
    name = str(folder / "data" / f"train-0.{case[0].decode()}")
    keep = {"emotion": "emotion"} if case[0] == b"tar" else {}
    for shown in (view_tar if case[0] == b"tar" else view_parquet)(name, Columns(keep=keep)):
        assert (shown.picture is None) != (shown.problem is None)


# ---- settings


@st.composite
def settings_given(draw: st.DrawFn) -> Case:
    """A YAML file and overrides: known and unknown keys, any values, any text."""
    keys = st.sampled_from(("model", "train", "data", "widths", "epochs", "a.b", "name")) | st.text(max_size=9)
    tree = st.dictionaries(keys, _VALUES, max_size=5).map(lambda value: json.dumps(value))
    text = draw(
        tree | st.text(max_size=60) | st.sampled_from(("[" * 5000, "a: " * 500, "&a [*a]", "!!python/name:os.system", "? a"))
    )
    key = st.lists(keys, min_size=1, max_size=5).map(".".join) | st.just(".".join("a" * 2000))
    override = st.tuples(key, st.text(max_size=20) | _VALUES.map(lambda value: json.dumps(value))).map("=".join)
    return (text.encode(errors="replace"), *(each.encode(errors="replace") for each in draw(st.lists(override, max_size=3))))


def check_settings(case: Case, folder: Path) -> None:
    """The settings of a training."""
    (folder / "x.yaml").write_bytes(case[0])
    refused_in_one_line(lambda: load_config(EncoderConfig, folder / "x.yaml", [part.decode() for part in case[1:]]))


# ---- file names

file_names = st.tuples(
    st.binary(min_size=1, max_size=251).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b".."))
    | st.sampled_from((b"=1+1", b"\x1b[2J", b"a\nb", b"\xff", b"x" * 251, b"-", b"CON", b"..x", "é".encode() * 125))
)


def check_name(case: Case, folder: Path) -> None:
    """A picture of that name through every table, the listing and the annotation."""
    name = os.fsdecode(case[0])
    row = FaceRow(name, face=0, box=(1, 2, 3, 4), score=1.0, distribution=(1.0,) + (0.0,) * 6)
    for ending in (".csv", ".json", ".jsonl", ".parquet"):
        table = create_table(folder / f"table{ending}", kept={"id": "string"})
        table.write(row, {"id": name})
        table.close()
    lines = (folder / "table.csv").read_bytes()
    assert (
        not [line for line in lines.split(b"\n") if line.startswith((b"=", b"+", b"@", b'"=', b'"+', b'"@'))] or b"\n" in case[0]
    )
    line = Listing([name], quiet=False, gender=False, gallery=False)._line(row)
    assert line.count("\n") == 1, line  # the head
    annotator = Annotator(folder / "shown")
    view = View(name, picture=Picture(np.zeros((30, 30, 3), np.uint8), 30, 30))
    refused_in_one_line(lambda: annotator.add(Reading(view, (row,))))
    annotator.close()
    assert not [entry for entry in folder.rglob("*.tmp*") if entry.suffix == ".tmp"]


TARGETS = {
    "pictures": Target(picture_files(), check_picture),
    "weights": Target(weights_folders(), check_weights),
    "tars": Target(tars(), check_shard),
    "parquet": Target(parquets(), check_shard),
    "settings": Target(settings_given(), check_settings),
    "names": Target(file_names, check_name),
}
