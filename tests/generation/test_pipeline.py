"""The pipeline: reproducible faces, honest counts, parts that belong together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.inference.graph_copy import GraphCopy
from generation.pipeline import FacePipeline
from vqvae.tokenizer import Tokenizer

EASY = {"threshold": 0.0, "steps": 4}


def test_a_face_depends_on_its_seed_alone(pipe: FacePipeline, likely: str) -> None:
    batch = pipe(likely, 8, 3, batch_size=8, max_tries=200, **EASY)
    assert batch.complete
    for size in (1, 3):
        other = pipe(likely, 8, 3, batch_size=size, max_tries=200, **EASY)
        assert [face.tries for face in other.faces] == [face.tries for face in batch.faces]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(batch.faces, other.faces, strict=True))
    alone = pipe(likely, 1, 8, max_tries=200, **EASY)
    assert np.array_equal(alone.faces[0].image, batch.faces[5].image)


@pytest.mark.parametrize("more", [{}, {"guidance": 0.0}, {"avoid": "disgust"}, {"encoder_guidance": 4.0, "candidates": 2}])
def test_bf16_draws_nearly_the_same_faces_and_reads_them_in_float32(pipe: FacePipeline, more: dict) -> None:
    settings = {"steps": 8, "threshold": 0.0, "max_tries": 1, **more}
    exact, fast = (
        pipe.draw_all(pipe.request("fear", 24, 0, precision=precision, **settings)) for precision in ("float32", "bf16")
    )
    same = np.mean([np.array_equal(a.image, b.image) for a, b in zip(exact.faces, fast.faces, strict=True)])
    assert 0.5 < same < 1.0
    read = pipe.encoder.predict(np.stack([face.image for face in fast.faces])).distributions
    torch.testing.assert_close(torch.tensor([face.verdict.distribution for face in fast.faces]), read, atol=1e-5, rtol=1e-4)
    assert fast.request.as_record()["precision"] == "bf16"


def test_only_refused_faces_are_drawn_again(pipe: FacePipeline, likely: str) -> None:
    batch = pipe(likely, 6, 0, max_tries=200, **EASY)
    assert batch.tried == sum(face.tries for face in batch.faces)
    assert all(face.verdict.accepted for face in batch.faces)
    assert all(face.verdict.top.label == likely for face in batch.faces)


def test_the_best_of_several_draws_is_kept(pipe: FacePipeline, likely: str) -> None:
    settings = {"threshold": 0.0, "max_tries": 60, "steps": 2}
    one, best = (pipe(likely, 4, 0, best_of=number, **settings) for number in (1, 12))
    assert best.complete
    for index, (first, face) in enumerate(zip(one.faces, best.faces, strict=True)):
        request = pipe.request(likely, 1, index, **settings)
        drawn = [pipe.draw(request, [index], attempt)[0] for attempt in range(12)]
        matches = [other.verdict.match for other in drawn if other.verdict.accepted] or [face.verdict.match]
        assert face.verdict.match == pytest.approx(max(matches), abs=1e-6)
        assert face.verdict.match >= first.verdict.match - 1e-6 or face.tries > 12
    assert best.tried >= 4 * 12
    assert best.request.as_record()["best_of"] == 12
    alone = pipe(likely, 1, 2, best_of=12, batch_size=1, **settings).faces[0]
    assert np.array_equal(alone.image, best.faces[2].image)


def test_the_verdicts_are_about_the_delivered_images(pipe: FacePipeline, likely: str) -> None:
    batch = pipe(likely, 2, 0, max_tries=200, **EASY)
    assert [image.size for image in batch.images] == [(16, 16)] * 2
    read = pipe.encoder.predict(np.stack([np.asarray(image) for image in batch.images])).distributions
    torch.testing.assert_close(torch.tensor([verdict.distribution for verdict in batch.verdicts]), read, atol=1e-5, rtol=1e-4)


def test_verdicts_are_pytorchs_so_that_faces_are_the_same_where_onnx_runtime_is_not(
    pipe: FacePipeline, likely: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphCopy, "of", lambda *_: pytest.fail("verified through ONNX Runtime"))
    for seed in (0, 50, 900):
        batch = pipe(likely, 3, seed, max_tries=200, **EASY)
        images = np.stack([face.image for face in batch.faces])
        read = pipe.encoder.predict(images, runtime="pytorch").distributions
        torch.testing.assert_close(torch.tensor([face.verdict.distribution for face in batch.faces]), read, atol=1e-6, rtol=1e-5)


def test_every_try_draws_another_face(pipe: FacePipeline) -> None:
    request = pipe.request("fear", 1, 0, **EASY)
    tries = [pipe.pixels(pipe.draw_tokens(request, [request.emotion], [0], attempt)).numpy().tobytes() for attempt in range(6)]
    assert len(set(tries)) > 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"emotion": "fera"}, "did you mean 'fear'"),
        ({"count": 0}, "count"),
        ({"guidance": -1.0}, "guidance"),
        ({"guidence": 1.0}, "guidance"),
        ({"intensity": 2.0}, "intensity"),
        ({"threshold": 1.5}, "threshold"),
        ({"batch_size": 0}, "batch_size"),
        ({"emotion": [0.5] * 7}, "sum to 1"),
        ({"best_of": 3, "max_tries": 2}, "need a max_tries as high, got 2"),
        ({"emotion": "happily surprised", "avoid": "surprise"}, "surprise is asked for and to be avoided"),
        ({"intensity": 0.5, "avoid": "neutral"}, "neutral is asked for"),
        ({"avoid": "sadnes"}, "did you mean 'sadness'"),
    ],
)
def test_bad_requests_are_refused_by_name(pipe: FacePipeline, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipe(**{"emotion": "fear", "count": 1, **settings})


@pytest.mark.parametrize("part", ["encoder", "tokenizer", "prior", "other tokens"])
def test_parts_that_are_missing_or_do_not_belong_together_are_named(weights: Path, tmp_path: Path, part: str) -> None:
    folder = shutil.copytree(weights, tmp_path / "mixed")
    if part == "other tokens":
        torch.manual_seed(99)
        Tokenizer(Tokenizer.from_pretrained(weights / "tokenizer").config).save_pretrained(folder / "tokenizer")
    else:
        shutil.rmtree(folder / part)
    with pytest.raises(UserError, match="does not make" if part == "other tokens" else part):
        FacePipeline.from_pretrained(folder)
