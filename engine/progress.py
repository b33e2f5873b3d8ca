"""Bars for work that may take long: seen on a terminal only, and only after a second."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor


def in_chunks(faces: Tensor, size: int, what: str) -> Iterator[Tensor]:
    """``faces`` (N, ...) in chunks of ``size``; meanwhile a bar says how many of them were taken for ``what``."""
    chunks = faces.split(size)
    if len(chunks) < 2:
        yield from chunks
        return
    from tqdm import tqdm

    with tqdm(total=len(faces), desc=what, unit="face", delay=1, leave=False, disable=None) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))
