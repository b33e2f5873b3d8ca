"""Files made to be slow or large to read: decoders see their pixels only, and what they would decode at length is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from encoder.pictures import essentials as bounds
from encoder.pictures.essentials import essentials
from encoder.pictures.face_images import BadImage, decode_face
from encoder.pictures.pictures import decode_picture

SMALL = Image.linear_gradient("L").resize((40, 24)).convert("RGB")


def encoded(format: str, image: Image.Image = SMALL, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg_segments(count: int, marker: int = 0xE1, body: bytes = b"Exif\0\0x") -> bytes:
    """A JPEG with ``count`` more segments before its pixels."""
    plain = encoded("JPEG")
    return plain[:2] + (bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body) * count + plain[2:]


def png_chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_chunks(count: int, name: bytes = b"tEXt", body: bytes = b"a\0b") -> bytes:
    """A PNG with ``count`` more chunks before its pixels."""
    plain = encoded("PNG")
    return plain[:33] + png_chunk(name, body) * count + plain[33:]


def gif_comments(count: int) -> bytes:
    """A GIF with ``count`` one-byte comments before its picture."""
    plain = encoded("GIF", SMALL.convert("P"))
    start = 13 + (3 << (plain[10] & 7) + 1)
    return plain[:start] + b"!\xfe\x01a\0" * count + plain[start:]


def webp_chunks(count: int, body: bytes = b"") -> bytes:
    """A WebP with ``count`` chunks that nobody knows."""
    plain = encoded("WEBP")
    payload = plain[8:] + (b"ABCD" + struct.pack("<I", len(body)) + body) * count
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def tiff(tags: dict[int, tuple[int, int, int]], tail: bytes = b"") -> bytes:
    """A TIFF of these tags (type, count, value or place); ``tail`` begins at byte 8 + 2 + 12 a tag + 4."""
    listed = b"".join(struct.pack("<HHII", number, *entry) for number, entry in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + listed + bytes(4) + tail


def repeated_scans(count: int) -> bytes:
    """A progressive JPEG whose second scan comes ``count`` times."""
    plain = encoded("JPEG", SMALL, progressive=True)
    first = plain.index(b"\xff\xda")
    start = plain.index(b"\xff\xda", first + 2)
    end = next(at for at in range(start + 2, len(plain)) if plain[at] == 0xFF and plain[at + 1] not in (0, 0xFF))
    return plain[:end] + plain[start:end] * count + plain[end:]


def test_what_paints_no_pixel_is_left_out() -> None:
    for data, plain in (
        (jpeg_segments(2_000), encoded("JPEG")),
        (jpeg_segments(2_000, 0xFE, b""), encoded("JPEG")),
        (png_chunks(2_000), encoded("PNG")),
        (gif_comments(2_000), encoded("GIF", SMALL.convert("P"))),
        (webp_chunks(2_000), encoded("WEBP")),
    ):
        assert len(essentials(data).data) <= len(plain)
        assert np.array_equal(decode_picture(data).pixels, decode_picture(plain).pixels)


@pytest.mark.parametrize("made", [jpeg_segments, png_chunks, gif_comments, webp_chunks])
def test_more_parts_than_any_picture_has_are_refused(made: Callable[[int], bytes]) -> None:
    with pytest.raises(BadImage, match=f"more than {bounds.MAX_PARTS}"):
        decode_picture(made(bounds.MAX_PARTS + 1))


def test_a_face_of_a_data_set_has_the_same_bounds() -> None:
    with pytest.raises(BadImage, match="chunks"):
        decode_face(png_chunks(bounds.MAX_PARTS + 1), 48)


@pytest.mark.parametrize("data", [encoded("JPEG"), encoded("PNG")], ids=["JPEG", "PNG"])
def test_a_plain_file_reaches_the_decoder_as_it_is(data: bytes) -> None:
    assert essentials(data).data == data


def test_scans_of_a_progressive_jpeg_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_picture(repeated_scans(5)).width == 40
    with pytest.raises(BadImage, match="more than can be decoded in bounded time"):
        decode_picture(repeated_scans(bounds.MAX_SCANS))
    monkeypatch.setattr(bounds, "MAX_SCANNED_PIXELS", 14 * 40 * 24)
    with pytest.raises(BadImage, match="it has 15 scans"):
        decode_picture(repeated_scans(5))


def test_a_jpeg_whose_colours_come_one_by_one_is_held_whole_and_so_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bytearray(encoded("JPEG"))
    plain[plain.index(b"\xff\xda") + 4] = 1
    monkeypatch.setattr(bounds, "MAX_HELD_PIXELS", 500)
    assert decode_picture(encoded("JPEG", SMALL.resize((20, 20)))).width == 20
    with pytest.raises(BadImage, match="40x24 pixels, more than the 0 megapixels of a progressive one"):
        decode_picture(bytes(plain))


@pytest.mark.parametrize("marker", [0xC3, 0xC9, 0xCA])
def test_codings_of_jpeg_that_no_browser_shows_are_refused(marker: int) -> None:
    with pytest.raises(BadImage, match="lossless or arithmetic"):
        decode_picture(encoded("JPEG").replace(b"\xff\xc0", bytes((0xFF, marker))))


def test_a_webp_is_refused_by_its_canvas_before_that_is_made() -> None:
    for made in (encoded("WEBP", SMALL.convert("RGBA").resize((30, 9)), exif=b"Exif\0\0"), encoded("WEBP", lossless=True)):
        assert decode_picture(made).height in (9, 24)
    animated = bytearray(encoded("WEBP", SMALL, save_all=True, append_images=[SMALL.rotate(9)]))
    assert animated[12:16] == b"VP8X"
    animated[24:30] = b"\xff\x3f\0\xff\x3f\0"
    with pytest.raises(BadImage, match="16384x16384 pixels, more than the 16 megapixels of a WebP"):
        decode_picture(bytes(animated))


def test_of_an_animation_the_first_frame_is_read() -> None:
    second = Image.new("RGB", SMALL.size, "red")
    for format in ("WEBP", "GIF", "PNG", "TIFF"):
        data = encoded(format, SMALL, save_all=True, append_images=[second] * 3)
        shown = decode_picture(data).pixels.astype(int)
        assert np.abs(shown - np.asarray(SMALL)).max() < 30


def test_a_large_run_length_coded_bmp_is_refused() -> None:
    data = bytearray(encoded("BMP", Image.new("P", (1200, 1000))))
    data[30] = 1
    with pytest.raises(BadImage, match="run-length"):
        decode_picture(bytes(data))


IMAGE = {256: (3, 1, 16), 257: (3, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1), 278: (3, 1, 16)}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({273: (4, bounds.MAX_PARTS + 1, 0)}, "values in tag 273"),
        ({273: (4, 1, 0), 279: (4, 1, 2**31)}, "larger than the file"),
        ({324: (4, 1, 0), 322: (4, 1, 10**5), 323: (4, 1, 10**5)}, "in tiles of 100000x100000"),
        ({256: (9, 1, 16), 273: (4, 1, 0)}, "tag 256 holds no whole numbers"),
        ({259: (3, 1, 50000), 273: (4, 1, 0)}, "compression 50000"),
    ],
)
def test_a_tiff_that_is_small_and_long_to_decode_is_refused(more: dict[int, tuple[int, int, int]], words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decode_picture(tiff(IMAGE | more, bytes(600)))


def test_tags_of_a_tiff_that_are_no_picture_are_not_loaded() -> None:
    private = dict.fromkeys(range(40_000, 60_000), (1, 2**20, 0))
    pixels = 8 + 2 + 12 * (len(IMAGE) + len(private) + 2) + 4
    data = tiff(IMAGE | private | {273: (4, 1, pixels), 279: (4, 1, 256)}, bytes(range(256)))
    assert np.array_equal(decode_picture(data).pixels[..., 0].ravel(), np.arange(256))
    listed = essentials(data).data
    assert struct.unpack_from("<H", listed, struct.unpack_from("<I", listed, 4)[0]) == (len(IMAGE) + 2,)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_what_pillow_makes_of_it(format: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(format, SMALL, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    picture = decode_picture(data)
    assert np.array_equal(picture.pixels, expected)
    assert (picture.width, picture.height) == expected.shape[1::-1]


@pytest.mark.parametrize("keyword", [b"XML:com.adobe.xmp", b"Raw profile type exif"])
def test_an_orientation_in_the_text_of_a_png_is_applied(keyword: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    digits = exif.tobytes().hex().encode()
    xmp = b'\0\0\0\0<rdf:Description tiff:Orientation="6"/>'
    text = b"\nexif\n      %d\n%s\n" % (len(digits) // 2, digits)
    chunks = (
        [png_chunk(b"iTXt", keyword + b"\0" + xmp)]
        if keyword.startswith(b"XML")
        else [png_chunk(b"tEXt", keyword + b"\0" + text), png_chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text))]
    )
    plain = encoded("PNG")
    for chunk in chunks:
        assert decode_picture(plain[:33] + chunk + plain[33:]).pixels.shape == (40, 24, 3)
