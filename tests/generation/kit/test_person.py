"""Who the people of a set are, and which draws of theirs become stimuli."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.emotions import Emotion
from generation.faces import Face
from generation.kit.order import NEUTRAL, Cell, StimulusRequest
from generation.kit.person import draw_person, rising
from generation.kit.seeds import person_seeds
from generation.pipeline import FacePipeline
from generation.settle import attributes_of, even_classes
from generation.verify import Verdict
from vqvae.attributes import AttributeName


def face(reading: float, match: float = 0.5) -> Face:
    """One of which the encoder reads so much fear, and is neutral for the rest."""
    read = tuple({Emotion.FEAR: reading, Emotion.NEUTRAL: 1 - reading}.get(emotion, 0.0) for emotion in Emotion)
    return Face(np.zeros((1, 1), np.uint8), 0, 1, Verdict(read, Emotion.FEAR, match, True))


def test_neutral_is_asked_once_and_always() -> None:
    request = StimulusRequest(people=1, emotions=("peur", "joie"), intensities=(1.0, 0.25))
    fear, joy = Emotion.FEAR, Emotion.HAPPINESS
    assert request.cells == (NEUTRAL, Cell(fear, 0.25), Cell(fear, 1.0), Cell(joy, 0.25), Cell(joy, 1.0))
    assert request.cells[1].asked[fear] == 0.25
    assert str(request.cells[1]) == "fear_025"


def test_the_most_faces_that_rise_are_kept_as_by_trying_all(rng: np.random.Generator) -> None:
    neutral, rise = face(0.1), 0.05
    for _ in range(50):
        levels = [[face(float(p), float(m)) for p, m in rng.random((rng.integers(0, 4), 2))] for _ in range(3)]
        kept = rising(levels, Emotion.FEAR, neutral, rise)

        def worth(choice: tuple[Face | None, ...]) -> tuple[int, float]:
            taken = [each for each in choice if each is not None]
            readings = [0.1, *(each.verdict.distribution[Emotion.FEAR] for each in taken)]
            rises = all(low + rise <= high for low, high in itertools.pairwise(readings))
            return (len(taken), sum(each.verdict.match for each in taken)) if rises else (-1, 0.0)

        best = max(worth(choice) for choice in itertools.product(*([None, *faces] for faces in levels)))
        assert worth(tuple(kept)) == pytest.approx(best)


@pytest.mark.usefixtures("_sees_what_was_asked")
def test_a_person_keeps_all_but_the_expression(weights: Path) -> None:
    pipe = FacePipeline.from_pretrained(weights)
    request = StimulusRequest(people=1, intensities=(0.5, 1.0), settings={"steps": 2}).spelt_out(pipe)
    person = draw_person(pipe, request, 0, seed=3)
    assert set(person.faces) == set(request.cells)
    assert {each.seed for each in person.faces.values()} == {3}
    kept = ~pipe.expression_mask().view(pipe.tokenizer.config.grid, -1).numpy()
    neutral = person.faces[NEUTRAL].image
    for cell, each in person.faces.items():
        assert each.asked == pytest.approx(cell.asked)
        assert each.accepted
        if cell != NEUTRAL:
            # The corner is far enough from the mask that the decoder does not smear into it.
            assert kept[0, 0]
            assert np.abs(each.image[:2, :2].astype(int) - neutral[:2, :2]).max() <= 40
    for emotion in set(Emotion) - {Emotion.NEUTRAL}:
        cells = [NEUTRAL, *(cell for cell in request.cells if cell.emotion is emotion)]
        readings = [person.faces[cell].verdict.distribution[emotion] for cell in cells]
        assert all(low + request.rise <= high for low, high in itertools.pairwise(readings))


@pytest.mark.usefixtures("_sees_what_was_asked")
def test_draws_are_counted(weights: Path) -> None:
    pipe = FacePipeline.from_pretrained(weights)
    settings = {"steps": 2, "max_tries": 6, "threshold": 0.8}
    request = StimulusRequest(people=1, emotions=("fear",), intensities=(0.3, 1.0), rise=0.3, settings=settings).spelt_out(pipe)
    people = [draw_person(pipe, request, number, number) for number in range(12)]
    assert any(len(person.faces) < 3 for person in people)
    for person in people:
        for cell in request.cells:
            refused, unordered = sum(person.refused.get(cell, {}).values()), person.unordered.get(cell, 0)
            if cell != NEUTRAL:
                assert person.tried.get(cell, 0) == refused + unordered + (cell in person.faces)
            if cell not in person.faces and NEUTRAL in person.faces:
                assert person.tried[cell] > 0


def test_what_is_even_is_even_over_the_people(rng: np.random.Generator) -> None:
    names: tuple[AttributeName, ...] = ("gender", "age", "group")
    seed = int(rng.integers(1 << 30))
    request = StimulusRequest(people=112, seed=seed, settings=dict.fromkeys(names, "even"))
    seeds = person_seeds(request, names)
    assert len(set(seeds)) == 112
    assert min(seeds) >= seed
    told = attributes_of(request.face_request(NEUTRAL), seeds, names)
    for column, name in enumerate(names):
        counts = Counter(told[:, column].tolist())
        assert set(counts) == set(even_classes(name))
        assert len(set(counts.values())) == 1
    few = request.model_copy(update={"people": 7})
    assert person_seeds(few, names) == seeds[:7]
    assert person_seeds(few.model_copy(update={"settings": {"gender": "female"}}), ("gender",)) == list(range(seed, seed + 7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"people": 0}, "people"),
        ({"people": 1, "emotions": ("fera",)}, "did you mean"),
        ({"people": 1, "emotions": ()}, "at least one"),
        ({"people": 1, "intensities": (0.0,)}, "above 0"),
        ({"people": 1, "intensities": (0.5, 0.501)}, "differ by a hundredth"),
        ({"people": 1, "rise": 2.0}, "rise"),
        ({"people": 1, "settings": {"avoid": "fear"}}, "avoid"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        StimulusRequest(**settings)  # type: ignore[arg-type]
