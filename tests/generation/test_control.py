"""What can be asked for beyond one emotion: mixtures, what to avoid, the same person, strips, help from the encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from configs.cli import UserError
from encoder.emotions import Emotion, one_hot, parse_distribution
from engine.storage.provenance import marked
from generation.people import STEPS, between, least_changed
from generation.pipeline import FacePipeline
from generation.sample import main
from generation.strip import interpolate, parse_path
from generation.verify import Verdict, judge


def test_what_is_avoided_costs_match() -> None:
    read = parse_distribution("fear:0.6,sadness:0.3,surprise:0.1")
    fear = one_hot(Emotion.FEAR)
    assert judge(fear, read, 0.5).accepted
    refused = judge(fear, read, 0.5, parse_distribution("sadness:1,anger:5"))
    assert refused.match == pytest.approx(0.3)
    assert not refused.accepted


def test_an_avoided_emotion_is_read_less(shipped: FacePipeline) -> None:
    settings = {"intensity": 0.7, "steps": 8, "source": "fer2013"}
    requests = [shipped.request("fear", 12, 0, avoid=avoid, **settings) for avoid in (None, "surprise")]
    read = [[face.verdict.distribution[Emotion.SURPRISE] for face in shipped.draw_all(request).faces] for request in requests]
    assert np.mean(read[1]) < np.mean(read[0])


def test_one_seed_is_one_person_with_identity(shipped: FacePipeline) -> None:
    def border(identity: bool) -> float:
        """How much hair and background differ between two emotions of the same seeds."""
        one, two = (
            shipped.draw_all(shipped.request(emotion, 4, 0, identity=identity, steps=6)).faces
            for emotion in ("happiness", "surprise")
        )
        pairs = [(a.image[:6].astype(float), b.image[:6].astype(float)) for a, b in zip(one, two, strict=True)]
        return float(np.mean([abs(a - b).mean() for a, b in pairs]))

    assert border(identity=True) < 0.5 * border(identity=False)


def test_a_person_does_not_depend_on_the_batch(pipe: FacePipeline) -> None:
    settings = {"identity": True, "steps": 4, "encoder_guidance": 2.0, "candidates": 2}
    request = pipe.request("fear", 5, 3, **settings)
    one, five = (pipe.draw_all(request, batch_size=size) for size in (1, 5))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one.faces, five.faces, strict=True))


def test_the_encoder_guides_towards_its_own_reading(shipped: FacePipeline) -> None:
    requests = [shipped.request("sadness", 6, 0, encoder_guidance=each, candidates=4, steps=6) for each in (0.0, 4.0)]
    matches = [[face.verdict.match for face in shipped.draw_all(request).faces] for request in requests]
    assert np.mean(matches[1]) > np.mean(matches[0])


def test_steps_between_emotions_are_even() -> None:
    emotions = interpolate(parse_path("happiness:fear"), 5)
    assert emotions[0] == one_hot(Emotion.HAPPINESS)
    assert emotions[-1] == one_hot(Emotion.FEAR)
    assert [emotion[Emotion.FEAR] for emotion in emotions] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    through = interpolate(parse_path("sadness:neutral:awed"), 5)
    assert through[2] == one_hot(Emotion.NEUTRAL)
    assert through[-1] == parse_distribution("awed")


def test_the_ends_of_a_strip_show_their_emotions(shipped: FacePipeline) -> None:
    strip = shipped.strip("happiness:surprise", 4, 2, 1, steps=8)
    assert [len(row) for row in strip.rows] == [4, 4]
    for row in strip.rows:
        assert row[0].verdict.top is Emotion.HAPPINESS
        assert row[-1].verdict.top is Emotion.SURPRISE
        assert len({(face.seed, face.tries) for face in row}) == 1
    assert np.array_equal(shipped.strip("happiness:surprise", 4, 1, 2, steps=8).rows[0][2].image, strip.rows[1][2].image)


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("happiness", {}, "from one emotion to another"),
        ("joy:fera", {}, "did you mean 'fear'"),
        ("fear:joy", {"frames": 1}, "frames must lie between"),
        ("fear:joy", {"frames": 102}, "frames must lie between"),
        ("fear:joy", {"best_of": 3}, "^best_of: "),
    ],
)
def test_bad_strips_are_refused(pipe: FacePipeline, path: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipe.strip(path, **settings)


def test_rows_finished_before_ctrl_c_are_kept(pipe: FacePipeline) -> None:
    def stop(rows: int, asked: int, tried: int) -> None:
        if rows == 2:
            raise KeyboardInterrupt

    strip = pipe.strip("fear:joy", 3, 5, steps=2, progress=stop)
    assert len(strip.rows) == 2


def test_the_command_writes_a_strip_with_its_provenance(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "strip"
    options = ["--frames", "3", "--count", "2", "--seed", "4", "--steps", "2", "--size", "40", "--mark", "--device", "cpu"]
    assert main(["--strip", "joie:peur", "--weights", str(weights), "--out", str(out), *options]) == 0
    assert "6 faces" in capsys.readouterr().out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["request"]["strip"] == "joie:peur"
    assert manifest["pictures"] == {"size": 40, "mark": True}
    assert [face["seed"] for face in manifest["faces"]] == [4, 4, 4, 5, 5, 5]
    assert manifest["faces"][1]["asked"]["fear"] == 0.5
    assert {path.name for path in out.iterdir()} == {"manifest.json", "strip.png", *(face["file"] for face in manifest["faces"])}
    for name in ("strip.png", manifest["faces"][4]["file"]):
        with Image.open(out / name) as picture:
            assert picture.text["AI-generated"] == "true"
            assert picture.text["Seed"]
            assert json.loads(picture.text["Settings"])["steps"] == 2
            assert manifest["weights_sha256"]["prior"] in picture.text["Weights SHA-256"]


def test_emotion_and_strip_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--emotion", "fear", "--strip", "fear:joy"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (900, 300)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_mark_is_visible_at_every_size(size: tuple[int, int], mode: str) -> None:
    picture = Image.new(mode, size, 128 if mode == "L" else (128, 128, 128))
    pixels = np.asarray(marked(picture).convert("L"))
    assert np.asarray(picture.convert("L")).std() == 0
    changed = pixels != 128
    assert changed[-1, 0]
    assert (pixels > 200).any()
    assert changed.mean() < 0.8


def two_faces(colour: FacePipeline, count: int) -> tuple[Tensor, Tensor]:
    """Tokens of people, and of the same with all codes of the expression drawn by lot."""
    config, lot = colour.tokenizer.config, torch.Generator().manual_seed(3)
    shape = count, config.grid**2, config.groups
    known, other = (torch.randint(config.codebook_size, shape, generator=lot) for _ in range(2))
    return known, torch.where(colour.expression_mask()[None, :, None], other, known)


def test_the_mouth_goes_all_the_way_and_the_rest_a_part_of_it(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 4)
    mask = colour.expression_mask()
    none, half, full = (between(colour.tokenizer, known, drawn, upper) for upper in (0.0, 0.5, 1.0))
    assert torch.equal(full, drawn)
    for each in (none, half):
        assert torch.equal(each[:, ~mask], known[:, ~mask])
    mouth = (none == drawn).all(dim=2).all(dim=0)
    upper = mask & ~mouth
    assert mouth[mask].any()
    assert upper.any()
    assert torch.equal(none[:, upper], known[:, upper])
    # A code between two others is neither, or the nearer of them.
    assert (half[:, upper] != known[:, upper]).any()
    assert (half[:, upper] != drawn[:, upper]).any()


def test_the_least_is_taken_that_is_read_nearly_the_same(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 5)
    read_as_fear = torch.stack([between(colour.tokenizer, known, drawn, upper) for upper in (*STEPS, 1.0)])
    asked = list[list[int]]()

    def read(made: Tensor, numbers: Sequence[int]) -> list[Verdict]:
        """Face n shows fear from the step n on; the last is never accepted, and read alike at every step."""
        step = len(STEPS) if not asked else len(asked) - 1
        asked.append(list(numbers))
        said = []
        for face, number in zip(made, numbers, strict=True):
            assert torch.equal(read_as_fear[step][number], face)
            fear = 0.3 if number == 4 else 0.9 if step >= number else 0.6
            shares = np.full(7, (1 - fear) / 6)
            shares[Emotion.FEAR] = fear
            said.append(Verdict(tuple(shares.tolist()), Emotion.FEAR, fear, fear > 0.5))
        return said

    best = least_changed(colour.tokenizer, known, drawn, read)
    for number, step in enumerate((0, 1, 2, 3, 0)):
        assert torch.equal(best[number], read_as_fear[step][number]), number
    # Who has been found is not read again.
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [1, 2, 3], [2, 3]]


def test_one_that_is_accepted_is_not_given_up_for_one_that_is_not(colour: FacePipeline) -> None:
    known, drawn = two_faces(colour, 1)
    said = iter([0.55, 0.45, 0.45, 0.45])

    def read(made: Tensor, numbers: Sequence[int]) -> list[Verdict]:
        fear = next(said)
        return [Verdict((fear, 1 - fear, 0, 0, 0, 0, 0), Emotion.FEAR, fear, fear > 0.5)]

    assert torch.equal(least_changed(colour.tokenizer, known, drawn, read), drawn)
