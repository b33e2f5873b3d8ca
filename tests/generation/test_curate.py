"""Drawn faces that are kept for a prior to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.emotions import Emotion
from generation.curate.__main__ import main
from generation.curate.choose import Chosen, _as_told, _Room, choose_faces
from generation.pipeline import FacePipeline
from generation.settle import attributes_of
from vqvae.attributes import ATTRIBUTES
from vqvae.faces import SOURCES
from vqvae.tokens.packed import unpack

FREE = {"threshold": 0.0, "landmarks": "off"}


def test_first_draws_that_nobody_refuses_are_kept_with_what_was_told(colour: FacePipeline, likely_in_colour: str) -> None:
    emotion, chosen, steps = Emotion[likely_in_colour.upper()], Chosen(), list[int]()
    choose_faces(colour, emotion, chosen, count=9, most=200, seed=40, batch_size=8, told=steps.append, realism=0.5, **FREE)
    assert len(chosen) == chosen.count(emotion) == sum(steps) == 9
    drawn = chosen.drawn[emotion]
    assert drawn % 8 == 0
    request = colour.request(likely_in_colour, drawn, 40, realism=0.5, **FREE)
    settled, room = colour.settled(request), _Room(9, colour.attributes)
    good = [face for face in colour.draw_all(request).faces if face.refused is None]
    passed = [face for face in good if room.takes(attributes_of(settled, [face.seed], colour.attributes)[0])]
    assert len(passed) == 9 < drawn
    store = chosen.store()
    painted = colour.pixels(torch.from_numpy(store.tokens[0].astype(np.int64))).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(painted, np.stack([face.image for face in passed]))
    np.testing.assert_array_equal(store.tokens[0], store.tokens[1])
    assert (store.labels.argmax(axis=1) == emotion).all()
    assert (store.sources == SOURCES.index("photo")).all()
    rows = attributes_of(settled, [face.seed for face in passed], colour.attributes)
    np.testing.assert_array_equal(store.attributes, rows)


def test_half_are_of_each_gender_and_a_quarter_may_be_children() -> None:
    names, room = ("hands", "gender", "age"), _Room(8, ("hands", "gender", "age"))
    woman, man, boy = ([0, ATTRIBUTES["gender"].index(g), ATTRIBUTES["age"].index(a)] for g, a in
                       (("female", "30-39"), ("male", "30-39"), ("male", "3-9")))  # fmt: skip
    taken = [room.takes(np.array(row)) for row in (boy, boy, boy, man, man, man, woman, woman, woman, woman, woman)]
    assert taken == [True, True, False, True, True, False, True, True, True, True, False]
    assert [_as_told(np.array(man), found, names) for found in ("male", "female")] == [True, False]
    assert _as_told(np.array(boy), "female", names)
    free = _Room(2, ())
    assert [free.takes(np.array([])) for _ in range(3)] == [True, True, False]


def test_it_ends_where_too_few_are_good_enough(colour: FacePipeline) -> None:
    chosen = Chosen()
    choose_faces(colour, Emotion.FEAR, chosen, count=5, most=20, seed=0, batch_size=8, realism=1.0, landmarks="off")
    assert chosen.drawn[Emotion.FEAR] == 20
    assert len(chosen) < 5


def test_the_program_writes_what_training_takes(
    colour_weights: Path, likely_in_colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import generation.curate.choose as choose

    make = choose.make_request
    monkeypatch.setattr(choose, "make_request", lambda *given, **named: make(*given, **{**named, **FREE}))
    out = tmp_path / "chosen.safetensors"
    asked = ["--weights", str(colour_weights), "--per-emotion", "3", "--realism", "0.2", "--out", str(out), "--quiet"]
    assert main([*asked, "--emotions", likely_in_colour]) == 0
    pipe = FacePipeline.from_pretrained(colour_weights)
    store = unpack(out, pipe.tokenizer.config, pipe.tokenizer.encoding_sha256(), len(pipe.attributes))
    assert len(store) == 3
    with pytest.raises(UserError, match="is there already"):
        main([*asked, "--emotions", likely_in_colour])
    monkeypatch.setattr(choose, "make_request", make)
    with pytest.raises(UserError, match="no face was good enough"):
        main([*asked, "--overwrite", "--emotions", "disgust", "--most", "1", "--realism", "1"])
    # What is there is kept.
    assert len(unpack(out, pipe.tokenizer.config, pipe.tokenizer.encoding_sha256(), len(pipe.attributes))) == 3


def test_weights_without_a_critic_cannot_choose(tmp_path: Path, photo_weights) -> None:  # type: ignore[no-untyped-def]
    folder = photo_weights(tmp_path / "plain", critic=False)
    with pytest.raises(UserError, match="has no critic that could choose"):
        main(["--weights", str(folder), "--per-emotion", "2", "--out", str(tmp_path / "x.safetensors")])
