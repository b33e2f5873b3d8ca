"""Bytes of one image file, good or bad, to a square grey face."""

import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from encoder.pictures.face_images import MAX_BYTES, BadImage, decode_face, png_bytes


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@given(arrays(np.uint8, (16, 16)))
def test_a_png_of_the_right_size_comes_back_bit_for_bit(face: np.ndarray) -> None:
    assert np.array_equal(decode_face(png_bytes(face), 16), face)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_allowed_format_is_read_as_grey(format: str, mode: str) -> None:
    face = decode_face(encoded(Image.new("L", (60, 60), 100).convert(mode), format), 48)
    assert face.shape == (48, 48)
    assert face.dtype == np.uint8
    assert np.abs(face.astype(int) - 100).max() <= 3


def test_a_wide_picture_keeps_its_central_square() -> None:
    picture = np.zeros((20, 60), np.uint8)
    picture[:, 20:40] = 200
    assert (decode_face(png_bytes(picture), 20) == 200).all()


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = (np.indices((96, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode_face(png_bytes(board), 48)[4:-4, 4:-4].astype(int) - 127).max() < 10


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = Image.fromarray(np.full((48, 48), 0x8000, np.uint16))
    assert (decode_face(encoded(deep, "PNG"), 48) == 128).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode: str) -> None:
    clear = Image.new("RGBA", (48, 48), (0, 0, 0, 0)).convert(mode)
    assert (decode_face(encoded(clear, "PNG"), 48) == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_orientation_tag_of_a_photo_is_applied(mode: str) -> None:
    sideways = np.zeros((48, 48), np.uint8)
    sideways[:, :24] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: left becomes top
    face = decode_face(encoded(Image.fromarray(sideways).convert(mode), "JPEG", exif=exif), 48)
    assert face[:20].min() > 200
    assert face[28:].max() < 50


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (12_000, 12_000), (6_000, 6_000)])
def test_a_bomb_is_refused_before_it_is_unpacked(width: int, height: int, png_announcing: Callable[[int, int], bytes]) -> None:
    with pytest.raises(BadImage, match=r"gigantic|megapixels"):
        decode_face(png_announcing(width, height), 48)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PPM"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(BadImage, match="not an image in one of the formats"):
        decode_face(encoded(Image.new("L", (48, 48)), format), 48)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(BadImage, match="MiB"):
        decode_face(b"\0" * (MAX_BYTES + 1), 48)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP"])
@given(data=st.data())
def test_a_damaged_file_is_a_bad_image_and_nothing_else(format: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(Image.linear_gradient("L").resize((48, 48)), format))
    cut = data.draw(st.integers(0, len(whole)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))
    # Some damage leaves an image that can still be read; any other exception than BadImage fails the test.
    with contextlib.suppress(BadImage):
        assert decode_face(bytes(whole[:cut]), 48).shape == (48, 48)


def test_a_cut_jpeg_is_refused() -> None:
    whole = encoded(Image.effect_noise((48, 48), 60), "JPEG")
    with pytest.raises(BadImage, match="cannot be decoded"):
        decode_face(whole[: len(whole) // 2], 48)
