"""``python -m eval.report`` with the shipped weights, a few faces, and drawn faces in the place of real ones."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from eval.report import conclusions
from eval.report import page as report
from eval.report.page import main

TINY = ["--quick", "--per-emotion", "2", "--rounds", "3", "--device", "cpu"]


@pytest.fixture(scope="module")
def sizes() -> set[int]:
    """Sides of all faces that a reader was given while ``made`` was."""
    return set()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn_data: Path, sizes: set[int]) -> Path:
    out, predict = tmp_path_factory.mktemp("report"), EmotionEncoder.predict

    def noted(self: EmotionEncoder, faces: Any, *rest: Any, **more: Any) -> Any:
        # The generator reads its own faces as it paints them, in colour; measures read grey ones.
        if faces.shape[-1] != 3:
            sizes.add(faces.shape[-1])
        return predict(self, faces, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmotionEncoder, "predict", noted)
        assert main(["--data", str(drawn_data), "--out", str(out), *TINY]) == 0
    return out


def test_real_and_generated_faces_are_read_at_one_size(made: Path, sizes: set[int]) -> None:
    # Of faces of 48 pixels, enlarged by the reader, the judge's Fréchet distance to the same faces of 64 is no zero.
    assert sizes == {64}
    assert json.loads((made / "report.json").read_text())["counts"]["size"] == 64


def test_the_page_and_its_figures(made: Path) -> None:
    content = json.loads((made / "report.json").read_text())
    assert content["counts"]["generated"] == content["counts"]["first_draws"] == 14
    assert content["counts"]["bootstrap"] == {"rounds": 3, "seed": 0}
    judge = content["accuracy"]["second judge"]
    assert set(judge["real"]) == {"FER-2013 labels", "FER+ majority"}
    assert sum(map(sum, judge["accepted"]["confusion"])) == 14
    # The encoder selected these faces, so it must agree with every one.
    assert content["accuracy"]["encoder"]["accepted"]["balanced_accuracy"] == 1.0
    assert set(content["acceptance"]["emotions"]) == set(EMOTION_NAMES)
    assert set(content["distances"]) == {"second judge", "encoder"}
    assert set(content["memorisation"]) == {"pixels", "second judge"}
    assert content["gender"]["generated"]["all"]["faces"] == 14
    assert content["settings"]["steps"] == 16
    assert set(content["weights_sha256"]) == {"encoder", "tokenizer", "prior", "critic", "attributes"}
    page = (made / "report.html").read_text()
    for text in ("Quick run", "AI-generated", "FER+ majority", "second judge", "python -m eval.report"):
        assert text in page


def test_title_and_every_section_begin_with_a_sentence_whose_figures_are_those_of_the_tables(made: Path) -> None:
    page, content = (made / "report.html").read_text(), json.loads((made / "report.json").read_text())
    judge = content["accuracy"]["second judge"]["accepted"]
    share = f"{100 * judge['balanced_accuracy']:.0f}\N{NO-BREAK SPACE}%"
    assert f"<h1>A second judge sees the emotion that was asked for in {share} of generated faces</h1>" in page
    sections = re.findall(r"</h2>\n(.*)", page)
    assert len(sections) == 9
    assert all(re.fullmatch(r'<p class="lead">[^<]+\.</p>', first) for first in sections), sections
    accepted = {name: row["accepted"] for name, row in content["acceptance"]["emotions"].items()}
    assert f"the encoder accepts {100 * max(accepted.values()):.0f}\N{NO-BREAK SPACE}% for" in page
    for table in re.findall(r"<table>.*?</table>", page, flags=re.DOTALL):
        assert re.search(r"<td(?! data-label| colspan)", table) is None


def test_nearness_to_training_faces_is_concluded_from_its_interval(made: Path) -> None:
    content = json.loads((made / "report.json").read_text())
    for ends, said in (([0.1, 0.4], "no nearer"), ([0.4, 0.6], "about as near"), ([0.6, 0.9], "are nearer")):
        content["memorisation"] = {"pixels": {"generated": {"chance_nearer_interval": ends}}}
        assert said in conclusions.memorisation(content)


def test_the_page_stands_alone_and_shows_no_real_face(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    shown = set(re.findall(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", page))
    assert len(shown) >= 7
    for address in shown:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
            # As they were painted, in colour; real faces of this data are small and grey.
            assert (picture.mode, picture.size) == ("RGB", (128, 128))
    assert not (made / "private").exists()


def test_sheets_say_that_they_are_generated(made: Path) -> None:
    for name in EMOTION_NAMES:
        with Image.open(made / f"sheet-{name}.png") as picture:
            assert picture.text["AI-generated"] == "true"
            assert "trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
            assert picture.text["Seed"] == "0 and following"
            assert "prior " in picture.text["Weights SHA-256"]


def test_the_same_command_gives_the_same_figures(made: Path, drawn_data: Path, tmp_path: Path) -> None:
    more = ["--faces", str(made / "generated"), "--closest-pairs"]
    assert main(["--data", str(drawn_data), "--out", str(tmp_path), *TINY, *more]) == 0
    one, two = (json.loads((folder / "report.json").read_text()) for folder in (made, tmp_path))
    for content in (one, two):
        content.pop("command")
        content["acceptance"] = content["acceptance"]["emotions"]
    assert one == two
    with Image.open(tmp_path / "private" / "closest_pairs.png") as picture:
        assert "real persons" in picture.text["Description"]


def test_another_seed_resamples_every_interval(made: Path, drawn_data: Path, tmp_path: Path) -> None:
    more = ["--faces", str(made / "generated"), "--seed", "1"]
    assert main(["--data", str(drawn_data), "--out", str(tmp_path), *TINY, *more]) == 0
    one, two = (json.loads((folder / "report.json").read_text()) for folder in (made, tmp_path))
    for content in (one, two):
        content["found"] = content["accuracy"]["second judge"]["real"]["FER-2013 labels"]
    assert one["found"]["balanced_accuracy"] == two["found"]["balanced_accuracy"]
    assert one["found"]["interval"] != two["found"]["interval"]


def test_a_set_from_other_weights_is_refused(made: Path, drawn_data: Path, tmp_path: Path) -> None:
    manifest = json.loads((made / "generated" / "manifest.json").read_text())
    manifest["weights_sha256"]["prior"] = "0" * 64
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.parquet").write_bytes((made / "generated" / "train.parquet").read_bytes())
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    for faces, more, message in (
        (tmp_path / "other", [], "other weights"),
        (made / "generated", ["--per-emotion", "4"], "has 2 faces of anger, but 4 are needed"),
        (tmp_path, [], "no finished set"),
    ):
        with pytest.raises(UserError, match=message):
            main(["--data", str(drawn_data), "--out", str(tmp_path / "out"), "--faces", str(faces), *TINY, *more])


def test_text_from_outside_is_escaped(made: Path) -> None:
    content = json.loads((made / "report.json").read_text())
    sheets = {name: {"accepted": [], "refused": []} for name in EMOTION_NAMES}
    page = report.render({**content, "command": "<script>alert(1)</script>", "sheets": sheets})
    assert "<script>" not in page
