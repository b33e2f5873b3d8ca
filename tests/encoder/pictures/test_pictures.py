"""Pictures of every kind, good and bad, to upright RGB within bounded memory."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoder.pictures import pictures
from encoder.pictures.face_images import BadImage
from encoder.pictures.pictures import read_picture


def save(folder: Path, image: Image.Image, ending: str, **options: object) -> Path:
    path = folder / f"picture{ending}"
    image.save(path, **options)
    return path


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif"])
def test_every_format_becomes_rgb(ending: str, tmp_path: Path) -> None:
    picture = read_picture(save(tmp_path, Image.new("RGB", (60, 40), (200, 100, 50)), ending))
    assert picture.pixels.shape == (40, 60, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height, picture.scale) == (60, 40, 1.0)
    assert np.abs(picture.pixels.astype(int) - [200, 100, 50]).max() <= 6


def test_the_name_does_not_decide_the_format(tmp_path: Path) -> None:
    save(tmp_path, Image.new("RGB", (9, 9)), ".png").rename(tmp_path / "photo.jpg")
    assert read_picture(tmp_path / "photo.jpg").pixels.shape == (9, 9, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    ending = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
    picture = read_picture(save(tmp_path, Image.new("RGB", (20, 20), "white").convert(mode), ending))
    assert picture.pixels.min() >= 250


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(mode: str, tmp_path: Path) -> None:
    options = {"transparency": 0} if mode == "P" else {}
    clear = Image.new("P", (20, 20), 0) if mode == "P" else Image.new("RGBA", (20, 20), (0, 0, 0, 0)).convert(mode)
    assert (read_picture(save(tmp_path, clear, ".png", **options)).pixels == 255).all()


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(ending: str, tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((20, 20), 0x8000, np.uint16))
    assert (read_picture(save(tmp_path, deep, ending)).pixels == 128).all()


def test_grey_levels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="floating-point"):
        read_picture(save(tmp_path, Image.new("F", (9, 9)), ".tif"))


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_the_orientation_tag_is_applied(ending: str, tmp_path: Path) -> None:
    sideways = np.zeros((40, 60, 3), np.uint8)
    sideways[:, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: left becomes top
    picture = read_picture(save(tmp_path, Image.fromarray(sideways), ending, exif=exif))
    assert picture.pixels.shape == (60, 40, 3)
    assert (picture.width, picture.height) == (40, 60)
    assert picture.pixels[:25].min() > 200
    assert picture.pixels[35:].max() < 50


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_large_picture_is_reduced_and_knows_its_size(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_KEPT_PIXELS", 20_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, Image.linear_gradient("L").resize((400, 300)).convert("RGB"), ending, exif=exif)
    picture = read_picture(path)
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= 20_000
    assert (picture.width, picture.height) == (300, 400)
    assert picture.pixels.shape[1] * picture.scale == pytest.approx(300)
    assert picture.pixels.shape[0] * picture.scale == pytest.approx(400, rel=0.02)
    assert picture.pixels[:, 0].mean() > picture.pixels[:, -1].mean() + 100


def test_a_jpeg_of_20_000_pixels_a_side_is_read_reduced(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    Image.new("L", (20_000, 20_000), 90).save(path, quality=30)
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
    monkeypatch.setattr(pictures, "MAX_DECODED_PIXELS", 10_000)
    image = Image.new("L", (200, 200))
    assert read_picture(save(tmp_path, image, ".jpg")).width == 200
    with pytest.raises(BadImage, match="200x200 pixels, more than"):
        read_picture(save(tmp_path, image, ".jpg", progressive=True))


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (12_000, 12_000), (9_000, 6_000)])
def test_a_bomb_is_refused_before_it_is_unpacked(
    width: int, height: int, tmp_path: Path, png_announcing: Callable[[int, int], bytes]
) -> None:
    (tmp_path / "bomb.png").write_bytes(png_announcing(width, height))
    with pytest.raises(BadImage, match=r"gigantic|megapixels"):
        read_picture(tmp_path / "bomb.png")


def test_pillows_own_limit_stays_on(tmp_path: Path, png_announcing: Callable[[int, int], bytes]) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "bomb.png").write_bytes(png_announcing(50_000, 50_000))
    with pytest.raises(BadImage):
        read_picture(tmp_path / "bomb.png")
    assert before is not None
    assert before == Image.MAX_IMAGE_PIXELS


def test_what_is_no_picture_is_said_in_a_few_words(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("not a picture at all")
    (tmp_path / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "pipe.jpg")
    said = {}
    for name in ("absent.jpg", "empty.jpg", "text.png", "header.png", "pipe.jpg", "a\0b.jpg"):
        with pytest.raises(BadImage) as caught:
            read_picture(f"{tmp_path}/{name}")
        said[name] = str(caught.value)
    assert said["absent.jpg"] == said["a\0b.jpg"] == "no such file"
    assert said["empty.jpg"] == "the file is empty"
    assert said["pipe.jpg"] == "not a regular file"
    assert "not an image in one of the formats" in said["text.png"]
    assert "damaged" in said["header.png"]


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 10)
    with pytest.raises(BadImage, match="MiB"):
        read_picture(save(tmp_path, Image.new("L", (9, 9)), ".png"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_a_bad_image_and_nothing_else(
    format: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((40, 40)).convert("RGB").save(out, format)
    whole = bytearray(out.getvalue())
    cut = data.draw(st.integers(0, len(whole)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged-{format}"
    path.write_bytes(bytes(whole[:cut]))
    # Some damage leaves a picture that can still be read; any other exception than BadImage fails the test.
    with contextlib.suppress(BadImage):
        assert read_picture(path).pixels.shape[2] == 3
