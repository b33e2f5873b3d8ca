"""``python -m generation.dataset --people``: people kept, described, resumable, the same on several processes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import generation.kit.make
from configs.cli import UserError
from encoder.data.face_parquet import write_parquet_splits
from encoder.drawing.faces import drawn_set
from encoder.people import embedders
from generation.dataset.__main__ import INCOMPLETE_EXIT, main
from generation.dataset.selection import differences, thumbnails
from generation.kit.columns import COLUMNS
from generation.kit.opinions import Opinions
from generation.pipeline import FacePipeline
from tests.generation.kit.conftest import PEOPLE, Made, contents
from vqvae.critics.critic import CriticConfig, RealismCritic

SHIPPED = Path(__file__).resolve().parents[3] / "pretrained"


def table(folder: Path, name: str = "faces.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_face_is_a_named_file_and_a_row_that_the_codebook_explains(make: Made) -> None:
    folder, code = make("set", 2, "--intensities", "0.5,1", "--seed", "4")
    manifest = json.loads((folder / "manifest.json").read_text())
    rows, explained = table(folder), table(folder, "codebook.csv")
    assert (code, manifest["complete"], manifest["made"], len(rows)) == (0, True, 26, 26)
    assert list(rows[0]) == [row["name"] for row in explained] == [column.name for column in COLUMNS]
    assert all(row["meaning"] and row["unit"] and row["source"] for row in explained)
    assert {row["file"] for row in rows} == {f"faces/{path.name}" for path in (folder / "faces").iterdir()}
    assert "faces/p002_surprise_050.png" in {row["file"] for row in rows}
    for row in rows:
        read = [float(value) for name, value in row.items() if name.startswith("read_") and name != "read_top"]
        assert sum(read) == pytest.approx(1, abs=1e-3)
        # A draw of the seed in which this face was not wanted counts for others only.
        assert 1 <= int(row["tries"]) <= 32
        assert 1 <= int(row["drawn"]) <= 32
        with Image.open(folder / row["file"]) as picture:
            assert picture.text["AI-generated"] == "true"
            assert picture.text["Person"] == row["person"]
            assert picture.text["Seed"] == row["seed"]
    card = (folder / "README.md").read_text()
    assert manifest["command"] in card
    assert "26 of 26 faces" in card
    assert "Not measured." in card
    assert "no second judge was asked" in card
    assert not (folder / ".work").exists()


def test_what_cannot_be_made_is_missing_and_said(make: Made, capsys: pytest.CaptureFixture[str]) -> None:
    folder, code = make("hard", 3, "--emotions", "fear,anger", "--threshold", "0.7", "--max-tries", "2")
    manifest, rows = json.loads((folder / "manifest.json").read_text()), table(folder)
    missing = [(each["person"], each["emotion"]) for each in manifest["missing"]]
    assert code == INCOMPLETE_EXIT
    assert missing
    assert len(rows) + len(missing) == manifest["asked"] == 9
    assert not set(missing) & {(row["person"], row["emotion"]) for row in rows}
    assert f"{len(missing)} of 9 faces could not be made: {missing[0][0]} {missing[0][1]} 1" in capsys.readouterr().err
    card = (folder / "README.md").read_text()
    assert "**Incomplete:" in card
    assert all(f"| {person} | {emotion} |" in card for person, emotion in missing)


def test_a_killed_run_ends_with_the_same_files(make: Made, forked: Callable[..., Any], before_each: Callable[..., None]) -> None:
    stored = iter(range(10))

    def die(*_: object) -> None:
        if next(stored) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed(_rank: int) -> None:
        before_each(generation.kit.make, "store_person", die)
        make("killed", 4)

    assert forked(killed).wait() == [-signal.SIGKILL]
    whole, _ = make("whole", 4)
    work = whole.with_name("killed") / ".work"
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("person-*")}
    assert len(kept) == 2
    folder, _ = make("killed", 4)
    assert contents(folder) == contents(whole)


def test_ctrl_c_keeps_the_people_that_are_finished(make: Made, before_each: Callable[..., None], tmp_path: Path) -> None:
    stored = iter(range(10))

    def interrupt(*_: object) -> None:
        if next(stored) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    before_each(generation.kit.make, "store_person", interrupt)
    with pytest.raises(SystemExit) as stopped:
        make("stopped", 3)
    assert stopped.value.code == 130
    assert [path.name for path in (tmp_path / "stopped" / ".work").glob("person-*")] == ["person-000000.safetensors"]
    assert make("stopped", 3)[1] == 0


def test_two_processes_make_the_set_of_one(make: Made, forked: Callable[..., Any], tmp_path: Path) -> None:
    # Its card says how many threads a process had: as many here as there.
    assert forked(lambda _rank: make("one", 3, "--emotions", "fear")[1]).wait() == [0]
    assert forked(lambda _rank: make("two", 3, "--emotions", "fear")[1], 2).wait() == [0, 0]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_another_request_does_not_touch_a_set(make: Made, weights: Path) -> None:
    folder, _ = make("set", 1)
    before = contents(folder)
    make("set", 1)
    for more in (["--seed", "1"], ["--rise", "0"], ["--emotions", "fear"]):
        with pytest.raises(UserError, match="other settings"):
            make("set", 1, *more)
    with pytest.raises(UserError, match="other settings"):
        main(["--per-emotion", "2", "--out", str(folder), "--weights", str(weights), "--device", "cpu"])
    assert contents(folder) == before


def test_parquet_holds_the_same_rows(make: Made) -> None:
    import pyarrow.parquet as pq

    (csv_set, _), (folder, _) = make("csv", 1), make("parquet", 1, "--format", "parquet")
    found = pq.read_table(folder / "faces.parquet").to_pylist()
    for row, same in zip(table(csv_set), found, strict=True):
        assert {name: "" if value is None else str(value) for name, value in same.items()} == row


def test_a_damaged_person_is_named(make: Made, before_each: Callable[..., None], tmp_path: Path) -> None:
    def cut(*_: object) -> None:
        path = tmp_path / "set" / ".work" / "person-000000.safetensors"
        path.write_bytes(path.read_bytes()[:50])

    before_each(generation.kit.make, "write_stimuli", cut)
    with pytest.raises(UserError, match="person-000000"):
        make("set", 1)


@pytest.fixture
def judged(colour_weights: Path, tmp_path: Path, small_encoder: Callable[..., Any]) -> Path:
    """Weights that paint photographs, with a second judge and a second critic of their own."""
    folder = tmp_path / "weights"
    shutil.copytree(colour_weights, folder)
    small_encoder(16, seed=5, answer="ferplus").save_pretrained(folder / "judge")
    first = RealismCritic.from_pretrained(folder / "critic")
    torch.manual_seed(1)
    second = RealismCritic(CriticConfig(name="pooled", widths=(8, 16)))
    second.measure(np.linspace(-1.0, 1.0, 50))
    second.tokens = first.tokens
    second.save_pretrained(folder / "critic_judge")
    return folder


@pytest.mark.usefixtures("_sees_what_was_asked")
def test_others_look_at_every_face(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Brightness:
        """An embedder of two numbers."""

        name, metric, threshold = "brightness", "euclidean", 0.1

        def embed(self, crops: list[np.ndarray]) -> np.ndarray:
            return np.array([[crop.mean() / 255, crop.std() / 255] for crop in crops], np.float32)

    monkeypatch.setattr(embedders, "create_embedder", lambda *_, **__: Brightness())
    write_parquet_splits(tmp_path / "data", {split: drawn_set(split, 21, seed=1) for split in ("train", "valid", "test")})
    folder = tmp_path / "set"
    more = ["--judge", str(judged / "judge"), "--critic-judge", str(judged / "critic_judge"), "--nearest", str(tmp_path / "data")]
    usual = [word for word in PEOPLE if word not in ("--judge", "--critic-judge", "--embedder", "none")]
    settings = ["--realism", "0.01", "--landmarks", "off", "--emotions", "fear", "--rise", "0"]
    assert main(["--people", "2", "--out", str(folder), "--weights", str(judged), *usual, *more, *settings]) == 0
    train = drawn_set("train", 21, seed=1)
    near = thumbnails(list(train.images))
    neutral: np.ndarray | None = None
    judge, critic = Opinions.gather(
        FacePipeline.from_pretrained(judged), "photo", judge=more[1], critic=more[3], embedder="none"
    ), RealismCritic.from_pretrained(judged / "critic_judge")  # fmt: skip
    for row in table(folder):
        image = np.asarray(Image.open(folder / row["file"]))
        neutral = image if row["emotion"] == "neutral" else neutral
        (a, b) = Brightness().embed([neutral, image])  # type: ignore[list-item]
        assert float(row["neutral_distance"]) == pytest.approx(float(np.linalg.norm(a - b)), abs=1e-3)
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255.0
        assert float(row["critic_judge"]) == pytest.approx(float(critic.realism(pixels)[0]), abs=1e-3)
        said = judge.ask([image])["judge"][0]
        assert float(row["judge_fear"]) == pytest.approx(said[2], abs=1e-3)
        both = differences(thumbnails([image, image[:, ::-1]]), near)
        assert float(row["nearest_difference"]) == pytest.approx(float(both.min()), abs=1e-2)
        assert row["nearest_face"] == train.ids[int(both.min(axis=0).argmin())]
        assert all(row[name] for name in ("gender", "age", "group", "realism"))
        assert row["file"].startswith(f"faces/{row['person']}_{row['gender']}_{row['age']}_{row['group']}_{row['emotion']}")
    card = (folder / "README.md").read_text()
    assert "By brightness, which took no part" in card
    assert "## Columns that are empty" not in card


def test_the_judges_that_select_are_no_second_opinion(judged: Path, tmp_path: Path) -> None:
    pipe = FacePipeline.from_pretrained(judged)
    with pytest.raises(UserError, match="is the encoder that selects"):
        Opinions.gather(pipe, "photo", judge=str(judged / "encoder"), critic="none", embedder="none")
    with pytest.raises(UserError, match="is the critic that selects"):
        Opinions.gather(pipe, "photo", judge="none", critic=str(judged / "critic"), embedder="none")
    grey = Opinions.gather(pipe, "fer2013", judge="none", critic=str(judged / "critic_judge"), embedder="none")
    assert "judge photographs as they were painted" in grey.absent["critic_judge"]


def test_without_the_embedder_the_column_is_empty_and_the_card_says_why(
    make: Made, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise UserError("the dlib embedder needs the package dlib")

    monkeypatch.setattr(embedders, "create_embedder", missing)
    usual = [*PEOPLE, "--weights", str(weights), "--emotions", "fear"]
    place = usual.index("--embedder")
    del usual[place : place + 2]
    assert main(["--people", "1", "--out", str(tmp_path / "set"), *usual]) == 0
    assert {row["neutral_distance"] for row in table(tmp_path / "set")} == {""}
    assert "`neutral_distance`: the dlib embedder needs the package dlib" in (tmp_path / "set" / "README.md").read_text()
    with pytest.raises(UserError, match="needs the package"):
        main(["--people", "1", "--out", str(tmp_path / "asked"), *usual, "--embedder", "dlib"])
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--per-emotion", "2", "--emotions", "fear"], "^--emotions: does nothing without --people"),
        (["--per-emotion", "2", "--critic-judge", "x"], "^--critic-judge: does nothing without --people"),
        (["--per-emotion", "2", "--rise", "0"], "^--rise: does nothing without --people"),
        (["--people", "2", "--valid", "0"], "^--valid: stimuli are not split"),
        (["--people", "2", "--identity"], "^--identity: everybody stays"),
        (["--people", "2", "--least-difference", "3"], "^--least-difference: "),
        (["--people", "2", "--intensities", "half"], "^--intensities: write numbers"),
        (["--people", "2", "--intensities", "2"], "above 0 up to 1"),
        (["--people", "2", "--emotions", "fera"], "did you mean"),
        (["--people", "0"], "people"),
    ],
)
def test_bad_commands_are_refused_before_any_work(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        main([*words, "--out", str(tmp_path / "faces")])
    assert not (tmp_path / "faces").exists()


def test_shipped_weights_make_people(tmp_path: Path) -> None:
    words = ["--people", "1", "--emotions", "happiness", "--embedder", "none", "--device", "cpu", "--quiet"]
    assert main([*words, "--weights", str(SHIPPED), "--out", str(tmp_path / "set")]) == 0
    smile = table(tmp_path / "set")[1]
    assert float(smile["read_happiness"]) > 0.5
    assert 0 <= float(smile["judge_happiness"]) <= 1
    assert 0 <= float(smile["critic_judge"]) <= 1
