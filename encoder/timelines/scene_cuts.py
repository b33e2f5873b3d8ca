"""Where a video changes to another scene: there no face goes on where the last one was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from encoder.pictures.sources import View

_WIDTH, _HEIGHT = 64, 36
# A point of the frame has changed if one of its colours differs by more than so many of 255 levels.
_CHANGED = 16
# Another scene changes most of the frame, somebody who walks in only a part of it. A camera that moves may change most of it,
# too, but does so in every frame: a cut stands out from those before it (the idea of PySceneDetect's AdaptiveDetector).
_LEAST_SHARE, _TIMES_USUAL, _ENOUGH_SHARE, _LEAST_AT_START = 0.5, 2.0, 0.95, 0.7
_REMEMBERED, _ENOUGH = 5, 2


class SceneCuts:
    """Watches frames on their way to the reader; afterwards :meth:`before` says which of them begin a scene.

    Found are hard cuts. Where one scene fades slowly into another, nothing is found.
    """

    def __init__(self) -> None:
        self._cuts: set[tuple[str, int]] = set()

    def watch(self, views: Iterable[View]) -> Iterator[View]:
        """The same views; pictures and views without a picture are not looked at."""
        source, last = "", None
        usual: deque[float] = deque(maxlen=_REMEMBERED)
        for view in views:
            if view.frame is not None and view.picture is not None:
                seen = _small(view.picture.pixels)
                if view.source != source or last is None:
                    usual.clear()
                else:
                    change = float((np.abs(seen - last).max(axis=2) > _CHANGED).mean())
                    least = _LEAST_AT_START
                    if len(usual) >= _ENOUGH:
                        least = max(_LEAST_SHARE, min(_ENOUGH_SHARE, _TIMES_USUAL * float(np.median(usual))))
                    if change >= least:
                        self._cuts.add((view.source, view.frame))
                        usual.clear()
                    else:
                        usual.append(change)
                source, last = view.source, seen
            yield view

    def before(self, view: View) -> bool:
        """Whether a scene begins with this frame."""
        return view.frame is not None and (view.source, view.frame) in self._cuts


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    small: NDArray[np.float32] = cv2.resize(pixels, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small
