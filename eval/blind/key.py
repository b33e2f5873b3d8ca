"""Which face of each pair is whose: drawn by a seed, kept apart from what raters see, and known to be unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from configs.cli import UserError
from engine.storage.atomic import write_json
from eval.blind.faces import BlindFace, Side
from generation.files import made_now

KEY = "key.json"
Name = Literal["A", "B"]


@dataclass(frozen=True)
class Pair:
    """Two faces of which the same was asked, and whose stands on the left."""

    emotion: str
    a: BlindFace
    b: BlindFace
    left: Name

    @property
    def shown(self) -> tuple[BlindFace, BlindFace]:
        """Left, right."""
        return (self.a, self.b) if self.left == "A" else (self.b, self.a)


@dataclass(frozen=True)
class Key:
    """What scoring needs to know of the pairs.

    Attributes:
        name: of these pairs, for their answers. folders: of A and B. emotion, left: of each pair.
        ties: whether one may answer that one cannot tell. content: the whole file.
    """

    name: str
    folders: tuple[str, str]
    emotion: tuple[str, ...]
    left: tuple[Name, ...]
    ties: bool
    content: Mapping[str, Any]


def draw_pairs(a: Side, b: Side, seed: int) -> list[Pair]:
    """Face i of A beside face i of B, in an order and on sides that the seed draws.

    In each emotion A stands as often on the left as on the right, once more on one of them where the number is odd: who likes
    one side better favours nobody.
    """
    rng, pairs = np.random.default_rng(seed), list[Pair]()
    for emotion, faces in a.faces.items():
        half, odd = divmod(len(faces), 2)
        left = np.repeat((True, False), half)
        left = rng.permutation(np.append(left, rng.random(odd) < 0.5))
        for one, other, first in zip(faces, b.faces[emotion], left, strict=True):
            pairs.append(Pair(emotion, one, other, "A" if first else "B"))
    return [pairs[place] for place in rng.permutation(len(pairs))]


def write_key(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what :func:`key_of` made, complete or not at all."""
    write_json(folder / KEY, content)


def key_of(a: Side, b: Side, pairs: list[Pair], *, seed: int, grey: int | None, ties: bool, command: str) -> dict[str, Any]:
    """The key as JSON. Its ``set`` is the digest of what follows it, by which answers and later changes are told.

    The same pairs made again have the same one.
    """
    facts: dict[str, Any] = {
        "seed": seed,
        "grey": grey,
        "ties": ties,
        **{
            name: {"folder": side.folder, "weights_sha256": side.weights, "requests": side.requests}
            for name, side in (("A", a), ("B", b))
        },
        "pairs": [
            {
                "pair": number,
                "emotion": pair.emotion,
                "left": pair.left,
                **{name: {"file": face.file, "sha256": face.sha256} for name, face in (("A", pair.a), ("B", pair.b))},
            }
            for number, pair in enumerate(pairs, 1)
        ],
    }
    return {**made_now(), "command": command, "set": _digest(facts), **facts}


def read_key(folder: Path) -> Key:
    """The key of the pairs that ``python -m eval.pairs make`` wrote there.

    Raises:
        UserError: there is none, or it was changed since.
    """
    path = folder / KEY
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        facts = {name: content[name] for name in ("seed", "grey", "ties", "A", "B", "pairs")}
        if content["set"] != _digest(facts):
            raise UserError(f"{path}: was changed since the pairs were made; bring back the file that was written then")
        folders = str(facts["A"]["folder"]), str(facts["B"]["folder"])
        emotion, left = zip(*((pair["emotion"], pair["left"]) for pair in facts["pairs"]), strict=True)
        return Key(content["set"], folders, emotion, left, facts["ties"], content)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: holds no {KEY} of python -m eval.pairs make") from None


def _digest(facts: Mapping[str, Any]) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
