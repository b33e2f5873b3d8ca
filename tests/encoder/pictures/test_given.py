"""One picture, whatever the form in which it is given."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.pictures.face_images import BadImage
from encoder.pictures.given import each_picture, picture_of, view_given


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)


@pytest.fixture
def file(pixels: np.ndarray, tmp_path: Path) -> Path:
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


FORMS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "path": lambda file, pixels: file,
    "name": lambda file, pixels: str(file),
    "URL": lambda file, pixels: file.as_uri(),
    "bytes": lambda file, pixels: file.read_bytes(),
    "file": lambda file, pixels: io.BytesIO(file.read_bytes()),
    "PIL": lambda file, pixels: Image.fromarray(pixels),
    "array": lambda file, pixels: pixels,
    "floats": lambda file, pixels: pixels / 255.0,
    "channels first": lambda file, pixels: pixels.transpose(2, 0, 1),
    "tensor": lambda file, pixels: torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels(form: str, file: Path, pixels: np.ndarray) -> None:
    picture = picture_of(FORMS[form](file, pixels))
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.width, picture.height) == (24, 20)


def test_grey_becomes_colour_and_a_pil_image_is_held_upright() -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for form in (grey, grey[..., None], grey[None], Image.fromarray(grey), torch.from_numpy(grey)):
        assert np.array_equal(picture_of(form).pixels, np.repeat(grey[..., None], 3, axis=2))
    turned = Image.fromarray(grey)
    turned.getexif()[0x0112] = 6
    assert picture_of(turned).pixels.shape == (5, 4, 3)
    clear = Image.new("RGBA", (5, 4), (9, 9, 9, 0))
    assert picture_of(clear).pixels.min() == 255
    assert np.abs(picture_of(Image.fromarray(grey).convert("CMYK")).pixels[..., 0].astype(int) - grey).max() <= 2
    with pytest.raises(BadImage, match="floating-point"):
        picture_of(Image.fromarray(grey.astype(np.float32)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "cannot read NoneType; give a path or URL"),
        (3, "cannot read int"),
        (np.zeros((3, 4), np.int64), "got int64"),
        (np.zeros((5, 6, 4), np.uint8), "got uint8 of shape"),
        (np.full((5, 6), 200.0), "floats must lie in"),
        ("https://example.invalid/face.png", "https://example.invalid/face.png: cannot be"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_is(wrong: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where no package for web addresses is installed: nothing is sent.
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (_ for _ in ()).throw(ImportError("needs aiohttp")))
    with pytest.raises(UserError, match=message):
        picture_of(wrong)


def test_bad_bytes_are_a_bad_image_and_a_view_that_says_so() -> None:
    with pytest.raises(BadImage, match="not an image"):
        picture_of(b"text")
    view = view_given(b"text", 4)
    assert view.source == "bytes:4"
    assert view.problem is not None


def test_several_pictures_come_one_by_one(pixels: np.ndarray, file: Path) -> None:
    for several in ([pixels, pixels], (each for each in [pixels, pixels]), np.stack([pixels] * 2), torch.zeros(2, 20, 24)):
        assert len(list(each_picture(several))) == 2
    assert list(each_picture(pd.Series([file, file]))) == [file, file]
    for one in (pixels, str(file), file.read_bytes(), Image.fromarray(pixels), torch.zeros(3, 20, 24)):
        assert len(list(each_picture(one))) == 1
    for wrong in ({"a": file}, pd.DataFrame({"path": [file]}), 3):
        with pytest.raises(UserError, match="pictures: "):
            list(each_picture(wrong))
