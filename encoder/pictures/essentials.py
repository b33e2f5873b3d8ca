"""What a picture file needs for its pixels, without all else it carries, so that reading it takes bounded time and memory.

Decoders read comments, profiles, thumbnails and later frames with the picture, one object for each part, and some of them in
time that grows with the square of the number. Nothing of that is of use here but which side is up. So a file is first walked
by its own rules: parts that paint no pixel are left out, the others are counted, and what would be decoded at length into
nothing (a JPEG of a thousand scans, a TIFF whose strips all stand at one place) is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from encoder.pictures.tags import ORIENTATION, byte_order, exif_orientation, read_tags, text_exif, xmp_orientation

# Parts of a file: chunks, segments, blocks, strips. A PNG of 40 megapixels has some 10,000.
MAX_PARTS = 50_000
# A decoder that needs a picture whole, and then some, holds this many pixels.
MAX_HELD_PIXELS = 40 * 10**6
# A WebP is copied several times while it is decoded.
MAX_WEBP_PIXELS, _MAX_WEBP_BYTES = 16 * 10**6, 32 * 2**20
# Each scan of a progressive JPEG goes over the whole picture; encoders make 10, with previews behind it 40.
MAX_SCANS = 64
MAX_SCANNED_PIXELS = 800 * 10**6
# A chunk of text in a PNG that is looked into for the orientation.
_MOST_METADATA = 2**20
# Pillow decodes run-length coded BMP in Python.
_MAX_RUNS_PIXELS, _MAX_RUNS_BYTES = 10**6, 2**20

_PNG = b"\x89PNG\r\n\x1a\n"
# Nothing but these says what the pixels are; of the metadata only the orientation matters.
_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_WEBP_CHUNKS = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
# Size, bits, compression, colours, strips and tiles, palette, prediction, extra samples, JPEG tables, YCbCr (TIFF 6.0).
_TIFF_TAGS = frozenset(
    (
        *range(254, 260),
        262,
        266,
        273,
        *range(277, 280),
        284,
        292,
        293,
        317,
        320,
        *range(322, 326),
        332,
        338,
        339,
        347,
        *range(529, 533),
    )
)
# Width, height, compression, strips, tiles: what the time and memory depend on.
_TIFF_NUMBERS = (256, 257, 259, 273, 278, 279, 322, 323, 324, 325)
# None, CCITT, LZW, JPEG, deflate, PackBits.
_TIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)


@dataclass(frozen=True)
class Essentials:
    """A picture file to decode.

    Attributes:
        data: the file without what paints no pixel; of several frames the first.
        orientation: of the picture in it, 1 (upright) to 8 as EXIF counts them.
    """

    data: bytes
    orientation: int = 1


def essentials(data: bytes) -> Essentials:
    """The part of a PNG, JPEG, WebP, GIF, BMP or TIFF file that is its picture; other files as they are.

    What is damaged is left for the decoder to find. Raises ValueError: decoding it would take too long or too much memory.
    """
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff(data)
    if data.startswith(b"BM"):
        _check_bmp(data)
    return Essentials(data)


def _require_few(parts: int, what: str) -> None:
    if parts > MAX_PARTS:
        raise ValueError(f"it has more than {MAX_PARTS} {what}")


def _png(data: bytes) -> Essentials:
    kept: list[bytes] = []
    place, parts, from_exif, from_xmp = len(_PNG), 0, 0, 0
    since = 0  # where what is kept and not yet copied begins
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        parts += 1
        _require_few(parts, "chunks")
        if name not in _PNG_CHUNKS and end <= len(data):
            kept.append(data[since:place])
            since = end
            body = data[place + 8 : end - 4] if length < _MOST_METADATA else b""
            if name == b"eXIf":
                from_exif = from_exif or exif_orientation(body)
            elif body.startswith(b"XML:com.adobe.xmp\0"):
                from_xmp = from_xmp or xmp_orientation(body)
            elif body.startswith(b"Raw profile type exif\0"):
                text = body[22:] if name == b"tEXt" else body[23:]
                from_exif = from_exif or exif_orientation(text_exif(text, compressed=name == b"zTXt"))
        place = end
        if name == b"IEND":
            break
    orientation = from_exif or from_xmp or 1
    return Essentials(b"".join((*kept, data[since:])) if kept else data, orientation)


def _jpeg(data: bytes) -> Essentials:
    kept: list[bytes] = [data[:2]]
    place, parts, components, whole, from_exif, from_xmp = 2, 0, 0, False, 0, 0
    width = height = 0
    described: set[int] = set()
    while True:
        # Between segments anything but 0xFF is passed over, and of several 0xFF the last counts.
        place = data.find(b"\xff", place)
        if place < 0 or place + 4 > len(data):
            return Essentials(b"".join(kept))  # the decoder says that it ends before its pixels
        marker = data[place + 1]
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD9:
            place += 1 if marker == 0xFF else 2
            parts += 1
            _require_few(parts, "segments")
            continue
        if marker == 0xDA:
            break
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = data[place : place + 2 + length]
        parts += 1
        _require_few(parts, "segments")
        if marker in (0xE0, 0xEE):
            # JFIF and Adobe say which colours these are; once is enough.
            if marker not in described:
                described.add(marker)
                kept.append(segment)
        elif marker == 0xE1:
            if segment[4:10] == b"Exif\0\0":
                from_exif = from_exif or exif_orientation(segment[4:])
            elif segment[4:].startswith(_XMP):
                from_xmp = from_xmp or xmp_orientation(segment)
        elif not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            if 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                raise ValueError("it is a lossless or arithmetic JPEG; save it as a usual one")
            if 0xC0 <= marker <= 0xC2 and len(segment) >= 10:
                height, width, components = struct.unpack_from(">HHB", segment, 5)
                whole = marker == 0xC2
            kept.append(segment)
            if len(kept) > MAX_SCANS * 8:
                raise ValueError(f"it has more than {MAX_SCANS * 8} tables")
        place += 2 + length
    if components and place + 4 < len(data):
        # Colours that come one after the other are held until the last is there.
        whole = whole or data[place + 4] < components
        if whole and width * height > MAX_HELD_PIXELS:
            limit = f"{MAX_HELD_PIXELS // 10**6} megapixels of a progressive one"
            raise ValueError(f"{width}x{height} pixels, more than the {limit}; save it as a baseline JPEG")
    # 0xFF in the pixels is followed by 0, so that these are scans, of this picture or of a preview behind it.
    scans = data.count(b"\xff\xda", place)
    if scans > MAX_SCANS or (whole and scans * width * height > MAX_SCANNED_PIXELS):
        raise ValueError(f"it has {scans} scans, more than can be decoded in bounded time; save it as a baseline JPEG")
    return Essentials(b"".join((*kept, data[place:])), from_exif or from_xmp or 1)


def _webp(data: bytes) -> Essentials:
    kept: list[bytes] = []
    place, parts, from_exif, from_xmp, animated = 12, 0, 0, 0, False
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        parts += 1
        _require_few(parts, "chunks")
        chunk = data[place:end]
        if name == b"VP8X":
            # Announces neither profile, EXIF nor XMP: they are left out. Transparency and animation stay.
            chunk = chunk[:8] + bytes((chunk[8] & 0x12,)) + chunk[9:] if len(chunk) > 8 else chunk
            _check_webp(*(1 + int.from_bytes(chunk[at : at + 3], "little") for at in (12, 15)))
        elif name == b"VP8 " and len(chunk) >= 18:
            _check_webp(*(side & 0x3FFF for side in struct.unpack_from("<HH", chunk, 14)))
        elif name == b"VP8L" and len(chunk) >= 13:
            bits = int.from_bytes(chunk[9:13], "little")
            _check_webp(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif name == b"EXIF":
            from_exif = from_exif or exif_orientation(chunk[8:])
        elif name == b"XMP ":
            from_xmp = from_xmp or xmp_orientation(chunk[8:])
        if name in _WEBP_CHUNKS and not (name == b"ANMF" and animated):
            animated = animated or name == b"ANMF"
            kept.append(chunk)
        place = end
    body = b"".join((b"WEBP", *kept))
    if len(body) > _MAX_WEBP_BYTES:
        raise ValueError(f"it is a WebP of more than {_MAX_WEBP_BYTES // 2**20} MiB; save it smaller")
    return Essentials(b"RIFF" + struct.pack("<I", len(body)) + body, from_exif or from_xmp or 1)


def _check_webp(width: int, height: int) -> None:
    if width * height > MAX_WEBP_PIXELS:
        raise ValueError(
            f"{width}x{height} pixels, more than the {MAX_WEBP_PIXELS // 10**6} megapixels of a WebP; make it smaller"
        )


def _gif(data: bytes) -> Essentials:
    if len(data) < 13:
        return Essentials(data)
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    head, control, parts = data[:place], b"", 0
    while data[place : place + 1] == b"!":
        start, place = place, place + 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
            parts += 1
            _require_few(parts, "blocks before its picture")
        place += 1
        parts += 1
        _require_few(parts, "blocks before its picture")
        if data[start + 1 : start + 2] == b"\xf9":
            control = data[start:place]  # which colour is transparent
    # What stands behind the first picture is never read.
    return Essentials(b"".join((head, control, data[place:])) if place > len(head) else data)


def _check_bmp(data: bytes) -> None:
    if len(data) >= 34 and struct.unpack_from("<I", data, 14)[0] >= 40:
        width, height, _, compression = struct.unpack_from("<iiII", data, 18)
        if compression in (1, 2) and (abs(width * height) > _MAX_RUNS_PIXELS or len(data) > _MAX_RUNS_BYTES):
            raise ValueError("it is a large run-length coded BMP; save it in another format")


def _tiff(data: bytes) -> Essentials:
    tags = {tag.number: tag for tag in read_tags(data, MAX_PARTS)}
    values = {number: tag.values for number, tag in tags.items()}
    kept = [tag for number, tag in sorted(tags.items()) if number in _TIFF_TAGS]
    for tag in kept:
        _require_few(tag.count, f"values in tag {tag.number}")
        # Of another type libtiff would still take them.
        if tag.number in _TIFF_NUMBERS and not tag.values:
            raise ValueError(f"its tag {tag.number} holds no whole numbers")

    def first(number: int, otherwise: int) -> int:
        return next(iter(values.get(number, ())), otherwise)

    compression = first(259, 1)
    if compression not in _TIFF_COMPRESSIONS:
        raise ValueError(f"it is a TIFF of compression {compression}, which is not read; save it with LZW or deflate")
    width, height = first(256, 0), first(257, 0)
    across, down = max(1, first(322, 1)), max(1, first(323, 1))
    # Tiles are decoded whole, however little of them lies in the picture.
    if -(-width // across) * across * -(-height // down) * down > MAX_HELD_PIXELS:
        limit = f"{MAX_HELD_PIXELS // 10**6} megapixels that can be decoded in bounded memory"
        raise ValueError(f"{width}x{height} pixels in tiles of {across}x{down}, more than the {limit}; make it smaller")
    pieces = max((len(values.get(number, ())) for number in (273, 324)), default=0)
    if sum(values.get(279, ())) > len(data) or sum(values.get(325, ())) > len(data):
        raise ValueError("its strips are larger than the file")
    if compression == 7 and data.count(b"\xff\xda") > MAX_SCANS + 4 * pieces:
        raise ValueError(f"it has more than {MAX_SCANS} scans")
    order = byte_order(data)
    directory = struct.pack(order + "H", len(kept)) + b"".join(tag.entry for tag in kept) + bytes(4)
    padding = bytes(len(data) % 2)
    header = data[:4] + struct.pack(order + "I", len(data) + len(padding))
    orientation = first(ORIENTATION, 1)
    upright = orientation if 1 <= orientation <= 8 else 1
    return Essentials(b"".join((header, data[8:], padding, directory)), upright)
