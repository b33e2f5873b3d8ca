"""One engine for many: what comes of an order does not depend on the others, and no order keeps others waiting for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.pipeline import FacePipeline
from generation.service import turns
from generation.service.admission import Busy
from generation.service.engine import COARSE_STEPS, Engine
from generation.service.orders import DatasetOrder, EditOrder, FacesOrder, FacesResult, MadeFace, ReadOrder
from generation.service.orders import opened as seen_as
from generation.service.results import EDITED
from generation.service.together import Draw, draw_together
from generation.service.turns import Ended

Opened = Callable[..., Engine]
Held = Callable[[Engine], Any]


def together(engine: Engine, held: Held, *orders: FacesOrder) -> list[FacesResult]:
    """Results of orders of several clients that come at once."""
    with ThreadPoolExecutor(len(orders)) as pool:
        with held(engine):
            given: list[Future[FacesResult]] = []
            for number, order in enumerate(orders):
                given.append(pool.submit(engine.faces, order, client=f"client-{number}"))
                while engine.turns.waiting < sum(each.count or 16 for each in orders[: number + 1]):
                    time.sleep(0.005)
        return [each.result() for each in given]


def pixels(face: MadeFace) -> np.ndarray:
    return np.asarray(face.picture, np.int64)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The seeds of each batch that is drawn."""
    seen = list[list[int]]()

    def recorded(model: Any, draws: list[Draw]) -> Any:
        seen.append([draw.seed for draw in draws])
        return draw_together(model, draws)

    monkeypatch.setattr(turns, "draw_together", recorded)
    return seen


@pytest.mark.parametrize("identity", [False, True])
def test_a_face_is_the_same_alone_and_among_others(
    engine: Engine, held: Held, batches: list[list[int]], likely: str, identity: bool
) -> None:
    same = {"threshold": 0.0, "max_tries": 3, "identity": identity}
    order = FacesOrder(emotion=likely, count=3, seed=11, **same)
    others = [FacesOrder(emotion=name, count=4, seed=40, **same) for name in ("fear", "sadness", "neutral")]
    alone = FacePipeline.from_pretrained(engine.settings.weights)(likely, 3, 11, progress=False, **same)
    result = together(engine, held, *others, order)[-1]
    assert len(batches[0]) == 15
    assert [(face.seed, face.tries) for face in result.faces] == [(face.seed, face.tries) for face in alone]
    assert result.faces
    for mine, theirs in zip(result.faces, alone, strict=True):
        assert np.abs(pixels(mine) - theirs.image.astype(np.int64)).max() <= 1
        assert mine.distribution == pytest.approx(theirs.verdict.as_record()["distribution"], abs=0.01)


def test_a_strip_is_that_of_the_pipeline(engine: Engine) -> None:
    """One person on the way from one emotion to another, drawn among what others draw."""
    strip = engine.strip(FacesOrder(seed=4, look="fer2013"), "neutral:fear", 3)
    alone = FacePipeline.from_pretrained(engine.settings.weights).strip("neutral:fear", 3, seed=4, look="fer2013")
    assert len(strip.faces) == 3
    for mine, theirs in zip(strip.faces, alone, strict=True):
        assert mine.asked == pytest.approx(dict(zip(EMOTION_NAMES, theirs.asked, strict=True)), abs=1e-3)
        assert np.abs(pixels(mine) - theirs.image.astype(np.int64)).max() <= 1
    with pytest.raises(UserError, match="at most 64 faces"):
        engine.strip(FacesOrder(), "neutral:fear", 65)


def test_a_first_sight_of_people_does_not_wait_until_they_are_found(engine: Engine, likely: str) -> None:
    order = FacesOrder(emotion=likely, count=2, seed=6, identity=True, threshold=0.0, max_tries=4)
    engine.coarse(order)
    assert engine.turns.tally["draws"] == 2
    people = [np.asarray(face.picture) for face in engine.faces(order).faces]
    before = engine.turns.tally["draws"]
    again = engine.coarse(order)
    assert engine.turns.tally["draws"] == before + 2
    assert len(again.faces) == 2
    assert people


def test_an_order_of_one_face_does_not_wait_for_one_of_many(
    opened: Opened, held: Held, batches: list[list[int]], likely: str
) -> None:
    engine = opened(batch_size=4)
    many, one = (FacesOrder(emotion=likely, count=count, seed=seed, max_tries=1) for count, seed in ((24, 0), (1, 900)))
    together(engine, held, many, one)
    assert 900 in batches[0]
    assert sorted(seed for batch in batches for seed in batch) == [*range(24), 900]


def test_settings_that_cannot_go_together_are_drawn_apart(engine: Engine, held: Held, likely: str) -> None:
    plain, guided = (FacesOrder(emotion=likely, count=2, max_tries=1, guidance=value) for value in (0.0, 3.0))
    together(engine, held, plain, guided)
    assert engine.turns.tally["batches"] == 2


def test_what_each_face_is_told_may_differ_within_a_batch(
    opened: Opened, held: Held, colour_weights: Any, likely_in_colour: str
) -> None:
    engine = opened(weights=str(colour_weights))
    how: dict[str, Any] = {
        "emotion": likely_in_colour,
        "count": 2,
        "max_tries": 1,
        "threshold": 0.0,
        "realism": 0,
        "landmarks": "off",
    }
    results = together(engine, held, FacesOrder(**how, gender="female", age="20-29"), FacesOrder(**how, gender="male"))
    assert engine.turns.tally["batches"] == 1
    told = [[(face.told["gender"], face.told["age"]) for face in result.faces] for result in results]
    assert [gender for gender, _ in told[1]] == ["male"] * len(told[1])
    assert told[0] == [("female", "20-29")] * len(told[0])
    assert any(told)


def test_lists_give_each_face_its_own(engine: Engine, likely: str) -> None:
    result = engine.faces(FacesOrder(emotion=[likely, "fear"], seed=[7, 7], threshold=0.0, max_tries=8))
    assert result.asked == 2
    assert result.faces[0].asked[likely] == 1.0
    assert result.command.count("\n") == 1


def test_a_coarse_view_shows_every_face_and_judges_none(engine: Engine) -> None:
    result = engine.coarse(FacesOrder(emotion="disgust", count=5))
    assert (len(result.faces), result.verified, result.tried) == (5, False, 5)
    assert COARSE_STEPS < 16
    assert "AI-generated" in result.faces[0].picture.info


def test_who_gives_up_gets_what_there_is(engine: Engine, likely: str) -> None:
    seen: list[MadeFace] = []
    # The random encoder hardly ever sees the others.
    feelings = [likely] * 4 + [name for name in ("disgust", "sadness", "surprise") if name != likely] * 4
    order = FacesOrder(emotion=feelings, max_tries=50, threshold=0.0)
    result = engine.faces(order, cancelled=lambda: bool(seen), taken=seen.append)
    assert 0 < len(result.faces) == len(seen) < len(feelings)
    assert not result.complete
    with pytest.raises(Ended):
        engine.faces(order, cancelled=lambda: True)


def test_limits_turn_away(opened: Opened, held: Held) -> None:
    engine = opened(most_waiting=1, most_waiting_address=2)
    order = FacesOrder(count=1, max_tries=1)
    with ThreadPoolExecutor() as pool, held(engine):
        for number, name in enumerate(("here/a", "here/b"), start=1):
            pool.submit(engine.faces, order, client=name)
            while engine.turns.waiting < number:
                time.sleep(0.005)
        for name in ("here/a", "here/c"):
            with pytest.raises(Busy, match="try again in 5 seconds"):
                engine.faces(order, client=name)
        pool.submit(engine.faces, order, client="there")
    with pytest.raises(Busy, match="memory is short"):
        opened(memory_mib=1).faces(order)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (FacesOrder(emotion="feer"), "did you mean"),
        (FacesOrder(count=65), "count: at most 64"),
        (FacesOrder(max_tries=65), "max_tries: at most 64"),
        (FacesOrder(emotion=["fear", "anger"], seed=[1, 2, 3]), "differ in number"),
        (FacesOrder(emotion={"fear": -1.0, "anger": 2.0}), "fear"),
        (FacesOrder(look="photo"), "these weights know"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_work(engine: Engine, order: FacesOrder, words: str) -> None:
    with pytest.raises(UserError, match=words):
        engine.faces(order)
    assert not engine.turns.tally


def test_an_edited_photograph_is_marked_unless_the_operator_says_otherwise(opened: Opened, picture: bytes) -> None:
    shown = {}
    for mark in (True, False):
        result = opened(mark_edits=mark).edit(EditOrder(emotion="happiness", count=2, whole="all"), picture)
        assert sorted(each.seed for each in result.proposals) == [0, 1]
        assert ("--mark" in result.command) is mark
        best = result.proposals[0]
        assert best.picture.info["AI-generated"]
        assert best.picture.size == (96, 96)
        assert "compositeWithTrainedAlgorithmicMedia" in best.png.decode("latin-1")
        shown[mark] = np.asarray(best.picture)
    assert EDITED == "AI-edited"
    corner = (slice(85, 96), slice(0, 30))
    assert (shown[True][corner] == 0).mean() > 0.3 > (shown[False][corner] == 0).mean()


@pytest.mark.parametrize("given", ["/etc/passwd", "http://127.0.0.1:1/a.png", "file:///etc/passwd", b"", b"no picture", 7])
def test_no_name_is_opened_as_a_picture(engine: Engine, given: Any) -> None:
    for act in (lambda: engine.read(given), lambda: engine.edit(EditOrder(emotion="fear"), given)):
        with pytest.raises(UserError, match="picture"):
            act()


def test_a_picture_is_read(engine: Engine, picture: bytes) -> None:
    result = engine.read(picture, ReadOrder(crops="no", explain=True))
    (face,) = result.faces
    assert (result.width, result.height, face.box) == (96, 96, (24, 24, 48, 48))
    assert sum(face.distribution.values()) == pytest.approx(1, abs=1e-4)  # type: ignore[union-attr]
    assert seen_as(face.explained).size == (160, 160)  # type: ignore[arg-type]


def test_a_video_is_read_and_leaves_no_file(engine: Engine, tmp_path: Any, rng: np.random.Generator) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    data = (tmp_path / "a.mp4").read_bytes()
    result = engine.read(data, ReadOrder(every=3))
    assert [face.frame for face in result.faces] == [0, 3, 6, 9]
    assert list(engine._folder.iterdir()) == []
    with pytest.raises(UserError, match="send one frame"):
        engine.edit(EditOrder(emotion="fear"), data)


def test_a_video_that_is_too_long_is_refused(opened: Opened, tmp_path: Any) -> None:
    engine = opened(video_seconds=0.5, video_bytes=10**6)
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for _ in range(20):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    with pytest.raises(UserError, match=r"longer than 0\.5 seconds"):
        engine.read((tmp_path / "a.avi").read_bytes())
    assert list(engine._folder.iterdir()) == []


def test_a_closed_engine_leaves_nothing(opened: Opened, held: Held) -> None:
    engine = opened()
    folder = engine._folder
    assert folder.stat().st_mode & 0o777 == 0o700
    with ThreadPoolExecutor() as pool:
        with held(engine):
            waiting = pool.submit(engine.faces, FacesOrder(count=4, max_tries=9))
            while not engine.turns.waiting:
                time.sleep(0.005)
            job = engine.start_dataset(DatasetOrder(per_emotion=2))
            engine.stop()
        with pytest.raises(Ended):
            waiting.result()
    engine.close()
    assert not folder.exists()
    assert job.state.state == "cancelled"


def test_pictures_of_results_are_whole(engine: Engine, likely: str) -> None:
    result = engine.faces(FacesOrder(emotion=likely, count=2, max_tries=9, threshold=0.0, mark=True))
    again = FacesResult.model_validate_json(result.model_dump_json())
    assert again == result
    assert isinstance(again.faces[0].picture, Image.Image)
