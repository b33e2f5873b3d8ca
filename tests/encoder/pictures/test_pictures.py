"""Pictures of every kind, good and bad: to upright RGB within bounded memory, or from bytes to a square grey face."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from encoder.pictures import essentials, face_images, pictures
from encoder.pictures.face_images import BadImage, decode_face, png_bytes
from encoder.pictures.pictures import read_picture

Read = Callable[[bytes], np.ndarray]


@pytest.fixture(params=["a picture", "a face"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Both ways to pixels: of a file as it is, and of bytes as a grey square of 48 pixels."""
    if request.param == "a face":
        return partial(decode_face, size=48)

    def pixels(data: bytes) -> np.ndarray:
        (tmp_path / "picture").write_bytes(data)
        return read_picture(tmp_path / "picture").pixels

    return pixels


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def save(folder: Path, image: Image.Image, format: str = "PNG", **options: object) -> Path:
    (folder / "picture").write_bytes(encoded(image, format, **options))
    return folder / "picture"


# ---- what both read


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_is_read(read: Read, format: str, mode: str) -> None:
    pixels = read(encoded(Image.new("L", (60, 60), 100).convert(mode), format))
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 100).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(read: Read, mode: str) -> None:
    options = {"transparency": 0} if mode == "P" else {}
    clear = Image.new("P", (48, 48), 0) if mode == "P" else Image.new("RGBA", (48, 48), (0, 0, 0, 0)).convert(mode)
    assert (read(encoded(clear, **options)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "P"])
def test_palettes_and_bits_are_read(read: Read, mode: str) -> None:
    assert read(encoded(Image.new("RGB", (48, 48), "white").convert(mode))).min() >= 250


def test_sixteen_bit_grey_is_scaled_not_clipped(read: Read) -> None:
    assert (read(encoded(Image.fromarray(np.full((48, 48), 0x8000, np.uint16)))) == 128).all()


# Not of a grey PNG: that is a face of a data set, taken as it is.
@pytest.mark.parametrize(("format", "mode"), [("JPEG", "L"), ("JPEG", "RGB"), ("PNG", "RGB"), ("WEBP", "RGB")])
def test_the_orientation_tag_of_a_photo_is_applied(read: Read, format: str, mode: str) -> None:
    sideways = np.zeros((48, 48), np.uint8)
    sideways[:, :24] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: left becomes top
    pixels = read(encoded(Image.fromarray(sideways).convert(mode), format, exif=exif))
    assert pixels[:20].min() > 200
    assert pixels[28:].max() < 50


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (12_000, 12_000), (9_000, 6_000)])
def test_a_bomb_is_refused_before_it_is_unpacked(
    read: Read, width: int, height: int, png_announcing: Callable[[int, int], bytes]
) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(BadImage, match=r"gigantic|megapixels"):
        read(png_announcing(width, height))
    # Pillow's own limit stays on.
    assert before == Image.MAX_IMAGE_PIXELS is not None


def test_too_many_bytes_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pictures, face_images):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(BadImage, match="MiB"):
        read(encoded(Image.new("L", (9, 9))))


def test_a_cut_jpeg_is_refused(read: Read) -> None:
    whole = encoded(Image.effect_noise((48, 48), 60), "JPEG")
    with pytest.raises(BadImage, match="cannot be decoded"):
        read(whole[: len(whole) // 2])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_a_bad_image_and_nothing_else(
    format: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(encoded(Image.linear_gradient("L").resize((40, 40)).convert("RGB"), format))
    cut = data.draw(st.integers(0, len(whole)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged-{format}"
    path.write_bytes(bytes(whole[:cut]))
    # Some damage leaves a picture that can still be read; any other exception than BadImage fails the test.
    with contextlib.suppress(BadImage):
        assert read_picture(path).pixels.shape[2] == 3
    with contextlib.suppress(BadImage):
        assert decode_face(bytes(whole[:cut]), 48).shape == (48, 48)


# ---- faces


@given(arrays(np.uint8, (16, 16)))
def test_a_png_of_the_right_size_comes_back_bit_for_bit(face: np.ndarray) -> None:
    assert np.array_equal(decode_face(png_bytes(face), 16), face)


def test_a_wide_picture_keeps_its_central_square() -> None:
    picture = np.zeros((20, 60), np.uint8)
    picture[:, 20:40] = 200
    assert (decode_face(png_bytes(picture), 20) == 200).all()


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = (np.indices((96, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode_face(png_bytes(board), 48)[4:-4, 4:-4].astype(int) - 127).max() < 10


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PPM"])
def test_faces_in_other_formats_are_refused(format: str) -> None:
    with pytest.raises(BadImage, match="not an image in one of the formats"):
        decode_face(encoded(Image.new("L", (48, 48)), format), 48)


# ---- pictures


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_becomes_rgb_whatever_the_name_says(format: str, tmp_path: Path) -> None:
    path = save(tmp_path, Image.new("RGB", (60, 40), (200, 100, 50)), format).rename(tmp_path / "photo.jpg")
    picture = read_picture(path)
    assert picture.pixels.shape == (40, 60, 3)
    assert (picture.width, picture.height, picture.scale) == (60, 40, 1.0)
    assert np.abs(picture.pixels.astype(int) - [200, 100, 50]).max() <= 6


@pytest.mark.parametrize(("mode", "compression"), [("CMYK", "raw"), ("YCbCr", "jpeg")])
def test_colours_of_print_and_video_become_rgb(mode: str, compression: str, tmp_path: Path) -> None:
    path = save(tmp_path, Image.new("RGB", (20, 20), "white").convert(mode), "TIFF", compression=compression)
    assert read_picture(path).pixels.min() >= 250


def test_grey_levels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="floating-point"):
        read_picture(save(tmp_path, Image.new("F", (9, 9)), "TIFF"))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_large_picture_is_turned_and_reduced_and_knows_its_size(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_KEPT_PIXELS", 20_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    picture = read_picture(save(tmp_path, gradient, format, exif=exif))
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= 20_000
    assert (picture.width, picture.height) == (300, 400)
    assert picture.pixels.shape[1] * picture.scale == pytest.approx(300)
    assert picture.pixels.shape[0] * picture.scale == pytest.approx(400, rel=0.02)
    assert picture.pixels[:, 0].mean() > picture.pixels[:, -1].mean() + 100


def test_a_jpeg_of_20_000_pixels_a_side_is_read_reduced(tmp_path: Path) -> None:
    path = save(tmp_path, Image.new("L", (20_000, 20_000), 90), "JPEG", quality=30)
    tracemalloc.start()
    try:
        picture = read_picture(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (picture.width, picture.height) == (20_000, 20_000)
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= pictures.MAX_KEPT_PIXELS
    assert peak < 400 * 2**20


def test_a_progressive_jpeg_that_must_be_held_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_KEPT_PIXELS", 5_000)
    monkeypatch.setattr(essentials, "MAX_HELD_PIXELS", 10_000)
    monkeypatch.setattr(pictures, "MAX_HELD_PIXELS", 10_000)
    image = Image.new("L", (200, 200))
    assert read_picture(save(tmp_path, image, "JPEG")).width == 200
    with pytest.raises(BadImage, match="200x200 pixels, more than"):
        read_picture(save(tmp_path, image, "JPEG", progressive=True))


def test_what_is_no_picture_is_said_in_a_few_words(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("not a picture at all")
    (tmp_path / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, words in {
        "absent.jpg": "^no such file$",
        "a\0b.jpg": "^no such file$",
        "empty.jpg": "^the file is empty$",
        "pipe.jpg": "^not a regular file$",
        "text.png": "not an image in one of the formats",
        "header.png": "damaged",
    }.items():
        with pytest.raises(BadImage, match=words):
            read_picture(f"{tmp_path}/{name}")
