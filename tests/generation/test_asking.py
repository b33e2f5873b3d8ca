"""How people ask in Python, and what they hold then: one thing a face, seeds in every form, batches that show themselves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion, as_distribution, one_hot
from generation.editing import NOT_FOR_EDITS
from generation.orders.per_face import make_order
from generation.pipeline import FacePipeline
from generation.request import ELSEWHERE, FaceRequest, FaceSettings

EASY: dict[str, Any] = {"threshold": 0.0, "steps": 2, "max_tries": 200}


@pytest.mark.parametrize(
    "asked",
    [
        *("fear", "peur", Emotion.FEAR, 2, np.int64(2), {"fear": 3}, {Emotion.FEAR: 0.5}, torch.tensor(2)),
        *((0, 0, 1, 0, 0, 0, 0), np.eye(7)[2], torch.eye(7)[2]),
    ],
    ids=repr,
)
def test_an_emotion_is_asked_for_in_many_forms(asked: Any) -> None:
    assert as_distribution(asked) == one_hot(Emotion.FEAR)
    assert make_order(asked, 2).request.emotion == one_hot(Emotion.FEAR)


def test_what_is_given_as_a_list_is_one_a_face(pipe: FacePipeline, likely: str) -> None:
    other = {likely: 0.9, "neutral" if likely != "neutral" else "anger": 0.1}
    batch = pipe([likely, other, likely], seed=[7, np.int64(3), 7], intensity=[1.0, 1.0, 0.9], **EASY)
    assert [face.seed for face in batch] == [7, 3, 7]
    for face, asked, level in zip(batch, (likely, other, likely), (1.0, 1.0, 0.9), strict=True):
        alone = pipe(asked, 1, face.seed, intensity=level, **EASY)
        assert np.array_equal(alone[0].image, face.image)
        assert alone.request.emotion == face.asked
    assert batch.complete
    assert make_order(np.eye(7)[:3]).emotions == tuple(one_hot(Emotion(number)) for number in range(3))


def test_a_generator_draws_a_new_seed_each_time() -> None:
    for make in (lambda seed: torch.Generator().manual_seed(seed), np.random.default_rng):
        one, same = make(5), make(5)
        seeds = [make_order("fear", 2, one).request.seed for _ in range(3)]
        assert seeds == [make_order("fear", 2, same).request.seed for _ in range(3)]
        assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"emotion": None}, r"emotion: cannot read None \(NoneType\); give a name, an Emotion, a mapping"),
        ({"emotion": 3.5}, "give a name, an Emotion"),
        ({"emotion": True}, "give a name, an Emotion"),
        ({"emotion": 9}, "9 .*is no emotion: give one of anger"),
        ({"emotion": ["fear", 3]}, "2 numbers are neither seven probabilities nor emotions"),
        ({"emotion": []}, "the list is empty"),
        ({"emotion": {"fear": "much"}}, "weight of 'fear' must be a number"),
        ({"emotion": {"fear": 0}}, "no emotion a weight above 0"),
        ({"emotion": {"fera": 1}}, "did you mean 'fear'"),
        ({"emotion": ["fear", "joy"], "avoid": "joy"}, "happiness is asked for and to be avoided"),
        ({"emotion": ["fear", "joy"], "count": 3}, "differ in number: emotion 2, count 3"),
        ({"seed": [1, 2], "intensity": [1.0]}, "differ in number"),
        ({"seed": "1"}, r"seed: give a whole number, a list of them, or a torch.Generator, got '1' \(str\)"),
        ({"seed": None}, "seed: give a whole number"),
        ({"seed": [1, -1]}, "seed: got -1"),
        ({"count": "3"}, "count: got '3'"),
        ({"intensity": "full"}, "intensity must lie between"),
        ({"intensity": [0.5, 2]}, "intensity must lie between"),
        ({"avoid": 3.5}, "avoid: cannot read 3.5"),
        ({"batch_size": "3"}, r"batch_size: must be a whole number, got '3' \(str\)"),
        ({"progress": 3}, "progress: give True, False or something to call"),
    ],
)
def test_wrong_types_are_refused_with_what_is_allowed(pipe: FacePipeline, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipe(**{"emotion": "fear", **given})


def test_every_setting_stands_in_the_signature() -> None:
    fields = FaceRequest.model_fields.keys() - {"emotion", "count", "seed"}
    assert set(FaceSettings.__annotations__) == fields | {"source"}
    for function, without in (
        (FacePipeline.__call__, set()),
        (FacePipeline.strip, {"best_of"}),
        (FacePipeline.edit, {*NOT_FOR_EDITS}),
        (FacePipeline.dataset, set()),
    ):
        shown = inspect.signature(function).parameters
        assert fields - without <= shown.keys()
        assert not without & shown.keys()
        assert all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in shown.values())
        assert shown["steps"].default == FaceRequest.model_fields["steps"].default


def test_a_callback_sees_every_step_and_a_switch_shows_a_bar(
    pipe: FacePipeline, likely: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, int, dict[str, Any]]] = []

    def look(given: FacePipeline, step: int, steps: int, state: dict[str, Any]) -> None:
        assert given is pipe
        seen.append((step, steps, state))

    batch = pipe(likely, 2, 5, threshold=0.0, steps=3, max_tries=200, progress=False, callback_on_step_end=look)
    assert capsys.readouterr().err == ""
    assert [step for step, _, _ in seen] == [0, 1, 2] * (len(seen) // 3)
    assert {steps for _, steps, _ in seen} == {3}
    hidden = [int(state["hidden"].sum()) for _, _, state in seen[:3]]
    assert hidden[0] > hidden[1] > hidden[2] == 0
    first = next(face for face in batch if face.tries == 1) if any(face.tries == 1 for face in batch) else None
    if first is not None:
        state = seen[2][2]
        painted = pipe.pixels(state["tokens"])[state["seeds"].index(first.seed), 0]
        assert np.array_equal(painted.numpy(), first.image)
    pipe(likely, 1, 5, progress=True, **EASY)
    assert "/1 [" in capsys.readouterr().err
    pipe.set_progress_bar_config(disable=True)
    pipe(likely, 1, 5, **EASY)
    assert capsys.readouterr().err == ""


def test_a_batch_is_a_sequence_that_shows_and_saves_itself(pipe: FacePipeline, likely: str, tmp_path: Path) -> None:
    batch = pipe(likely, 3, 4, **EASY)
    assert (len(batch), batch[0].seed, [face.seed for face in batch[1:]]) == (3, 4, [5, 6])
    assert batch[-1] is list(batch)[2]
    assert batch.grid(columns=2, size=32).size[0] < batch.grid(columns=3, size=32).size[0]
    assert "3 of 3 faces" in repr(batch)
    assert len(repr(batch)) < 160
    assert len(repr(batch[0])) < 80
    assert "data:image/png;base64," in batch._repr_html_()
    assert batch[0]._repr_png_().startswith(b"\x89PNG")
    table = batch.to_dataframe()
    assert list(table["seed"]) == [4, 5, 6]
    assert set(table["top"]) == {likely}
    assert table[list(EMOTION_NAMES)].sum(axis=1).to_numpy() == pytest.approx(1.0, abs=1e-4)
    manifest = batch.save(tmp_path / "faces")
    files = {path.name for path in (tmp_path / "faces").iterdir()}
    assert files == {"manifest.json", "contact_sheet.png", *(face["file"] for face in manifest["faces"])}
    with pytest.raises(UserError, match=r"manifest\.json: is there already; choose another folder, or .* with overwrite=True"):
        batch.save(tmp_path / "faces")
    (tmp_path / "faces" / "mine.txt").write_text("stays")
    batch.save(tmp_path / "faces", size=32, overwrite=True)
    assert {path.name for path in (tmp_path / "faces").iterdir()} == files | {"mine.txt"}
    with Image.open(tmp_path / "faces" / manifest["faces"][0]["file"]) as picture:
        assert picture.size == (32, 32)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        batch.save(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UserError, match="grid: needs 1 column or more"):
        batch.grid(columns=0)


def test_faces_of_one_seed_have_files_of_their_own_and_say_what_was_asked(
    pipe: FacePipeline, likely: str, tmp_path: Path
) -> None:
    pipe(likely, seed=[9, 9], intensity=[1.0, 0.95], **EASY).save(tmp_path / "two")
    stored = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert stored["request"]["seed"] == [9, 9]
    assert [face["asked"] for face in stored["faces"]] == stored["request"]["emotion"]
    assert stored["faces"][0]["asked"] != stored["faces"][1]["asked"] or likely == "neutral"
    assert len({face["file"] for face in stored["faces"]}) == 2
    for face in stored["faces"]:
        with Image.open(tmp_path / "two" / face["file"]) as picture:
            assert picture.info["Seed"] == "9"


def test_a_strip_saves_and_shows_itself(pipe: FacePipeline, tmp_path: Path) -> None:
    strip = pipe.strip("neutral:fear", 3, steps=2, max_tries=1)
    assert repr(strip).startswith("FaceStrip(neutral:fear: 1 of 1 rows of 3")
    assert "data:image/png" in strip._repr_html_()
    assert strip.save(tmp_path / "strip")["request"]["frames"] == 3
    assert (tmp_path / "strip" / "strip.png").is_file()


def test_an_empty_batch_says_so(pipe: FacePipeline) -> None:
    batch = pipe("disgust", 1, 0, threshold=1.0, steps=1, max_tries=1)
    assert len(batch) == 0
    assert "0 of 1 faces" in batch._repr_html_()
    assert batch.to_dataframe().empty
    with pytest.raises(UserError, match="no face was accepted"):
        batch.grid()


def test_a_verdict_is_read_by_name(pipe: FacePipeline) -> None:
    (face,) = pipe.draw_all(pipe.request("fear", 1, 0, steps=2)).faces
    verdict = face.verdict
    assert verdict["fear"] == verdict["peur"] == verdict[Emotion.FEAR] == verdict.distribution[2]
    assert list(verdict) == list(verdict.labels) == list(EMOTION_NAMES)
    assert sum(dict(verdict).values()) == pytest.approx(1.0, abs=1e-5)
    assert verdict[verdict.top] == max(verdict.values())
    assert verdict.get("nothing") is None
    assert "nothing" not in verdict
    with pytest.raises(UserError, match="unknown emotion 'fera': did you mean 'fear'"):
        verdict["fera"]
    assert verdict.to_dict() == {"top": verdict.top.label, "match": verdict.match, "accepted": verdict.accepted, **verdict}


def test_weights_are_saved_whole_and_load_again(
    pipe: FacePipeline, colour: FacePipeline, likely: str, tmp_path: Path, small_encoder: Callable[..., Any]
) -> None:
    pipe.save_pretrained(tmp_path / "grey")
    again = FacePipeline.from_pretrained(tmp_path / "grey")
    assert again.weights == pipe.weights
    assert again.device == pipe.device == torch.device("cpu")
    assert np.array_equal(again(likely, 1, 3, **EASY)[0].image, pipe(likely, 1, 3, **EASY)[0].image)
    with pytest.raises(UserError, match="is not empty"):
        pipe.save_pretrained(tmp_path / "grey")
    colour.save_pretrained(tmp_path / "colour")
    assert FacePipeline.from_pretrained(tmp_path / "colour").weights == colour.weights
    changed = FacePipeline(colour.encoder, colour.tokenizer, colour.prior, critic=colour.critic)
    with torch.no_grad():
        next(changed.prior.parameters()).add_(0.5)
    with pytest.raises(UserError, match="critic was trained on faces of another tokenizer or prior"):
        changed.save_pretrained(tmp_path / "changed")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda pipe: pipe.strip(3), "a strip: must be a path such as 'happiness:fear', got 3"),
        (lambda pipe: pipe.strip("fear:joy", "3"), "frames: must be a whole number"),
        (lambda pipe: pipe.dataset("absent", counts="fear"), "counts: fear: 'str' is no whole number"),
        (lambda pipe: pipe.dataset("absent", per_emotion="3"), "counts.anger: got '3', expected an integer"),
        (lambda pipe: pipe.dataset("absent"), "give either per_emotion or counts"),
        (lambda pipe: pipe.edit(None, "fear"), "picture: cannot read NoneType; give a path or URL"),
        (lambda pipe: pipe.edit("a.png", "fear", keep="much"), "keep: must be a number"),
        (lambda pipe: pipe.edit("a.png", "fear", face="first"), "face: must be a whole number"),
        (lambda pipe: pipe.edit("a.png", "fear", count="3"), "count: must be a whole number"),
        (lambda pipe: pipe.edit("a.png", "fear", strip=0.5), "strip: must be a list of intensities"),
        (lambda pipe: pipe.edit("a.png", "fear", detector=3), "detector: must be an object with the method detect"),
        (lambda pipe: pipe.edit("a.png", "fear", judge="pretrained/judge"), "judge: must be an object with the method predict"),
        (lambda pipe: pipe.edit("a.png", "fear", embedder="dlib"), "embedder: must be an object with the method embed"),
        (lambda pipe: FacePipeline.from_pretrained(3), "3: no such folder"),
        (lambda pipe: pipe.to(3), "device '3' cannot be used"),
    ],
)
def test_wrong_types_are_refused_by_what_else_a_pipeline_does(
    pipe: FacePipeline, act: Callable[[FacePipeline], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        act(pipe)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"generator": torch.Generator()}, "^request: generator: here it is called seed$"),
        ({"prompt": "fear"}, "^request: prompt: here it is called emotion$"),
        ({"num_inference_steps": 4}, "^request: num_inference_steps: here it is called steps$"),
        ({"steps": torch.Generator()}, r"^request: steps: cannot be a torch\._C\.Generator; give text, a number or a list$"),
    ],
)
def test_names_and_objects_of_other_libraries_get_one_line(settings: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        make_order("neutral", 1, **settings)


def test_names_of_other_libraries_lead_to_settings_of_ours() -> None:
    assert set(ELSEWHERE.values()) <= set(FaceRequest.model_fields)
    assert not set(ELSEWHERE) & set(FaceRequest.model_fields)
