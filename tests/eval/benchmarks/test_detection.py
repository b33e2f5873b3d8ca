"""The benchmark of detectors counts pictures with a face, from a folder and from a Parquet file."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from eval.benchmarks import detection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of a face and one of a cup."""
    place = tmp_path / "photos"
    place.mkdir()
    face = Image.fromarray(data.astronaut()).crop((100, 0, 350, 250))
    for name, picture in (("a", face), ("b", face.resize((120, 120))), ("c", Image.fromarray(data.coffee()))):
        picture.save(place / f"{name}.png")
    return place


@pytest.mark.parametrize("nested", [True, False])
def test_folder_and_table_give_the_same_counts(
    folder: Path, tmp_path: Path, nested: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    table = tmp_path / "faces.parquet"
    pq.write_table(pa.table({"image": [{"bytes": file} for file in files] if nested else files}), table)
    for place in (folder, table):
        assert detection.main([str(place)]) == 0
        printed = capsys.readouterr().out
        assert f"{place.name}, 3 pictures" in printed
        assert "| centerface | 2 (66.7%) | 0 |" in printed
        assert "| haar | " in printed


def test_only_the_first_pictures_and_the_named_detectors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detection.main([str(folder), "--first", "2", "--detectors", "centerface"]) == 0
    printed = capsys.readouterr().out
    assert "| centerface | 2 (100.0%) | 0 |" in printed
    assert "haar" not in printed


def test_pictures_that_are_crops_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    astronaut = Image.fromarray(data.astronaut())
    for name, picture in (("crop", astronaut.crop((175, 63, 275, 163))), ("photograph", astronaut)):
        picture.save(tmp_path / f"{name}.png")
    assert detection.main([str(tmp_path), "--side", "128", "--detectors", "centerface"]) == 0
    assert "| centerface | 2 (100.0%) | 0 | 1 |" in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"picture": [b""]}), other)
    broken = tmp_path / "broken.parquet"
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    pq.write_table(pa.table({"image": [picture.getvalue()[:20]]}), broken)
    for path in (other, broken, tmp_path / "absent.parquet"):
        with pytest.raises(UserError, match="not a Parquet file with pictures in a column image"):
            detection.main([str(path)])
    for option in ("--first", "--side"):
        with pytest.raises(UserError, match=f"{option} must be at least 1"):
            detection.main([str(folder), option, "0"])
