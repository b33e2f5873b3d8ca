"""What is measured of an encoder without labels of emotions: how steady it is, what it reads by group, photographs of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.expressions import assess_expressions, expressions_lines
from encoder.data.colour_faces import ColourFaces, ColourSplit, load_colour_faces
from encoder.data.face_set import FaceSet
from encoder.data.posed_photographs import PosedPhotographs, load_posed_photographs
from encoder.detection.registry import DEFAULT_DETECTOR, create_detector
from encoder.evaluation.groups import assess_groups, groups_lines
from encoder.evaluation.readings import in_order
from encoder.evaluation.steadiness import assess_steadiness, steadiness_lines
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import mirrored_distributions

_TOGETHER = 256
# Of colour faces always these: the others are there to be trained on.
_SPLIT: ColourSplit = "valid"
ATTRIBUTES = ("race", "gender", "age")


@dataclass(frozen=True)
class BeyondLabels:
    """Faces to measure on, loaded once for every encoder; None: not measured.

    Attributes:
        labelled: for steadiness, at the size at which they are stored, and what they are called.
        colour: for figures by group; for steadiness too, in grey, if ``labelled`` is given.
        photographs: of people who look neutral and who smile.
    """

    labelled: tuple[FaceSet, str] | None = None
    colour: ColourFaces | None = None
    photographs: PosedPhotographs | None = None

    def measure(self, encoder: EmotionEncoder) -> dict[str, Any]:
        """``steadiness`` (a list, one a data set), ``groups`` and ``photographs``, each where there are faces for it.

        Raises UserError: no column of the colour faces names two groups, or the default detector cannot be had.
        """
        found: dict[str, Any] = {}
        if self.labelled is not None:
            faces, name = self.labelled
            found["steadiness"] = [assess_steadiness(encoder, faces.subset(in_order(faces)).images, name)]
        if self.colour is not None:
            # By name, so that no figure depends on how the file lists them.
            colour = self.colour.subset(np.argsort(self.colour.file, kind="stable"))
            grey, name = colour.grey(), f"colour faces {_SPLIT}"
            if self.labelled is not None:
                found["steadiness"].append(assess_steadiness(encoder, grey, name))
            parts = [grey[start : start + _TOGETHER] for start in range(0, len(grey), _TOGETHER)]
            read = np.concatenate([mirrored_distributions(encoder, part) for part in parts])
            found["groups"] = assess_groups(read, {each: getattr(colour, each) for each in ATTRIBUTES}, name)
        if self.photographs is not None:
            analyzer = FaceAnalyzer(encoder, create_detector(DEFAULT_DETECTOR))
            found["photographs"] = assess_expressions(analyzer, self.photographs, DEFAULT_DETECTOR)
        return found


def load_beyond_labels(steady: tuple[FaceSet, str] | None, colour: Path | None, posed: Path | None) -> BeyondLabels:
    """Load what is asked for. Raises UserError: a file is missing or broken."""
    # Small first: a file that is missing is said before the long reading.
    photographs = None if posed is None else load_posed_photographs(posed)
    return BeyondLabels(steady, None if colour is None else load_colour_faces(colour, _SPLIT), photographs)


def beyond_labels_lines(figures: Mapping[str, Any]) -> list[str]:
    """The figures as lines for a terminal; none where nothing of this was measured."""
    lines: list[str] = []
    for steady in figures.get("steadiness", ()):
        lines += ["", *steadiness_lines(steady)]
    if "groups" in figures:
        lines += ["", *groups_lines(figures["groups"])]
    if "photographs" in figures:
        lines += ["", *expressions_lines(figures["photographs"])]
    return lines
