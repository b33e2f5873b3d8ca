"""Write faces as tar shards that WebDataset reads too, each with its index of bytes beside it."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from configs.cli import UserError
from encoder.data.shard_files import ShardFile, ShardFiles
from encoder.data.shard_index import Sample, store_index
from encoder.pictures.face_images import png_bytes
from engine.storage.atomic import draft, make_folder


def write_shards(
    folder: Path, name: str, faces: Iterable[tuple[np.ndarray, Sequence[float]]], *, per_shard: int = 4096
) -> dict[Path, int]:
    """Write ``<name>-000000.tar`` and so on, each holding ``per_shard`` faces, and say how many each holds.

    A face is (S, S) uint8 pixels with the distribution over the seven emotions, or zeros; only one shard is held in memory.
    Raises UserError: a shard exists already, or cannot be written.
    """
    written: dict[Path, int] = {}
    numbered = enumerate(faces)
    make_folder(folder, "folder")
    for first in numbered:
        target = folder / f"{name}-{len(written):06d}.tar"
        if target.exists():
            raise UserError(f"{target}: exists already and is not overwritten; remove it or give another folder")
        with draft(target) as stream:
            samples = _write_one(stream, itertools.chain([first], numbered), per_shard)
        store_index(ShardFiles(str(folder)), ShardFile.of(target, target.name), folder, samples)
        written[target] = len(samples)
    return written


def _write_one(stream: BinaryIO, numbered: Iterable[tuple[int, tuple[np.ndarray, Sequence[float]]]], most: int) -> list[Sample]:
    samples: list[Sample] = []
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (pixels, emotion) in numbered:
            data = png_bytes(pixels)
            shares = [round(float(share), 6) for share in emotion]
            known = any(shares)
            # The data of a member follows its header of one block.
            samples.append((tar.offset + tarfile.BLOCKSIZE, len(data), shares if known else -1))
            _add(tar, f"{number:012d}.png", data)
            if known:
                _add(tar, f"{number:012d}.json", json.dumps({"emotion": shares}).encode())
            tar.members = []  # type: ignore[attr-defined]
            if len(samples) == most:
                break
    return samples


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
