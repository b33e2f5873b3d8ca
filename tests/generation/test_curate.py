"""Drawn faces that are kept for a prior to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion
from generation.curate.__main__ import main
from generation.curate.choose import Chosen, _as_told, _Room, choose_faces, white_share
from generation.curate.real import choose_real
from generation.curate.sitters import Sitters
from generation.pipeline import FacePipeline
from generation.settle import attributes_of
from vqvae.attributes import ATTRIBUTES, NOT_TOLD
from vqvae.faces import SOURCES
from vqvae.tokens.packed import unpack
from vqvae.tokens.store import TokenStore

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
    painted = paint(colour, store)
    # Nine are painted at once here and eight there: the last bit of a sum may differ, and so a value by one.
    np.testing.assert_allclose(painted.astype(int), np.stack([face.image for face in passed]).astype(int), atol=1)
    np.testing.assert_array_equal(store.tokens[0], store.tokens[1])
    assert (store.labels.argmax(axis=1) == emotion).all()
    assert (store.sources == SOURCES.index("photo")).all()
    rows = attributes_of(settled, [face.seed for face in passed], colour.attributes)
    np.testing.assert_array_equal(store.attributes, rows)


def paint(colour: FacePipeline, store: TokenStore) -> NDArray[np.uint8]:
    return colour.pixels(torch.from_numpy(store.tokens[0].astype(np.int64))).permute(0, 2, 3, 1).numpy()


class ReadsBrightness:
    """A gender model: bright faces are a man's for sure, dark ones perhaps a woman's."""

    crop = None

    def predict(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        bright = (faces.reshape(len(faces), -1).mean(axis=1) > MIDDLE).astype(np.float32)
        return np.stack([0.6 - 0.6 * bright, 0.4 + 0.6 * bright], axis=1)


MIDDLE = 118


def test_real_faces_that_nobody_refuses_are_kept_with_both_sides(colour: FacePipeline, likely_in_colour: str) -> None:
    emotion, config, rng = Emotion[likely_in_colour.upper()], colour.tokenizer.config, np.random.default_rng(0)
    tokens = rng.integers(config.codebook_size, size=(2, 40, config.grid**2, config.groups)).astype(np.int16)
    labels = np.zeros((40, 7), np.float32)
    labels[:30, emotion], labels[30:35, (emotion + 1) % 7] = 1, 1
    tokens[:, 20:25] = tokens[:, 25:30]  # the same face twice
    attributes = np.full((40, len(colour.attributes)), NOT_TOLD, np.int8)
    gender = colour.attributes.index("gender")
    attributes[:3, gender] = 1
    store, chosen = TokenStore(tokens, labels, np.zeros(40, np.int8), attributes=attributes), Chosen()
    choose_real(colour, emotion, store, chosen, count=99, seed=3, batch_size=8, gender=ReadsBrightness(), realism=0.0, **FREE)
    kept = chosen.store()
    assert chosen.drawn[emotion] == 30
    assert 3 < len(kept) <= 25
    # Those without a label, or with another one, are not asked.
    rows = [int(np.flatnonzero((tokens[0] == grid).all(axis=(1, 2)))[0]) for grid in kept.tokens[0]]  # the first of twins
    assert len(set(rows)) == len(rows)
    assert max(rows) < 30
    np.testing.assert_array_equal(kept.tokens, tokens[:, rows])
    np.testing.assert_array_equal(kept.labels, labels[rows])
    assert (kept.sources == SOURCES.index("photo")).all()
    bright = paint(colour, kept).reshape(len(kept), -1).mean(axis=1) > MIDDLE
    assert 0 < bright.sum() < len(bright)
    told = [1 if row < 3 else 1 if man else NOT_TOLD for row, man in zip(rows, bright, strict=True)]
    assert kept.attributes[:, gender].tolist() == told
    few = Chosen()
    choose_real(colour, emotion, store, few, count=3, seed=3, batch_size=8, realism=0.0, **FREE)
    np.testing.assert_array_equal(few.store().tokens, kept.tokens[:, :3])


def test_pictures_with_too_much_light_are_left_out(colour: FacePipeline, likely_in_colour: str) -> None:
    light = np.zeros((4, 4, 3), np.uint8)
    light[0], light[1] = 250, (250, 250, 20)
    assert white_share(light) == 0.25
    assert white_share(light[..., 0]) == 0.5
    emotion, chosen = Emotion[likely_in_colour.upper()], Chosen()
    choose_faces(colour, emotion, chosen, count=6, most=200, seed=40, realism=0.0, **FREE)
    shares = [white_share(image) for image in paint(colour, chosen.store())]
    bar = float(np.median(shares))
    few = Chosen()
    choose_faces(colour, emotion, few, count=6, most=64, seed=40, realism=0.0, burnt=bar, **FREE)
    assert all(white_share(image) <= bar for image in paint(colour, few.store()))
    store, again = chosen.store(), Chosen()
    choose_real(colour, emotion, store, again, count=6, seed=0, realism=0.0, burnt=bar, **FREE)
    assert 0 < len(again) <= sum(share <= bar for share in shares)


def photographs(colour: FacePipeline, count: int) -> TokenStore:
    """Photographs of women and men in turn; the last five have hands, no known gender, or are grey."""
    config, rng = colour.tokenizer.config, np.random.default_rng(5)
    tokens = rng.integers(config.codebook_size, size=(2, count, config.grid**2, config.groups)).astype(np.int16)
    attributes = np.full((count, len(colour.attributes)), NOT_TOLD, np.int8)
    attributes[:, colour.attributes.index("gender")] = np.arange(count) % 2
    attributes[-5:-3, colour.attributes.index("hands")] = ATTRIBUTES["hands"].index("yes")
    attributes[-3, colour.attributes.index("gender")] = NOT_TOLD
    sources = np.full(count, SOURCES.index("photo"), np.int8)
    sources[-2:] = SOURCES.index("fer2013")
    return TokenStore(tokens, np.full((count, 7), 1 / 7, np.float32), sources, attributes=attributes)


def test_people_of_photographs_lend_all_but_the_expression(colour: FacePipeline, likely_in_colour: str) -> None:
    emotion, store, chosen = Emotion[likely_in_colour.upper()], photographs(colour, 45), Chosen()
    sitters = Sitters(colour, store, 0)
    assert len(sitters) == 40
    choose_faces(
        colour, emotion, chosen, count=99, most=200, seed=9, batch_size=16, sitters=sitters, realism=0.0, **FREE
    )  # each photograph once at most
    assert chosen.drawn[emotion] == 40
    kept, stays = chosen.store(), ~colour.expression_mask().numpy()
    assert 0 < stays.sum() < len(stays)
    found = [np.argwhere((store.tokens[:, :, stays] == grid[stays]).all(axis=(2, 3)))[0] for grid in kept.tokens[0]]
    ways, rows = np.transpose(found).tolist()
    assert len(set(rows)) == len(rows) > 0
    assert max(rows) < 40
    # Some as they are, some mirrored.
    assert set(ways) == {0, 1}
    drawn = kept.tokens[0][:, ~stays] != store.tokens[ways, rows][:, ~stays]
    assert drawn.mean() > 0.7
    np.testing.assert_array_equal(kept.tokens[0], kept.tokens[1])
    assert (kept.labels.argmax(axis=1) == emotion).all()
    told = store.attributes[rows]
    for name, value in (("hands", "no"), ("eyes", "open")):
        told[:, colour.attributes.index(name)] = ATTRIBUTES[name].index(value)
    np.testing.assert_array_equal(kept.attributes, told)
    with pytest.raises(UserError, match="no photograph of known gender"):
        Sitters(
            colour, TokenStore(store.tokens[:, -5:], store.labels[-5:], store.sources[-5:], attributes=store.attributes[-5:]), 0
        )


def test_a_part_of_the_expression_is_borrowed_from_real_faces(colour: FacePipeline) -> None:
    store, mask = photographs(colour, 45), colour.expression_mask().numpy()
    store.labels[:] = 0
    store.labels[:, Emotion.HAPPINESS] = 1
    store.labels[[2, 43, 44]] = np.eye(7, dtype=np.float32)[Emotion.FEAR]
    # A row too vague, and one with hands.
    store.labels[3] = 0.3 * np.eye(7, dtype=np.float32)[Emotion.FEAR] + 0.1
    store.labels[41] = store.labels[2]
    sitters = Sitters(colour, store, 0, 0.5)
    told, tokens, hidden = sitters.batch(0, 16, Emotion.FEAR)
    assert told.shape == (16, len(colour.attributes))
    assert hidden.sum() == mask.sum() - round(0.5 * mask.sum())
    assert not hidden[~mask].any()
    borrowed = mask & ~hidden.numpy()
    lent = store.tokens[:, [2, 43, 44]].reshape(-1, *store.tokens.shape[2:])[:, borrowed]
    for grid in tokens.numpy():
        assert (lent == grid[borrowed]).all(axis=(1, 2)).any()
    assert len(np.unique(tokens.numpy()[:, borrowed], axis=0)) > 2
    again = sitters.batch(0, 16, Emotion.FEAR)
    assert torch.equal(again[1], tokens)
    assert torch.equal(again[2], hidden)
    assert sitters.batch(16, 16, Emotion.FEAR)[2].tolist() != hidden.tolist()
    with pytest.raises(UserError, match="--borrow: no face of --tokens clearly shows disgust"):
        sitters.batch(0, 16, Emotion.DISGUST)


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
    import generation.curate.real as real

    make = choose.make_request
    for each in (choose, real):
        monkeypatch.setattr(each, "make_request", lambda *given, **named: make(*given, **{**named, **FREE}))
    out = tmp_path / "chosen.safetensors"
    asked = [
        "--weights",
        str(colour_weights),
        "--per-emotion",
        "3",
        "--realism",
        "0.2",
        "--burnt",
        "1",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main([*asked, "--emotions", likely_in_colour]) == 0
    pipe = FacePipeline.from_pretrained(colour_weights)
    store = unpack(out, pipe.tokenizer.config, pipe.tokenizer.encoding_sha256(), len(pipe.attributes))
    assert len(store) == 3
    with pytest.raises(UserError, match="is there already"):
        main([*asked, "--emotions", likely_in_colour])
    # What was kept can be chosen among again, as real faces can.
    again = [*asked[:-3], "--out", str(tmp_path / "again.safetensors"), "--quiet", "--tokens", str(out)]
    assert main([*again, "--emotions", likely_in_colour]) == 0
    with pytest.raises(UserError, match="--cooled: nothing is drawn with --tokens"):
        main([*again, "--cooled", "1"])
    with pytest.raises(UserError, match="--redraw: needs photographs"):
        main([*asked, "--redraw"])
    redrawn = [*asked[:-3], "--out", str(tmp_path / "redrawn.safetensors"), "--quiet", "--tokens", str(out), "--redraw"]
    assert main([*redrawn, "--emotions", likely_in_colour, "--temperature", "1"]) in (0, 3)
    with pytest.raises(UserError, match="--borrow: no face of --tokens clearly shows"):
        main([*redrawn, "--overwrite", "--borrow", "0.5", "--emotions", ",".join((likely_in_colour, *EMOTION_NAMES))])
    with pytest.raises(UserError, match="--borrow: must be between 0 and 1"):
        main([*redrawn, "--borrow", "1.5"])
    with pytest.raises(UserError, match="--borrow: goes with --redraw"):
        main([*asked, "--overwrite", "--borrow", "0.5"])
    monkeypatch.setattr(choose, "make_request", make)
    with pytest.raises(UserError, match="no face was good enough"):
        main([*asked, "--overwrite", "--emotions", "disgust", "--most", "1", "--realism", "1"])
    # What is there is kept.
    assert len(unpack(out, pipe.tokenizer.config, pipe.tokenizer.encoding_sha256(), len(pipe.attributes))) == 3


def test_weights_without_a_critic_cannot_choose(tmp_path: Path, photo_weights) -> None:  # type: ignore[no-untyped-def]
    folder = photo_weights(tmp_path / "plain", critic=False)
    with pytest.raises(UserError, match="has no critic that could choose"):
        main(["--weights", str(folder), "--per-emotion", "2", "--out", str(tmp_path / "x.safetensors")])
