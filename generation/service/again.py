"""What to type, and what to write in Python, that gives a result again without the service."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from configs.loader import StrictModel
from encoder.emotions import EMOTION_NAMES
from generation.options import option
from generation.service.orders import DatasetOrder, EditOrder, FacesOrder, ReadOrder

# What stands for something of the reader's own.
PHOTO, WEIGHTS, SET = "photo.jpg", "WEIGHTS", "faces/"
_PIPE = "import mimique\n\npipe = mimique.FacePipeline.from_pretrained({})\n"


def faces_again(order: FacesOrder, weights: str) -> tuple[str, str]:
    """Command line and Python of an order of faces; where each face has an emotion or a seed of its own, a command for each."""
    own = _asked(order, "emotion", "count", "seed", "intensity", "mark")
    mark = ["--mark"] if order.mark else []
    lines = []
    for emotion, count, seed, intensity in _runs(order):
        words = ["mimique", "sample", "--emotion", in_text(emotion)]
        words += ["--count", str(count)] if count is not None else []
        words += ["--seed", str(seed)] if seed else []
        words += ["--intensity", f"{intensity:g}"] if intensity != 1.0 else []
        lines.append(shlex.join([*words, *_options(own), *mark, *_weights(weights)]))
    given: dict[str, Any] = {"emotion": order.emotion, **_asked(order, "emotion", "mark")}
    return "\n".join(dict.fromkeys(lines)), _pipe(weights) + f"faces = pipe({_arguments(given)})\n"


def strip_again(order: FacesOrder, path: str, frames: int, weights: str) -> tuple[str, str]:
    """Command line and Python of a strip."""
    own = _asked(order, "emotion", "count", "seed", "intensity", "mark", "max_tries", "best_of", "identity")
    words = ["mimique", "sample", "--strip", path, "--frames", str(frames), *(["--seed", str(order.seed)] if order.seed else [])]
    words += [] if order.intensity == 1.0 else ["--intensity", f"{order.intensity:g}"]
    given = {"seed": order.seed, "intensity": order.intensity, **own}
    call = f"strip = pipe.strip({path!r}, {frames}, {_arguments(given)})\n"
    return shlex.join([*words, *_options(own), *(["--mark"] if order.mark else []), *_weights(weights)]), _pipe(weights) + call


def edit_again(order: EditOrder, weights: str, mark: bool) -> tuple[str, str]:
    """Command line and Python of an edit."""
    own = _asked(order, "emotion", "whole")
    words = ["mimique", "edit", PHOTO, "--emotion", in_text(order.emotion), *_options(own), *(["--mark"] if mark else [])]
    given = {**own, "region": box_or_parts(order.region)} if "region" in own else own
    call = f"edited = pipe.edit({PHOTO!r}, {_arguments({'emotion': order.emotion, **given})})\n"
    return shlex.join([*words, *_weights(weights)]), _pipe(weights) + call


def read_again(order: ReadOrder) -> tuple[str, str]:
    """Command line and Python of a reading."""
    own = _asked(order)
    words = ["mimique", "read", PHOTO, "--out", "faces.csv", *_options(own)]
    shown = {name: value for name, value in own.items() if name not in ("every", "explain")}
    every = f", every={order.every}" if order.every != 1 else ""
    reader = f"import mimique\n\nreader = mimique.FaceAnalyzer.from_pretrained({_arguments(shown)})\n"
    return shlex.join(words), reader + f"faces = reader.analyze({PHOTO!r}{every})\n"


def dataset_again(order: DatasetOrder, weights: str) -> tuple[str, str]:
    """Command line and Python of a data set."""
    own = _asked(order, "per_emotion", "counts")
    amount = ["--per-emotion", str(order.per_emotion)]
    if order.counts:
        amount = ["--counts", ",".join(f"{name}:{count}" for name, count in order.counts.items())]
    words = ["mimique", "dataset", *amount, "--out", SET, *_options(own), *_weights(weights)]
    given = {"counts": order.counts} if order.counts else {"per_emotion": order.per_emotion}
    return shlex.join(words), _pipe(weights) + f"pipe.dataset({SET!r}, {_arguments({**given, **own})})\n"


def in_text(emotion: Any) -> str:
    """An emotion as the command line takes it: ``"fear:0.7,surprise:0.3"``."""
    if isinstance(emotion, str):
        return emotion
    shares = emotion if isinstance(emotion, Mapping) else dict(zip(EMOTION_NAMES, emotion, strict=False))
    return ",".join(f"{name}:{share:.6g}" for name, share in shares.items() if share)


def box_or_parts(region: str) -> str | tuple[float, ...]:
    """``"mouth,eyes"`` as it is, ``"120,80,60,40"`` as four numbers."""
    try:
        return tuple(float(part) for part in region.split(","))
    except ValueError:
        return region


def several(emotion: Any) -> bool:
    """Whether it is a list of emotions, one a face; seven numbers are one."""
    return isinstance(emotion, tuple) and any(not isinstance(each, int | float) for each in emotion)


def _runs(order: FacesOrder) -> list[tuple[Any, int | None, int, float]]:
    """Emotion, count, seed and intensity of each command that it takes."""
    mine = (order.seed, order.intensity, order.emotion if several(order.emotion) else None)
    lists = [values for values in mine if isinstance(values, tuple)]
    if not lists:
        return [(order.emotion, order.count, order.seed, order.intensity)]  # type: ignore[list-item]
    number = min(map(len, lists))
    emotions = order.emotion if several(order.emotion) else (order.emotion,) * number
    seeds = order.seed if isinstance(order.seed, tuple) else range(order.seed, order.seed + number)
    levels = order.intensity if isinstance(order.intensity, tuple) else (order.intensity,) * number
    return [(e, 1, s, i) for e, s, i in zip(emotions, seeds, levels, strict=False)]


def _asked(order: StrictModel, *leave_out: str) -> dict[str, Any]:
    """What an order says besides its defaults."""
    fields = type(order).model_fields
    return {
        name: value
        for name, value in ((name, getattr(order, name)) for name in fields)
        if name not in leave_out and value != fields[name].default
    }


def _options(asked: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in asked.items():
        if value is True:
            words.append(option(name))
        elif value is not False:
            shown = in_text(value) if name == "avoid" else value
            words += [option(name), *(map(str, shown) if isinstance(shown, tuple) else [str(shown)])]
    return words


def _arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={list(value) if isinstance(value, tuple) else value!r}" for name, value in given.items())


def _weights(weights: str) -> list[str]:
    return [] if weights == "pretrained" else ["--weights", WEIGHTS]


def _pipe(weights: str) -> str:
    return _PIPE.format("" if weights == "pretrained" else repr(WEIGHTS))
