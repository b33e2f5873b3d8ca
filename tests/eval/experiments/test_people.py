"""The measure of identity: shares on cases whose answer is known, and the whole program on made-up photographs."""

from __future__ import annotations

import io
import json
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection.face import DetectedFace
from encoder.people.embeddings import Metric
from eval import people
from eval.experiments.people import People, figures_of_pairs
from eval.faces.people import lfw_pairs, london_pairs, small_grey
from eval.measures.accuracy import wilson


class Drawn(NamedTuple):
    seed: int
    image: NDArray[np.uint8]


class Colours:
    """Three numbers a face, its mean colour in [0, 1]: one person has one colour."""

    name = "test:colours"
    metric: Metric = "euclidean"
    threshold = 0.1

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([np.resize(crop.reshape(-1, crop.shape[-1] if crop.ndim == 3 else 1).mean(0), 3) / 255 for crop in crops])


def image(colour: Sequence[int], size: int) -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": ""}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """LFW with four people of two or three photographs, one of a single one and FairFace beside; London with three people."""
    colours = {"Ada": (250, 0, 0), "Bo": (0, 250, 0), "Cy": (0, 0, 250), "Di": (120, 120, 0)}
    rows = [("lfw", name, image(colour, 16)) for name, colour in colours.items() for _ in range(2 + (name == "Bo"))]
    rows += [
        ("lfw", "Ed", image((9, 9, 9), 16)),
        ("fairface", None, image((1, 2, 3), 16)),
        ("fairface", None, image((1, 2, 3), 16)),
    ]
    shots = [(name, kind, image(colours[name], 64)) for kind in ("neutral", "smiling") for name in ("Cy", "Ada", "Bo")]
    tables = {"colour128/train": ("source", "person", rows), "london/london": ("person", "expression", shots)}
    for place, (first, second, lines) in tables.items():
        path = tmp_path / "data" / f"{place}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(dict(zip((first, second, "image"), map(list, zip(*lines, strict=True)), strict=True))), path)
    return tmp_path / "data"


def test_figures_on_cases_with_a_known_answer() -> None:
    first = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32)
    second = first + np.array([[0.05, 0], [0.05, 0], [0.05, 0], [0.2, 0]], np.float32)
    figures = figures_of_pairs(first, second, Colours())
    assert (figures["people"], figures["pairs_of_different_people"]) == (4, 12)
    assert figures["distance"]["value"] == pytest.approx(0.0875, abs=1e-4)
    assert (figures["same"]["value"], figures["different"]["value"], figures["balanced"]["value"]) == (0.75, 1.0, 0.875)
    assert figures["same"]["interval"] == wilson(3, 4)
    assert figures["different"]["interval"] == [1.0, 1.0]
    low, high = figures["distance"]["interval"]
    assert 0.05 <= low < 0.0875 < high <= 0.2
    apart = [np.hypot(*(second[j] - first[i])) for i in range(4) for j in range(4) if i != j]
    assert figures["others"]["value"] == pytest.approx(np.mean(apart), abs=1e-4)
    # A stranger with the face of another: one of 12 pairs.
    second[3] = first[0]
    assert figures_of_pairs(first, second, Colours())["different"]["value"] == pytest.approx(11 / 12, abs=1e-4)


def test_the_pairs_are_two_photographs_of_one_person_each(data: Path) -> None:
    first, second = lfw_pairs(data, 4, seed=5)
    assert [one.mean(axis=(0, 1)).tolist() for one in first] == [two.mean(axis=(0, 1)).tolist() for two in second]
    assert len({tuple(one[0, 0]) for one in first}) == 4
    neutral, smile = london_pairs(data)
    assert [one[0, 0].tolist() for one in neutral] == [one[0, 0].tolist() for one in smile]
    assert [grey.shape for grey in small_grey(neutral)] == [(64, 64)] * 3
    with pytest.raises(UserError, match="between 2 and 4, the people with two photographs; got 5"):
        lfw_pairs(data, 5, seed=0)


def test_data_that_is_not_there_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.parquet: no such file; --data names the folder"):
        lfw_pairs(tmp_path, 2, 0)
    (data / "london" / "london.parquet").write_text("junk")
    with pytest.raises(UserError, match=r"london\.parquet: not the file that is needed"):
        london_pairs(data)


@pytest.fixture
def run(data: Path, places: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run(*options)``: the program with :class:`Colours`, and a detector for which the middle of a picture is a face."""

    class Middle:
        def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
            quarter = len(picture) // 4
            return [DetectedFace((quarter, quarter, 2 * quarter, 2 * quarter))]

    monkeypatch.setattr("encoder.people.embedders.create_embedder", lambda name, device="auto": Colours())
    monkeypatch.setattr("encoder.detection.registry.create_detector", lambda name: Middle())
    judge = places.index("--judge")
    drawn = [*places[:judge], *places[judge + 2 :]]
    return lambda *options: people.main(
        ["--data", str(data), "--people", "4", "--seeds", "2", "--proposals", "1", *options, *drawn]
    )


def test_the_program_measures_every_kind_of_pictures(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = "lfw,lfw-grey,london,london-grey,rebuilt,edit-fear,strip"
    assert run("--only", kinds) == 0
    assert "balanced" in capsys.readouterr().out
    report = json.loads((tmp_path / "people.json").read_text())
    assert (report["embedder"]["name"], report["embedder"]["threshold"], report["seed"]) == ("test:colours", 0.1, 0)
    figures = report["pictures"]
    assert list(figures) == kinds.split(",")
    assert {name: figures[name]["people"] for name in figures} == dict(zip(kinds.split(","), (4, 4, 3, 3, 2, 2, 2), strict=True))
    for name in ("lfw", "london"):
        assert (figures[name]["same"]["value"], figures[name]["different"]["value"]) == (1.0, 1.0)
        assert figures[name]["distance"]["value"] == 0.0
    # An edit moves luma only, so the photograph is near to what it was and strangers stay strangers.
    assert 0.0 < figures["edit-fear"]["distance"]["value"] < figures["edit-fear"]["others"]["value"]


def test_what_was_measured_is_kept_and_not_mixed_with_other_settings(run: Callable[..., int], tmp_path: Path) -> None:
    assert run("--only", "lfw") == 0
    kept = tmp_path / "points" / "lfw.json"
    before = kept.stat().st_mtime_ns
    assert run("--only", "lfw,london") == 0
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="was made with other seed"):
        run("--only", "lfw", "--seed", "1")


def test_faces_of_a_seed_are_paired_by_their_seed(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A generator whose faces are as bright as their seed says, and brighter when happy, unless identity is kept."""

    class Bright:
        weights: ClassVar[dict[str, str]] = {}

        def __call__(self, emotion: str, count: int, seed: int, *, identity: bool) -> Any:
            happy = emotion != "neutral"
            # The first seed's happy face was not accepted.
            seeds = range(seed + happy, seed + count)
            faces = [np.full((8, 8), 60 * one + 51 * (happy and not identity), np.uint8) for one in seeds]
            return types.SimpleNamespace(faces=list(map(Drawn, seeds, faces)))

    monkeypatch.setattr(People, "pipe", Bright())
    assert run("--only", "identity-happiness,seed-happiness", "--seeds", "4") == 0
    report = json.loads((tmp_path / "people.json").read_text())
    with_identity, without = report["pictures"].values()
    assert (with_identity["people"], without["people"]) == (3, 3)
    assert with_identity["distance"]["value"] == 0.0
    assert without["distance"]["value"] == pytest.approx(0.2 * 3**0.5, abs=1e-3)
    assert run("--only", "seed-fear", "--seeds", "2") == 1
    assert "failed" in capsys.readouterr().out


@pytest.mark.realdata
def test_dlib_tells_people_of_lfw_apart_in_colour_and_in_grey(real_data: Path) -> None:
    from encoder.detection.dlib_models import RECOGNITION, packaged_model
    from encoder.people.embedders import create_embedder

    pytest.importorskip("dlib", reason="needs the extra dlib")
    if packaged_model(RECOGNITION) is None:
        pytest.skip("needs the extra dlib: face_recognition_models is not installed")
    embedder = create_embedder("dlib")
    first, second = lfw_pairs(real_data, 10, seed=3)
    for one, two in ((first, second), (small_grey(first), small_grey(second))):
        figures = figures_of_pairs(embedder.embed(one), embedder.embed(two), embedder)
        assert figures["balanced"]["value"] > 0.9
