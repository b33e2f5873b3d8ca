"""Who is who from frame to frame: by boxes, by faces where boxes cannot tell, never over a scene cut by boxes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from skimage import data

from encoder.analysis.analyzer import Reading
from encoder.analysis.rows import NO_FACE, FaceRow
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View
from encoder.timelines.scene_cuts import SceneCuts
from encoder.timelines.tracking import Tracker, overlap

SIDE = 20
# A frame: the left edge of each face and its shade, which is what Shades sees of it.
Frame = Sequence[tuple[int, int]]


class Shades:
    """An embedder that knows people by how bright they are."""

    name, metric, threshold = "shades", "euclidean", 10.0

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([[crop[60:100, 60:100].mean()] for crop in crops], np.float32)


class Script:
    """Reads what the frames say, in place of a network."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames

    def stream(self, views: Iterable[View], *, keep_pictures: bool = False, **_: Any) -> Iterator[Reading]:
        for view, frame in zip(views, self.frames, strict=True):
            rows = tuple(
                FaceRow(view.source, view.frame, view.time, k, (left, 10, SIDE, SIDE), 1.0, (1.0, 0, 0, 0, 0, 0, 0))
                for k, (left, _) in enumerate(frame)
            )
            kept = view if keep_pictures else View(view.source, view.frame, view.time)
            yield Reading(kept, rows or (FaceRow(view.source, view.frame, view.time, problem=NO_FACE),))


def picture(frame: Frame, scene: int = 0) -> Picture:
    pixels = np.full((40, 200, 3), 250 if scene else 0, np.uint8)
    for left, shade in frame:
        pixels[10 : 10 + SIDE, left : left + SIDE] = shade
    return Picture(pixels, 200, 40)


def people(
    frames: Sequence[Frame], embedder: Shades | None = None, *, step: float = 0.1, cut: int = 10**6, source: str = "a.mp4"
) -> list[list[int | None]]:
    """The numbers of the faces of each frame; at frame ``cut`` the background changes."""
    views = [View(source, k, k * step, picture(frame, int(k >= cut))) for k, frame in enumerate(frames)]
    read = Tracker(embedder).read(Script(frames), views)  # type: ignore[arg-type]
    return [[row.person for row in reading.rows] for reading in read]


def test_overlap_is_intersection_over_union() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == pytest.approx(1)
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert overlap((0, 0, 10, 10), (2, 2, 5, 5)) == pytest.approx(0.25)


def test_faces_keep_their_numbers_while_they_move_and_whatever_their_order() -> None:
    frames = [[(10 + 3 * k, 90), (150 - 3 * k, 200)][:: 1 if k % 2 else -1] for k in range(12)]
    found = people(frames)
    assert [row if k % 2 else row[::-1] for k, row in enumerate(found)] == [[2, 1]] * 12


def test_a_fast_walk_is_followed_by_where_it_would_be_by_now() -> None:
    # After the start each step is four fifths of the face.
    lefts = [0, 6, 16, 32, 48, 64, 80]
    assert people([[(left, 90)] for left in lefts]) == [[1]] * len(lefts)


def test_a_face_lost_for_a_moment_is_the_same_and_after_more_than_a_second_another() -> None:
    for gap, expected in ((8, 1), (15, 2)):
        found = people([[(50, 90)], *[[]] * gap, [(50, 90)]])
        assert (found[0], found[1], found[-1]) == ([1], [None], [expected])


def test_frames_that_lie_far_apart_are_followed_too() -> None:
    assert people([[(50 + k, 90)] for k in range(5)], step=2.0) == [[1]] * 5


def test_after_a_scene_cut_nobody_goes_on_by_place() -> None:
    frames = [[(50, 90)]] * 8
    assert people(frames) == [[1]] * 8
    assert people(frames, cut=4) == [[1]] * 4 + [[2]] * 4


def test_with_an_embedder_a_person_comes_back_with_the_old_number() -> None:
    one, other = (50, 90), (120, 200)
    frames = [[one, other]] * 3 + [[one]] * 20 + [[one, (5, 200)]] * 2
    assert people(frames)[-1] == [1, 3]
    assert people(frames, Shades())[-1] == [1, 2]
    # Over a cut, at each other's places; and a stranger gets a new number.
    swapped = [[one, other]] * 4 + [[(50, 200), (120, 90)]] * 3 + [[(50, 200), (120, 90), (5, 140)]]
    assert people(swapped, Shades(), cut=4)[4:] == [[2, 1]] * 3 + [[2, 1, 3]]


def test_two_who_lie_over_each_other_are_told_apart_by_their_faces() -> None:
    # They come so near that the box of each covers both, and are then where the other was.
    frames = [[(50, 90), (60, 200)], [(60, 90), (50, 200)]]
    assert people(frames)[1] == [2, 1]
    assert people(frames, Shades())[1] == [1, 2]


def test_each_video_begins_with_person_1_and_pictures_are_left_alone() -> None:
    frames: list[Frame] = [[(50, 90)]] * 4
    shown = picture(frames[0])
    views = [
        View("a.mp4", 0, 0.0, shown),
        View("b.mp4", 0, 0.0, shown),
        View("c.png", picture=shown),
        View("d.mp4", 0, 0.0, shown),
    ]
    read = Tracker().read(Script(frames), views)  # type: ignore[arg-type]
    assert [reading.rows[0].person for reading in read] == [1, 1, None, 1]


def test_an_embedder_with_readings_without_pictures_is_an_error_of_the_caller() -> None:
    frames: list[Frame] = [[(50, 90)]]
    with pytest.raises(ValueError, match="with their pictures"):
        list(Tracker(Shades())._follow(Script(frames).stream([View("a.mp4", 0, 0.0, picture(frames[0]))])))  # type: ignore[arg-type]


# ---- scene cuts


def cuts_of(frames: Sequence[np.ndarray]) -> list[int]:
    views = [View("a.mp4", k, k / 10, Picture(pixels, pixels.shape[1], pixels.shape[0])) for k, pixels in enumerate(frames)]
    cuts = SceneCuts()
    assert list(cuts.watch(views)) == views
    return [k for k, view in enumerate(views) if cuts.before(view)]


def test_a_cut_is_found_between_scenes_and_not_where_camera_or_people_move(rng: np.random.Generator) -> None:
    one, other = data.astronaut()[:400, :400], data.coffee()[:400, :400]
    noisy = [np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8) for frame in [one] * 6 + [other] * 6]
    assert cuts_of(noisy) == [6]
    moving = [np.roll(one, 6 * k, axis=1) for k in range(8)]
    assert cuts_of(moving) == []
    walked_in = one.copy()
    walked_in[100:400, 50:200] = 30
    assert cuts_of([one] * 4 + [walked_in] * 4) == []
    assert cuts_of([one]) == []
