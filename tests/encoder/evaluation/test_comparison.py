"""Before and after on the same faces, and several trainings of one recipe."""

from typing import Any

import numpy as np
import pytest

from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.assessment import assess_readings
from encoder.evaluation.comparison import compare_readings, comparison_lines, spread_lines, spread_of
from encoder.evaluation.readings import HeadReading

LABELS = np.repeat(np.arange(6), 40)


def reading(wrong: int, instead: int = 6) -> HeadReading:
    """Right about all faces but the first ``wrong`` of fear, which are read as ``instead``; neutral has no face."""
    answers = LABELS.copy()
    answers[80 : 80 + wrong] = instead
    return HeadReading(LABELS, np.eye(7)[answers], EMOTION_NAMES)


def test_the_difference_of_each_class_and_where_its_faces_went() -> None:
    before, after = {"fer2013": reading(30)}, {"fer2013": reading(10, instead=5)}
    found = compare_readings(before, {"after": after, "other": {}}, "before")["fer2013"]
    fear = found["recalls"]["after"]["fear"]
    assert fear["difference"] == 0.5
    assert 0.3 < fear["low"] < 0.5 < fear["high"] < 0.7
    assert found["recalls"]["after"]["anger"] == {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert "neutral" not in found["recalls"]["after"]
    assert found["differences"].keys() == {"after"}
    moved = np.zeros((7, 7))
    moved[2, [2, 5, 6]] = 0.5, 0.25, -0.75
    assert np.array_equal(found["confusions"]["after"], moved)
    lines = comparison_lines({"fer2013": found})
    assert any(line.startswith("  recall of fear") and "+0.5000" in line for line in lines)


def evaluation(wrong: int, **more: Any) -> dict[str, Any]:
    return assess_readings({"fer2013": reading(wrong)}, np.zeros(len(LABELS), bool), data="d", split="test", weights="w") | more


def test_mean_and_deviation_of_known_trainings() -> None:
    steady = {"steadiness": [{"data": "faces", "changes": {"mean": {"unchanged": 0.9}}}]}
    spread = spread_of([evaluation(0, **steady), evaluation(4), evaluation(8)], [3, None, 5])
    rows = {row["name"]: row for row in spread["rows"]}
    fear = rows["FER-2013 labels: recall of fear"]
    assert fear["values"] == [1.0, 0.9, 0.8]
    assert (fear["mean"], fear["deviation"]) == (pytest.approx(0.9), pytest.approx(0.1))
    assert rows["FER-2013 labels: recall of disgust"]["deviation"] == 0
    # Not of every training, so there is no mean of it.
    assert not [name for name in rows if name.startswith("answer unchanged")]
    assert "seeds 3, unknown, 5" in spread_lines(spread)[0]
