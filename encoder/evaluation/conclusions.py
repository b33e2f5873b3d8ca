"""What the report's figures say, in one sentence a section; every number in a sentence stands in a table below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encoder.evaluation.groups import gap_sentence

Model = Mapping[str, Any]
_AGREES = {"fer2013": "as they are labelled", "ferplus": "as most FER+ annotators see them"}
_DATA = {"fer2013": "FER-2013"}


def percent(share: float | None) -> str:
    """A share as whole per cent; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _points(difference: float) -> str:
    """A difference of two shares in points of per cent."""
    return f"{abs(100 * difference):.1f} points"


def _head(model: Model) -> tuple[str, Mapping[str, Any]]:
    """The head whose answer users get, or the first, and its figures."""
    key = model["answer"] if model["answer"] in model["heads"] else next(iter(model["heads"]))
    return key, model["heads"][key]["all"]


def title(models: Sequence[Model], data: str, split: str) -> str:
    """What the first model can do, as the page's title."""
    first = models[0]
    said = [f"{percent(head['all']['accuracy'])} {_AGREES[key]}" for key, head in first["heads"].items()]
    return f"Of the {_DATA.get(data, data)} {split} faces, {first['name']} reads {' and '.join(said)}"


def _shared_head(models: Sequence[Model]) -> str:
    """The head that most of the models have; of several the one whose answer users of the first get."""
    first = models[0]
    having = {key: sum(key in model["heads"] for model in models) for key in first["heads"]}
    return max(having, key=lambda key: (having[key], key == first["answer"]))


def headline(models: Sequence[Model]) -> str:
    """Of one model how even and how honest it is; of several who is right most often."""
    key = _shared_head(models)
    having = [(model["heads"][key]["all"]["accuracy"], model["name"]) for model in models if key in model["heads"]]
    if len(having) == 1:
        _, figures = _head(models[0])
        balanced, error = figures["balanced_accuracy"], figures["expected_calibration_error"]
        return (
            f"If every emotion counts alike, {models[0]['name']} is right in {percent(balanced)} of cases, "
            f"and its probabilities are off by {_points(error)} on average."
        )
    ranked = sorted(having, key=lambda pair: (-pair[0], pair[1]))
    told = [f"{name} ({percent(accuracy)})" for accuracy, name in ranked]
    labels = models[0]["heads"][key]["title"].split(",")[0]
    return f"By {labels}, {told[0]} is right most often, before {' and '.join(told[1:])}."


def compared(models: Sequence[Model], comparison: Mapping[str, Any]) -> str:
    """Accuracy of each further model beside the first."""
    head = comparison[_shared_head(models)]
    said = []
    for name, found in head["differences"].items():
        row = found["accuracy"]
        if row["low"] is None or row["low"] <= 0 <= row["high"]:
            said.append(f"{name} is not clearly better or worse than {head['baseline']}")
            continue
        more = "more" if row["difference"] > 0 else "less"
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        ends = f"95\N{NO-BREAK SPACE}%: {100 * low:.1f} to {100 * high:.1f}"
        said.append(f"{name} is right {more} often than {head['baseline']}, by {_points(row['difference'])} ({ends})")
    return f"By {head['title'].split(',')[0]}, {'; '.join(said)}."


def spread(found: Mapping[str, Any]) -> str:
    """How far trainings of one recipe lie apart."""
    row = found["rows"][0]
    deviation = f"a standard deviation of {row['deviation']:.3f} around {row['mean']:.3f}"
    return f"{row['name']} differs between these trainings by {deviation}."


def beyond(models: Sequence[Model]) -> str:
    """Of the first model that was measured so: how steady it is, how it reads photographs, where groups differ most."""
    said = []
    for name, tell in (("steadiness", _steady), ("photographs", _posed), ("groups", _grouped)):
        model = next((each for each in models if each[name]), None)
        said += [] if model is None else [tell(model)]
    return " ".join(said)


def _steady(model: Model) -> str:
    share = model["steadiness"][0]["changes"]["mean"]["unchanged"]
    return f"After a small change of the picture, {model['name']} gives {percent(share)} of faces the same answer as before."


def _posed(model: Model) -> str:
    rows = model["photographs"]["expressions"].items()
    told = " and ".join(f"{row['right']} of {row['photographs']} {name} people as {row['emotion']}" for name, row in rows)
    return f"In photographs {model['name']} reads {told}."


def _grouped(model: Model) -> str:
    largest = model["groups"]["largest"]
    return f"The largest gap between groups is by {gap_sentence(largest, model['groups']['gaps'][largest])}."


def detail(model: Model) -> str:
    """Which emotion is found best and worst, and which two are mixed up most."""
    key, figures = _head(model)
    recalls = {name: row["recall"] for name, row in figures["per_class"].items() if row["support"]}
    best, worst = max(recalls, key=lambda name: recalls[name]), min(recalls, key=lambda name: recalls[name])
    told = (
        f"{model['name']} finds {best} best ({percent(recalls[best])} of its faces) and {worst} worst ({percent(recalls[worst])})"
    )
    key, _ = _head(model)
    pair = next((each for each in model["heads"][key]["pairs"] if each["errors"]), None)
    return (
        f"{told}."
        if pair is None
        else f"{told}; it confuses {pair['pair'][0]} and {pair['pair'][1]} most ({pair['errors']} times)."
    )


def calibration(name: str, figures: Mapping[str, Any]) -> str:
    """How far probabilities can be taken at their word."""
    error = figures["expected_calibration_error"]
    return f"A probability of {name} differs by {_points(error)} from how often it is right, on average."


def trained_alike(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which rung of the ladder reads best of those that were trained alike; empty where there are none."""
    ranked = sorted(rows, key=lambda row: (-row["accuracy"], row["title"]))
    if not ranked:
        return ""
    best = (
        f"Of the systems trained on the same schedule, “{ranked[0]['title']}” is right most often ({ranked[0]['accuracy']:.3f})"
    )
    return f"{best}." if len(ranked) < 2 else f"{best}, before “{ranked[1]['title']}” ({ranked[1]['accuracy']:.3f})."


def noise(found: Mapping[str, Any]) -> str:
    """What disagreement of the labels means for any model."""
    low, high = (percent(end) for end in found["agreement_interval"])
    return (
        f"FER-2013's label and the majority of FER+ annotators agree on {percent(found['agreement'])} of faces "
        f"(95\N{NO-BREAK SPACE}%: {low} to {high}), so no model can be right on both."
    )


def classes(figures: Mapping[str, Any]) -> str:
    """Of one head: how many of the emotions are found more often than not."""
    recalls = [row["recall"] for row in figures["per_class"].values() if row["support"]]
    found = sum(recall > 0.5 for recall in recalls)
    return f"{found} of {len(recalls)} classes are found in more than half of their faces."
