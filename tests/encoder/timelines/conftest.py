"""A video that the project draws: two people, one of whom moves; the other leaves and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.drawing.faces import draw_faces
from encoder.pictures.video_file import VideoFile

RATE, FRAMES, TURN, LEAVES, BACK = 5, 30, 15, 10, 22


@pytest.fixture(scope="session")
def drawn_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds. Person A moves to the right and goes from happiness to anger in the middle; B is sad, there from second 0
    to 2 and from 4.4 on."""

    def face(identity: int, emotion: str) -> np.ndarray:
        return draw_faces(
            1, seed=1, size=112, distribution=[emotion], intensity=1.0, identities=[identity], variation=0.0
        ).images[0]

    happy, angry, sad = face(11, "happiness"), face(11, "anger"), face(22, "sadness")
    path = tmp_path_factory.mktemp("video") / "two people.mp4"
    video = VideoFile(path, RATE)
    for number in range(FRAMES):
        frame = np.full((200, 400, 3), 235, np.uint8)
        left = 10 + 3 * number
        frame[40:152, left : left + 112] = (happy if number < TURN else angry)[..., None]
        if number < LEAVES or number >= BACK:
            frame[30:142, 270:382] = sad[..., None]
        video.write(frame)
    video.finish()
    return path
