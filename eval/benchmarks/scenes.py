"""Photographs and a video to time readers of faces on, made of generated faces: nobody's picture is needed or kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError

if TYPE_CHECKING:
    from generation.pipeline import FacePipeline

# Width and height of a photograph and of a frame, and how much of the height a face takes.
PHOTOGRAPH, FRAME = (1024, 768), (1280, 720)
_SHARE = (0.25, 0.6)
_RATE = 25.0
# A generated face fills its picture; the outermost share fades into what lies behind.
_FADE = 0.12


def made_faces(pipe: FacePipeline, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, S, S) verified faces, or (count, S, S, 3) in colour; half of them happy and half neutral."""
    found = [np.asarray(image) for emotion in ("happiness", "neutral") for image in pipe(emotion, (count + 1) // 2, seed).images]
    if len(found) < count:
        raise UserError(f"seed {seed}: only {len(found)} of {count} faces were accepted; choose another --seed")
    return np.stack(found[:count])


def make_photographs(faces: NDArray[np.uint8], folder: Path, count: int, seed: int) -> list[str]:
    """``count`` JPEG files of 1,024 x 768 pixels, each of one face somewhere on a blurred background; their names."""
    rng = np.random.default_rng(seed)
    files = []
    for number in range(count):
        picture = _background(rng, PHOTOGRAPH)
        side = round(rng.uniform(*_SHARE) * PHOTOGRAPH[1])
        place = [int(rng.integers(0, whole - side)) for whole in PHOTOGRAPH]
        _put(picture, faces[number % len(faces)], place, side)
        files.append(str(folder / f"{number:04}.jpg"))
        Image.fromarray(picture).save(files[-1], quality=90)
    return files


def make_video(faces: NDArray[np.uint8], path: Path, frames: int, seed: int) -> None:
    """An MPEG-4 video of 1,280 x 720 pixels, 25 frames a second, in which two faces move.

    Raises:
        UserError: OpenCV cannot write one.
    """
    import cv2

    rng = np.random.default_rng(seed)
    background = _background(rng, FRAME)
    writer: Any = cv2.VideoWriter(str(path), int.from_bytes(b"mp4v", "little"), _RATE, FRAME)
    if not writer.isOpened():
        raise UserError(f"{path}: OpenCV cannot write MPEG-4 here")
    room = np.array([FRAME[0] // 2, FRAME[1]])
    for number in range(frames):
        picture = background.copy()
        for k, (face, side) in enumerate(zip(faces[:2], (220, 320), strict=True)):
            # Each on its half, around its middle.
            turn = 2 * np.pi * (number / frames + k / 2)
            middle = room / 2 + (k * room[0], 0) + np.array([np.cos(turn), np.sin(turn)]) * (room - side) * 0.4
            _put(picture, face, np.round(middle - side / 2).astype(int).tolist(), side)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()


def _background(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Patches of colour that run into each other, with a little noise as of a camera."""
    coarse = Image.fromarray(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return (np.asarray(coarse, np.int16) + rng.integers(-4, 5, (size[1], size[0], 1))).clip(0, 255).astype(np.uint8)


def _put(picture: NDArray[np.uint8], face: NDArray[np.uint8], place: list[int], side: int) -> None:
    """Lay a face, ``side`` pixels large, over the picture at ``place`` (x, y)."""
    x, y = place
    large = np.asarray(Image.fromarray(face).convert("RGB").resize((side, side), Image.Resampling.BICUBIC), np.float32)
    ramp = (np.minimum(np.arange(side), np.arange(side)[::-1]) / (_FADE * side)).clip(0, 1)
    weight = np.outer(ramp, ramp)[..., None].astype(np.float32)
    part = picture[y : y + side, x : x + side]
    part[:] = np.round(weight * large + (1 - weight) * part).astype(np.uint8)
