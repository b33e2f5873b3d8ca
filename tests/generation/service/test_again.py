"""What a result says to type or to write is taken by the command line and by Python, and asks for the same."""

from __future__ import annotations

import ast
import importlib
import shlex

import pytest

from encoder.analyze import build_parser as reading
from generation.dataset.__main__ import build_parser as sets
from generation.edit import build_parser as editing
from generation.edit import parse_region
from generation.options import read_request
from generation.orders.per_face import make_order
from generation.sample import build_parser as sampling
from generation.service.again import dataset_again, edit_again, faces_again, read_again, strip_again
from generation.service.orders import DatasetOrder, EditOrder, FacesOrder, ReadOrder

FACES = [
    FacesOrder(emotion="fear"),
    FacesOrder(emotion={"fear": 0.7, "surprise": 0.3}, count=4, seed=9, intensity=0.5, identity=True, best_of=3),
    FacesOrder(emotion=[0, 0, 0.25, 0.75, 0, 0, 0], avoid={"anger": 1.0}, avoidance=0.25, guided=[0.1, 0.9]),
    FacesOrder(emotion="happily surprised", gender="female", age="20-29", group="east-asian", hands="any", eyes="any"),
]


def options(command: str) -> list[str]:
    return shlex.split(command)[2:]


@pytest.mark.parametrize("order", FACES, ids=lambda order: str(order.emotion))
def test_the_command_asks_for_the_same_faces(order: FacesOrder) -> None:
    command, _ = faces_again(order, "pretrained")
    own = order.model_dump(exclude={"emotion", "count", "seed", "intensity", "mark"}, exclude_none=True)
    wanted = make_order(order.emotion, order.count, order.seed, intensity=order.intensity, **own).request
    found = read_request(sampling().parse_args(options(command)))
    assert found.emotion == pytest.approx(wanted.emotion, abs=1e-5)
    assert found.model_copy(update={"emotion": wanted.emotion}) == wanted


@pytest.mark.parametrize("order", FACES, ids=lambda order: str(order.emotion))
def test_the_python_asks_for_the_same_faces(order: FacesOrder) -> None:
    _, python = faces_again(order, "pretrained")
    call = ast.parse(python).body[-1].value  # type: ignore[attr-defined]
    given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    asked = FacesOrder(**given)
    assert asked == order


def test_each_face_of_a_list_has_its_command() -> None:
    command, python = faces_again(FacesOrder(emotion=["fear", "anger"], seed=[5, 6], intensity=[1, 0.5], mark=True), "pretrained")
    first, second = (sampling().parse_args(options(line)) for line in command.splitlines())
    assert (first.emotion, first.seed, first.count, first.mark) == ("fear", 5, 1, True)
    assert (second.emotion, second.seed, second.intensity) == ("anger", 6, 0.5)
    assert "emotion=['fear', 'anger']" in python


def test_a_strip_is_taken_by_its_program() -> None:
    order = FacesOrder(seed=7, intensity=0.5, gender="female", identity=True, mark=True)
    command, python = strip_again(order, "neutral:fear", 5, "pretrained")
    strip = sampling().parse_args(options(command))
    assert (strip.strip, strip.frames, strip.seed, strip.intensity) == ("neutral:fear", 5, 7, 0.5)
    assert (strip.gender, strip.mark) == ("female", True)
    assert "pipe.strip('neutral:fear', 5, seed=7, intensity=0.5, gender='female')" in python


def test_hostile_words_stay_words() -> None:
    evil = "fear; rm -rf ~ $(id) '"
    command, python = faces_again(FacesOrder(emotion=evil), "pretrained")
    assert sampling().parse_args(options(command)).emotion == evil
    assert ast.literal_eval(ast.parse(python).body[-1].value.keywords[0].value) == evil  # type: ignore[attr-defined]


def test_edits_readings_and_sets_are_taken_by_their_programs() -> None:
    command, python = edit_again(
        EditOrder(emotion="fear", region="1,2,30,40", count=2, gender="female", whole="all"), "own", True
    )
    edit = editing().parse_args(options(command))
    assert (edit.emotion, edit.count, edit.gender, edit.mark, edit.weights) == ("fear", 2, "female", True, "WEIGHTS")
    assert parse_region(edit.region) == (1.0, 2.0, 30.0, 40.0)
    assert "region=[1.0, 2.0, 30.0, 40.0]" in python
    read = reading().parse_args(options(read_again(ReadOrder(largest=True, every=5, min_size=40, crops="no", explain=True))[0]))
    assert (read.largest, read.every, read.min_size, read.crops, read.explain) == (True, 5, 40, "no", True)
    made = sets().parse_args(
        options(dataset_again(DatasetOrder(per_emotion=3, valid=0.5, format="parquet", mark=True), "pretrained")[0])
    )
    assert (made.per_emotion, made.valid_share, made.form, made.mark) == (3, 0.5, "parquet", True)


def test_python_that_is_shown_imports_what_there_is() -> None:
    for text in (read_again(ReadOrder())[1], dataset_again(DatasetOrder(per_emotion=1), "pretrained")[1]):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mimique":
                assert hasattr(importlib.import_module("mimique"), node.attr)
