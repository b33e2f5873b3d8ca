"""Tags as TIFF writes them, which is also how EXIF says which side of a photograph is up."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

ORIENTATION = 0x0112
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# Bytes of one value by its type: TIFF 6.0, section 2.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I"}
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
# A camera's EXIF is below 64 KiB; this is for what is written as text.
_MOST_TEXT = 1 << 20


@dataclass(frozen=True)
class Tag:
    """One tag of a directory.

    Attributes:
        entry: its 12 bytes as they stand in the file.
        count: of values.
        values: where they are whole numbers without sign and stand in the file; empty else.
    """

    number: int
    entry: bytes
    count: int
    values: tuple[int, ...]


def byte_order(data: bytes) -> str:
    """``<`` or ``>``, for :mod:`struct`. Raises ValueError: ``data`` is no TIFF."""
    if data[:4] not in _ORDERS:
        raise ValueError("not a list of tags")
    return _ORDERS[data[:4]]


def read_tags(data: bytes, most: int) -> Iterator[Tag]:
    """The tags of the first directory of a TIFF file or an EXIF block, of each number the first.

    Args:
        most: values of one tag that are read; a tag with more has none.

    Raises:
        ValueError: no TIFF, or the directory is not whole.
    """
    order = byte_order(data)
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
    except struct.error:
        raise ValueError("its list of tags is not in the file") from None
    seen: set[int] = set()
    for place in range(start + 2, start + 2 + 12 * count, 12):
        entry = data[place : place + 12]
        if len(entry) < 12:
            raise ValueError("its list of tags is cut off")
        number, kind, length = struct.unpack_from(order + "HHI", entry)
        if number not in seen:
            seen.add(number)
            yield Tag(number, entry, length, _values(data, order, entry, kind, length, most))


def _values(data: bytes, order: str, entry: bytes, kind: int, count: int, most: int) -> tuple[int, ...]:
    if kind not in _NUMBERS or count > most:
        return ()
    layout = f"{order}{count}{_NUMBERS[kind]}"
    if count * _SIZES[kind] <= 4:
        return struct.unpack_from(layout, entry, 8)
    (place,) = struct.unpack_from(order + "I", entry, 8)
    return struct.unpack_from(layout, data, place) if place + count * _SIZES[kind] <= len(data) else ()


def exif_orientation(exif: bytes) -> int:
    """1 to 8 as EXIF counts them; 0 where the block does not say, or is damaged."""
    try:
        for tag in read_tags(exif.removeprefix(b"Exif\0\0"), most=1):
            if tag.number == ORIENTATION and tag.values and 1 <= tag.values[0] <= 8:
                return tag.values[0]
    except ValueError:
        pass  # a picture whose camera wrote nonsense about it can still be seen
    return 0


def xmp_orientation(xmp: bytes) -> int:
    """As :func:`exif_orientation`, from an XMP packet."""
    found = _XMP.search(xmp[:_MOST_TEXT])
    return int(found[1]) if found else 0


def text_exif(text: bytes, compressed: bool) -> bytes:
    """The EXIF block that ImageMagick writes into a PNG as text (``exif``, its length, hexadecimal digits)."""
    try:
        if compressed:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        return bytes.fromhex(b"".join(text[:_MOST_TEXT].split()[2:]).decode("ascii"))
    except (ValueError, zlib.error):
        return b""
