"""``eval.cas`` and ``eval.augmentation`` row by row, on drawn faces and a tiny network."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.data.load import load_faces
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.readings import read_heads
from encoder.fitting import fit as fitting
from encoder.fitting.fit import EncoderTask
from encoder.inference.emotion_encoder import EmotionEncoder
from eval import augmentation, cas, shortcut
from eval.faces.generated import read_set
from eval.faces.look import through_tokenizer, tokenizer_of
from eval.faces.mixing import labelled, oversampled
from eval.measures.trainings import compared, figures_of
from vqvae.tokenizer import Tokenizer, reconstruct_pairs

TINY = ["--epochs", "2", "--widths", "4,8", "model.depths=[1,1]", "train.batch_size=32", "train.device=cpu",
        "train.ema_decay=0.5"]  # fmt: skip


def run(program: Any, out: Path, sets: list[str], *more: str) -> int:
    return program.main([*sets, "--out", str(out), *TINY, *more])


@pytest.fixture(scope="module")
def sets(drawn_data: Path, stand_in: Path) -> list[str]:
    """Options that name real and generated faces."""
    return ["--data", str(drawn_data), "--generated", str(stand_in)]


@pytest.fixture
def trainings(before_each: Callable[..., None]) -> list[str]:
    """Names of the runs that are trained, as they start."""
    started: list[str] = []

    def counted(_config: object, place: Path, resume: str | None, **_told: str) -> None:
        started.append(place.name + (" resumed" if resume else ""))

    before_each(fitting, "fit_encoder", counted)
    return started


@pytest.fixture(scope="module")
def compared_sets(tmp_path_factory: pytest.TempPathFactory, sets: list[str]) -> Path:
    out = tmp_path_factory.mktemp("cas")
    assert run(cas, out, sets, "--times", "0.5,1") == 0
    return out


def test_cas_compares_generated_with_real(compared_sets: Path) -> None:
    content = json.loads((compared_sets / "cas.json").read_text())
    rows = content["rows"]
    sizes = {"real-fer2013": 160, "real-ferplus": 160, "generated-0.5x": 83, "generated-1x": 160}
    assert {name: row["train_faces"] for name, row in rows.items()} == sizes
    # Every row took as many steps: 2 epochs of 160 faces in batches of 32.
    assert content["steps"] == 10
    assert rows["real-fer2013"]["test"]["fer2013"]["relative_to_real"]["accuracy"]["value"] == 1.0
    assert set(rows["generated-1x"]["test"]) == {"fer2013", "ferplus"}
    for row in rows.values():
        figure = row["test"]["fer2013"]["figures"]["accuracy"]
        assert figure["interval"][0] <= figure["value"] <= figure["interval"][1]
    table = list(csv.DictReader((compared_sets / "cas.csv").open()))
    assert [line["trained on"] for line in table] == [row["title"] for row in rows.values()]
    assert "80 test faces" in (compared_sets / "cas.md").read_text()


def test_rows_of_generated_faces_see_no_real_face(compared_sets: Path, drawn_data: Path) -> None:
    real = {image.tobytes() for split in ("train", "valid", "test") for image in load_faces(drawn_data, split).images}
    train, valid = (load_faces(compared_sets / "data" / "generated-1x", split) for split in ("train", "valid"))
    seen = [image.tobytes() for image in (*train.images, *valid.images)]
    assert not real & set(seen)
    assert len(set(seen)) == len(seen) == len(train) + len(valid)


def test_rows_of_other_settings_are_not_mixed(compared_sets: Path, sets: list[str]) -> None:
    with pytest.raises(UserError, match="other settings"):
        run(cas, compared_sets, sets, "--times", "0.5,1", "train.learning_rate=0.5")


def test_only_rows_that_are_missing_are_trained(
    sets: list[str], tmp_path: Path, trainings: list[str], compared_sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(compared_sets, tmp_path / "cas")
    removed = ["real-ferplus-s0", "generated-1x-s0"]
    for name in removed:
        shutil.rmtree(out / "rows" / name)
    assert run(cas, out, sets, "--times", "0.5,1") == 0
    assert trainings == removed
    one, two = (json.loads((folder / "cas.json").read_text())["rows"] for folder in (compared_sets, out))
    assert one == two
    capsys.readouterr()
    assert run(cas, out, sets, "--times", "0.5,1") == 0
    assert trainings == removed
    assert (out / "cas.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "number", "code", "size"),
    [(cas, signal.SIGINT, 130, ("--times", "1")), (augmentation, signal.SIGTERM, 143, ("--amounts", "30"))],
)
def test_stopped_again_and_again_it_ends_with_the_table_of_an_undisturbed_run(
    sets: list[str],
    weights: Path,
    tmp_path: Path,
    before_each: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
    trainings: list[str],
    program: Any,
    number: signal.Signals,
    code: int,
    size: tuple[str, str],
) -> None:
    more = [*size, "--rounds", "20", "--weights", str(weights), "train.learning_rate=0.01"]
    assert run(program, tmp_path / "whole", sets, *more) == 0
    steps = iter(range(1, 1000))
    before_each(EncoderTask, "train_step", lambda *_: signal.raise_signal(number) if next(steps) in (4, 13, 22) else None)
    trainings.clear()
    name, finished = program.__name__.removeprefix("eval."), []
    while (ended := run(program, tmp_path / "broken", sets, *more)) != 0:
        assert ended == code
        assert capfd.readouterr().err.splitlines()[-1].endswith("; run the same command again to go on")
        table = tmp_path / "broken" / f"{name}.json"
        finished.append(len(json.loads(table.read_text())["rows"]) if table.is_file() else 0)
    # The table holds the rows that were finished by then, and a row that was not goes on where it was.
    assert len(finished) == 3
    assert finished[0] == 0 < finished[1] <= finished[2]
    assert trainings[1] == f"{trainings[0]} resumed"
    assert (tmp_path / "broken" / f"{name}.csv").read_bytes() == (tmp_path / "whole" / f"{name}.csv").read_bytes()
    rows = [path.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/rows/*/weights/model.safetensors")]
    assert rows
    for row in rows:
        assert (tmp_path / "broken" / row).read_bytes() == (tmp_path / "whole" / row).read_bytes()


def test_augmentation_sets_generated_faces_against_the_best_baseline(
    drawn_data: Path, sets: list[str], weights: Path, tmp_path: Path, trainings: list[str]
) -> None:
    options = ["--amounts", "30", "--seeds", "3", "--weights", str(weights)]
    assert run(augmentation, tmp_path, sets, *options) == 0
    assert len(trainings) == 8
    content = json.loads((tmp_path / "augmentation.json").read_text())
    rows = content["rows"]
    sizes = {"real": 160, "stage2": 160, "oversampled-30": 220, "generated-30": 220, "generated-30-stage2": 220}
    sizes |= {"generated-30-same-look": 220, "oversampled-30-both-looks": 440, "generated-30-both-looks": 440}
    assert {name: row["train_faces"] for name, row in rows.items()} == sizes
    # 10 steps, over 5 or more batches an epoch; stage 2 a fifth of them.
    assert [row["steps"] for row in rows.values()] == [10, 2, 10, 10, 2, 10, 10, 10]
    assert set(rows["generated-30"]["gain_over"]) == {"real", "stage2", "oversampled-30", "oversampled-30-both-looks"}
    assert set(content["best_baseline"].values()) <= set(rows["generated-30"]["gain_over"])
    assert "gain" in (tmp_path / "augmentation.md").read_text()
    # Real faces of that row have been through the tokenizer, generated ones are as they were.
    plain, looking = (load_faces(tmp_path / "data" / name, "train") for name in ("generated-30", "generated-30-same-look"))
    changed = (plain.images != looking.images).any(axis=(1, 2))
    assert changed[:160].all()
    assert not changed[160:].any()
    assert (plain.labels == looking.labels).all()
    # Both looks: of the real faces and of copies, while a generated face has but one.
    copies, both = (load_faces(tmp_path / "data" / f"{name}-30-both-looks", "train") for name in ("oversampled", "generated"))
    assert (copies.labels[:220] == copies.labels[220:]).all()
    assert (copies.images[:220] != copies.images[220:]).any(axis=(1, 2)).all()
    assert (both.images[:160] == plain.images[:160]).all()
    assert (both.images[160:320] == looking.images[:160]).all()
    assert (both.images[320:] == np.concatenate([plain.images[160:]] * 2)).all()
    # Whether texture decides is asked of all eight networks, over faces of the other five emotions.
    asked = ["--data", str(drawn_data), "--rows", str(tmp_path), "--weights", str(weights)]
    assert shortcut.main(asked) == 0
    shares = json.loads((tmp_path / "shortcut.json").read_text())
    test = load_faces(drawn_data, "test")
    others = test.subset(~np.isin(test.labels, (1, 2)))
    assert f"Share of {len(others)} real faces" in shares["notes"][0]
    assert set(shares["rows"]) == set(rows)
    encoder = EmotionEncoder.from_pretrained(tmp_path / "rows" / "generated-30-s3" / "weights")
    seen = [others, through_tokenizer(others, Tokenizer.from_pretrained(weights / "tokenizer"))]
    read = [read_heads(encoder, faces)["fer2013"].probabilities.argmax(axis=1) for faces in seen]
    assert shares["rows"]["generated-30"]["each"] == [[float(np.isin(each, (1, 2)).mean()) for each in read]]
    with pytest.raises(UserError, match="holds no trained rows"):
        shortcut.main([*asked, "--rows", str(tmp_path / "data")])
    with pytest.raises(UserError, match="is not the tokenizer that made the generated set"):
        shortcut.main([*asked, "--weights", "pretrained", "--overwrite"])
    (tmp_path / "plan.json").unlink()
    with pytest.raises(UserError, match="does not say which generated set"):
        shortcut.main([*asked, "--overwrite"])


def test_faces_take_the_look_of_the_tokenizer_that_made_the_set(
    drawn_data: Path, stand_in: Path, weights: Path, tmp_path: Path
) -> None:
    made, faces = read_set(stand_in, 48), load_faces(drawn_data, "test").subset(np.arange(5))
    tokenizer = tokenizer_of(made.manifest, weights)
    looking = through_tokenizer(faces, tokenizer)
    small = np.stack([np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.LANCZOS)) for image in faces.images])
    decoded = reconstruct_pairs(tokenizer, small)[1].detach()
    assert looking.images.shape == faces.images.shape
    assert looking.ids == faces.ids
    enlarged = torch.nn.functional.interpolate(decoded, size=(48, 48), mode="bicubic").squeeze(1) * 255.0
    assert np.abs(looking.images.astype(float) - enlarged.numpy()).mean() < 4.0

    other = tmp_path / "tokenizer"
    shutil.copytree(weights / "tokenizer", other)
    torch.manual_seed(5)
    Tokenizer(tokenizer.config).save_pretrained(other)
    with pytest.raises(UserError, match="is not the tokenizer that made the generated set"):
        tokenizer_of(made.manifest, tmp_path)


def test_too_small_a_set_is_refused_by_name(sets: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"40 faces of anger, but .* are needed"):
        run(cas, tmp_path, sets, "--times", "3")


def some_faces(labels: Sequence[int], rng: np.random.Generator) -> FaceSet:
    images = rng.integers(0, 256, (len(labels), 8, 8), np.uint8)
    votes = np.zeros((len(labels), 8), np.float32)
    return FaceSet(images, np.array(labels, np.int8), votes, tuple(map(str, range(len(labels)))), "made")


def test_oversampling_copies_only_what_is_asked(rng: np.random.Generator) -> None:
    faces = oversampled(some_faces([0, 0, 1, 1, 1, 2], rng), {1: 8, 2: 1, 5: 9})
    assert np.bincount(faces.labels).tolist() == [2, 8, 1]
    # Copies are spread evenly: five more over three faces.
    ones = [image.tobytes() for image, label in zip(faces.images, faces.labels, strict=True) if label == 1]
    assert sorted(map(ones.count, set(ones))) == [2, 3, 3]


def test_relabelling_by_votes_drops_contempt_and_quarrels(rng: np.random.Generator) -> None:
    import dataclasses

    counts = np.zeros((3, 10), np.int16)
    counts[0, 6], counts[1, 7], counts[2, 1], counts[2, 3] = 10, 10, 5, 5
    found = labelled(dataclasses.replace(some_faces([3, 3, 3], rng), vote_counts=counts), "ferplus")
    assert found.labels.tolist() == [EMOTION_NAMES.index("fear")]
    assert not found.votes.any()


def test_figures_and_gains_of_known_predictions(rng: np.random.Generator) -> None:
    labels = np.concatenate([np.repeat(np.arange(7), 40), [-1] * 5])
    right = labels.clip(min=0)
    half = np.where(np.arange(len(labels)) % 2 == 0, right, (right + 1) % 7)
    figures = figures_of(labels, [half, half])
    assert figures["accuracy"]["value"] == figures["recall_fear"]["value"] == 0.5
    assert figures["accuracy"]["interval"][0] == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(280), abs=0.02)
    gain = compared(labels, [right], [half])
    assert gain["macro_f1"]["value"] == pytest.approx(1.0 - figures["macro_f1"]["value"], abs=1e-3)
    assert gain["accuracy"]["interval"][0] > 0.4
    assert compared(labels, [half], [half])["accuracy"] == {"value": 0.0, "interval": [0.0, 0.0]}
    assert compared(labels, [half], [right], ratio=True)["accuracy"]["value"] == 0.5
