"""Faces before a camera, from one picture to the next: near where they were, and only now and then everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from encoder.detection.face import DetectedFace, Detector

# One picture in so many is searched as a photograph is: for faces that are small, turned, or have come.
_EVERY = 15
# To look for more faces one by one takes longer than to look at the picture.
_MOST = 4


@runtime_checkable
class QuickDetector(Detector, Protocol):
    """A detector that can also do with less than a whole search."""

    def glance(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """The larger faces, by one quick look."""
        ...

    def follow(self, picture: NDArray[np.uint8], faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """Those of the faces that are still near where they were in the picture before."""
        ...


class Following:
    """A detector for the pictures of one camera, in their order; make one for each camera.

    A face that comes is seen at once where it is large and upright, at the next whole search otherwise. Detectors that know
    no quicker way search every picture.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._known: list[DetectedFace] = []
        self._shape: tuple[int, ...] = ()
        self._since = 0

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.face.Detector`."""
        detector, self._since = self._detector, self._since + 1
        if not isinstance(detector, QuickDetector) or picture.shape != self._shape or self._since >= _EVERY:
            self._known, self._shape, self._since = detector.detect(picture), picture.shape, 0
            return self._known
        found = detector.follow(picture, self._known) if 0 < len(self._known) <= _MOST else []
        # One was lost, or nobody was there.
        self._known = found if found and len(found) == len(self._known) else detector.glance(picture) or found
        return self._known
