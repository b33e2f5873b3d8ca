"""One photograph, one reading: what an edit says of the face before is what reading the picture says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.detection.centerface import CenterFaceDetector
from encoder.drawing.faces import draw_faces
from encoder.inference.emotion_encoder import EmotionEncoder
from generation.pipeline import FacePipeline

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


def pictures(shipped: FacePipeline) -> list[tuple[str, np.ndarray]]:
    """A photograph; a generated face, alone (read whole) and in a scene; a drawn one in a scene."""
    astronaut = pytest.importorskip("skimage.data").astronaut()
    generated = shipped("sadness", count=1, seed=0).faces[0].image
    drawn = np.repeat(draw_faces(1, seed=3, size=128).images[0][..., None], 3, axis=2)
    scenes = []
    for face in (generated, drawn):
        scene = np.full((400, 500, 3), 120, np.uint8)
        scene[150:278, 201:329] = face
        scenes.append(scene)
    return [("astronaut", astronaut), ("generated", generated), ("in a scene", scenes[0]), ("drawn", scenes[1])]


def test_an_edit_reads_the_face_before_as_the_analyzer_does(shipped: FacePipeline) -> None:
    detector = CenterFaceDetector()
    judge = EmotionEncoder.from_pretrained(PRETRAINED / "judge")
    read = {"encoder": FaceAnalyzer(shipped.encoder, detector), "judge": FaceAnalyzer(judge, detector)}
    seen_whole = set()
    for name, picture in pictures(shipped):
        answers = {who: analyzer.analyze(picture)[0] for who, analyzer in read.items()}
        seen_whole.add(answers["encoder"].whole_picture)
        edited = shipped.edit(picture, "happiness", count=1, judge=judge, detector=detector)
        assert edited.before.verdict.distribution == answers["encoder"].distribution, name
        assert edited.before.judged == answers["judge"].distribution, name
        # And the outcome is read as the finished picture is.
        best = edited.edits[0]
        again = read["encoder"].analyze(edited.render(best))
        same_place = again[0].box == answers["encoder"].box
        if same_place and np.array_equal(again[0].landmarks, answers["encoder"].landmarks):
            assert best.verdict.distribution == again[0].distribution, name
    assert seen_whole == {True, False}
