"""Shared by the tests of the encoder: pictures that lie, DeepFace without a network."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def png_announcing() -> Callable[[int, int], bytes]:
    """``png_announcing(width, height)``: a PNG of a few bytes whose header promises so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def make(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")

    return make


@pytest.fixture
def deepface_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepFace cannot download."""
    from encoder.models.deepface_client import import_deepface

    def fail(task: str, model_name: str) -> None:
        raise ValueError("An exception occurred\nwhile downloading model_weights.pth")

    monkeypatch.setattr(import_deepface("deepface.modules.modeling"), "build_model", fail)
