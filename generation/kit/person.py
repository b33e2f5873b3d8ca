"""One person of a set of stimuli: a neutral face, and of it every emotion at every intensity, each read and judged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from encoder.emotions import Emotion
from generation.draw import FaceModel
from generation.faces import Face
from generation.kit.order import NEUTRAL, Cell, StimulusRequest
from generation.people import People
from generation.verify import Cause


@dataclass(frozen=True)
class Person:
    """What was made of one person.

    Attributes:
        number: from 0. faces: the accepted ones; what is missing could not be made.
        tried: draws of each cell. refused: of those the ones that were refused, by who refused them.
        unordered: of each cell accepted draws that did not fit between the person's other intensities.
    """

    number: int
    faces: Mapping[Cell, Face]
    tried: Mapping[Cell, int]
    refused: Mapping[Cell, Mapping[Cause, int]]
    unordered: Mapping[Cell, int]

    @property
    def name(self) -> str:
        """``p007``: the eighth person's is p008."""
        return f"p{self.number + 1:03d}"


def draw_person(model: FaceModel, request: StimulusRequest, number: int, seed: int) -> Person:
    """Draw until every cell has its face, or its ``max_tries`` are used up.

    All cells of one attempt come from the same noise, as the faces of a strip do. Without a neutral face that is accepted
    there is nobody to keep, and nothing else is drawn.

    Args:
        number, seed: of the person; see :func:`generation.kit.seeds.person_seeds`.
    """
    settled = model.settled(request.face_request(NEUTRAL))
    people = People(model, settled, tries=settled.max_tries)
    neutral = people.neutral(seed)
    tried, refused = Counter[Cell](), defaultdict[Cell, Counter[Cause]](Counter)
    if not neutral.accepted:
        return Person(number, {}, {NEUTRAL: settled.max_tries}, {NEUTRAL: {neutral.refused or "emotion": settled.max_tries}}, {})
    tried[NEUTRAL] = neutral.tries
    accepted: dict[Cell, list[Face]] = {cell: [] for cell in request.cells if cell != NEUTRAL}
    chosen = _chosen(request, accepted, neutral)
    for attempt in range(settled.max_tries):
        wanted = _wanted(request, accepted, chosen)
        if not wanted:
            break
        drawn = model.draw(settled, [seed] * len(wanted), attempt, people, [cell.asked for cell in wanted])
        for cell, face in zip(wanted, drawn, strict=True):
            tried[cell] += 1
            if face.accepted:
                accepted[cell].append(face)
            elif face.refused is not None:
                refused[cell][face.refused] += 1
        chosen = _chosen(request, accepted, neutral)
    unordered = {cell: len(faces) - (cell in chosen) for cell, faces in accepted.items() if len(faces) > (cell in chosen)}
    return Person(number, {NEUTRAL: neutral, **chosen}, dict(tried), refused, unordered)


def _wanted(request: StimulusRequest, accepted: Mapping[Cell, Sequence[Face]], chosen: Mapping[Cell, Face]) -> list[Cell]:
    """The cells to draw next: those without a face; where only the order is wrong, all of that emotion."""
    found: list[Cell] = []
    for cells in _by_emotion(accepted).values():
        if all(cell in chosen for cell in cells):
            continue
        empty = [cell for cell in cells if not accepted[cell]]
        found += empty or cells
    return found


def _chosen(request: StimulusRequest, accepted: Mapping[Cell, Sequence[Face]], neutral: Face) -> dict[Cell, Face]:
    if not request.rise:
        return {cell: faces[0] for cell, faces in accepted.items() if faces}
    found: dict[Cell, Face] = {}
    for emotion, cells in _by_emotion(accepted).items():
        faces = rising([accepted[cell] for cell in cells], emotion, neutral, request.rise)
        found |= {cell: face for cell, face in zip(cells, faces, strict=True) if face is not None}
    return found


def _by_emotion(cells: Mapping[Cell, object]) -> dict[Emotion, list[Cell]]:
    grouped: dict[Emotion, list[Cell]] = defaultdict(list)
    for cell in cells:
        grouped[cell.emotion].append(cell)
    return grouped


def rising(levels: Sequence[Sequence[Face]], emotion: Emotion, neutral: Face, rise: float) -> list[Face | None]:
    """One face a level, or none, so that the reading of ``emotion`` rises each time by ``rise`` at least.

    Of all such choices the one with most faces, then of the highest sum of matches, then of the earliest draws.

    Args:
        levels: the accepted faces of each intensity, the lowest intensity first. neutral: from where it rises.
    """
    # Each entry: the last face's reading, how good the choice is, and the choice.
    Choice = tuple[float, tuple[int, float], list[Face | None]]
    choices: list[Choice] = [(neutral.verdict.distribution[emotion], (0, 0.0), [])]
    for faces in levels:
        longer: list[Choice] = [(reading, worth, [*made, None]) for reading, worth, made in choices]
        for face in faces:
            reading = face.verdict.distribution[emotion]
            below = [each for each in choices if each[0] + rise <= reading]
            if below:
                _, (count, total), made = max(below, key=lambda each: each[1])
                longer.append((reading, (count + 1, total + face.verdict.match), [*made, face]))
        choices = longer
    return max(choices, key=lambda each: each[1])[2]
