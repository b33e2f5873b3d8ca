"""The evaluation report: one page that stands alone, figures that do not depend on the order of the faces."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder import evaluate
from encoder.data.face_set import FaceSet
from encoder.data.ferplus import vote_distributions
from encoder.drawing.faces import drawn_set
from encoder.emotions import EMOTION_NAMES, FERPLUS_VOTE_ORDER, Emotion
from encoder.evaluation import charts as report_charts
from encoder.evaluation import conclusions, report_faces
from encoder.evaluation.learning_curves import read_curves
from encoder.evaluation.page import with_labels
from encoder.evaluation.readings import HeadReading, paired_difference
from encoder.evaluation.report import EvaluatedModel, evaluate_model, write_report
from encoder.inference.emotion_encoder import EmotionEncoder

COUNT, SIZE = 84, 24
Make = Callable[..., EmotionEncoder]


@pytest.fixture(scope="module")
def encoder(small_encoder: Make) -> EmotionEncoder:
    return small_encoder(SIZE, answer="ferplus")


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    """Drawn faces on which ten annotators agree with the label, but for every sixth, which eight of them call neutral."""
    drawn = drawn_set("test", COUNT, size=SIZE)
    votes = np.zeros((COUNT, 10), np.int16)
    for index, label in enumerate(drawn.labels):
        seen = Emotion.NEUTRAL if index % 6 == 0 else label
        votes[index, FERPLUS_VOTE_ORDER.index(int(seen))] = 8
        votes[index, FERPLUS_VOTE_ORDER.index(-1)] = 2
    return dataclasses.replace(drawn, vote_counts=votes, votes=vote_distributions(votes))


def evaluated(encoder: EmotionEncoder, faces: FaceSet, name: str = "ours", twin: np.ndarray | None = None) -> EvaluatedModel:
    marks = np.zeros(len(faces), bool) if twin is None else twin
    return evaluate_model(name, f"runs/{name}/weights", Path("nowhere") / name, encoder, faces, marks, split="test")


def test_the_page_stands_alone_and_the_figures_are_beside_it(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    model = evaluated(encoder, faces, twin=np.arange(COUNT) < 5)
    written = write_report([model], tmp_path, command="python -m encoder.evaluate")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert re.findall(r"(?:src|href)=\"(?!data:image/png;base64,|#)[^\"]*", page) == []
    assert "<script" not in page
    assert "url(" not in page
    assert {"report.html", "report.json", "confusion-fer2013.png", "confusion-ferplus.png", "mistakes.png"} <= {
        path.name for path in written
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written[2:])
    content = json.loads((tmp_path / "report.json").read_text())
    heads = content["models"][0]["heads"]
    assert heads["fer2013"]["all"] == model.figures["heads"]["fer2013"]["all"]
    assert heads["fer2013"]["without_twins"]["count"] == COUNT - 5
    assert heads["ferplus"]["all"]["classes"][-1] == "contempt"
    assert content["twins_in_train"] == 5
    assert "data:image" not in (tmp_path / "report.json").read_text()
    for words in ("Headline figures", "specificity", "AUC", "Confused pairs", "Confident mistakes", "Label noise", "Stage 2"):
        assert words in page


def test_a_page_to_share_holds_no_picture_of_a_face(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    model = evaluated(encoder, faces)
    written = write_report([model], tmp_path, command="made by a test", show_faces=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    assert {path.name for path in written if path.suffix == ".png"} == {"confusion-fer2013.png", "confusion-ferplus.png"}
    page = written[0].read_text()
    assert "<img" not in page
    assert "Confident mistakes" not in page
    assert "Headline figures" in page
    assert "Confused pairs" in page


def test_title_and_every_section_begin_with_a_sentence_whose_figures_are_those_of_the_tables(
    encoder: EmotionEncoder, small_encoder: Make, faces: FaceSet, tmp_path: Path
) -> None:
    models = [evaluated(encoder, faces), evaluated(small_encoder(SIZE, seed=1), faces, "other")]
    write_report(models, tmp_path, command="")
    page = (tmp_path / "report.html").read_text()
    content = json.loads((tmp_path / "report.json").read_text())
    heads = content["models"][0]["heads"]
    labelled, majority = (f"{100 * heads[key]['all']['accuracy']:.0f}\N{NO-BREAK SPACE}%" for key in ("fer2013", "ferplus"))
    title = f"Of the drawn test faces, ours reads {labelled} as they are labelled and {majority} as most FER+ annotators see them"
    assert f"<title>{title}</title>" in page
    assert f"<h1>{title}</h1>" in page
    sections = re.findall(r"</(?:h2|summary)>\n(.*)", page)
    assert len(sections) == 6
    assert all(re.fullmatch(r'<p class="lead">[^<]+\.</p>', first) for first in sections), sections
    recalls = {name: row["recall"] for name, row in heads["ferplus"]["all"]["per_class"].items() if row["support"]}
    assert f"ours finds {max(recalls, key=recalls.get)} best" in page  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "b is right more often than a, by 2.0 points (95\N{NO-BREAK SPACE}%: 1.0 to 3.0)"),
        (-0.03, -0.01, "b is right less often than a, by 2.0 points (95\N{NO-BREAK SPACE}%: 1.0 to 3.0)"),
        (-0.01, 0.05, "b is not clearly better or worse than a"),
        (None, None, "b is not clearly better or worse than a"),
    ],
)
def test_a_comparison_concludes_only_what_its_interval_allows(low: float | None, high: float | None, said: str) -> None:
    row = {"difference": 0.02 if (low or 0) > -0.02 else -0.02, "low": low, "high": high}
    heads = {"fer2013": {"title": "FER-2013 labels, 7 classes", "baseline": "a", "differences": {"b": {"accuracy": row}}}}
    models = [{"answer": "fer2013", "heads": {"fer2013": {}}}] * 2
    assert conclusions.compared(models, heads) == f"By FER-2013 labels, {said}."


def test_cells_carry_the_title_of_their_column_for_narrow_screens(
    encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path
) -> None:
    table = (
        '<table>\n<thead><tr><th></th><th>a<br>"b"</th><th>c</th></tr></thead>\n<tbody>\n'
        '<tr><th scope="row">x</th><td>1</td><td class="y">2</td></tr>\n'
        '<tr><th>z</th><td colspan="2">none</td></tr>\n</tbody></table>'
    )
    found = with_labels(table)
    assert re.findall(r"<td[^>]*>", found) == [
        '<td data-label="a &quot;b&quot;">',
        '<td data-label="c" class="y">',
        '<td colspan="2">',
    ]
    assert with_labels(found) == found
    write_report([evaluated(encoder, faces)], tmp_path, command="")
    page = (tmp_path / "report.html").read_text()
    tables = re.findall(r"<table>.*?</table>", page, flags=re.DOTALL)
    assert tables
    assert all("data-label" in each for each in tables)
    assert all(each.count("<td") == each.count("<td data-label=") for each in tables)


def test_a_section_without_anything_in_it_is_left_out(
    encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = evaluated(encoder, faces)
    write_report([model], tmp_path / "some", command="")
    assert "Confident mistakes" in (tmp_path / "some" / "report.html").read_text()
    monkeypatch.setattr(report_faces, "confident_mistakes", lambda *_: ([], None))
    write_report([model], tmp_path / "none", command="")
    page = (tmp_path / "none" / "report.html").read_text()
    assert "Confident mistakes" not in page
    assert "There are none" not in page
    # No run's metrics stand beside these weights.
    assert "Learning curves" not in page
    assert "No metrics.jsonl" in json.loads((tmp_path / "none" / "report.json").read_text())["models"][0]["curves"]["missing"]


def test_labels_stay_with_their_faces_in_any_order(
    encoder: EmotionEncoder, small_encoder: Make, faces: FaceSet, tmp_path: Path, rng: np.random.Generator
) -> None:
    order = rng.permutation(COUNT)
    marks = rng.random(COUNT) < 0.2
    contents = []
    for folder, some, twin in (("a", faces, marks), ("b", faces.subset(order), marks[order])):
        models = [evaluated(encoder, some, twin=twin), evaluated(small_encoder(SIZE, seed=1), some, "other", twin)]
        write_report(models, tmp_path / folder, command="same")
        contents.append(json.loads((tmp_path / folder / "report.json").read_text()))
    first, second = contents
    assert first["comparison"] == second["comparison"]
    assert first["label_noise"] == second["label_noise"]
    for ours, theirs in zip(first["models"], second["models"], strict=True):
        for head, figures in ours["heads"].items():
            for part in ("all", "without_twins", "reliability"):
                assert figures[part] == theirs["heads"][head][part]
        assert [face["id"] for face in ours["mistakes"]["faces"]] == [face["id"] for face in theirs["mistakes"]["faces"]]


def test_labels_of_other_faces_would_be_noticed(encoder: EmotionEncoder, faces: FaceSet, rng: np.random.Generator) -> None:
    apart = dataclasses.replace(faces, labels=np.roll(faces.labels, 1))
    ours, theirs = (evaluated(encoder, each).figures["heads"]["fer2013"]["all"] for each in (faces, apart))
    assert ours["negative_log_likelihood"] != theirs["negative_log_likelihood"]


def test_names_from_data_are_escaped(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    odd = dataclasses.replace(faces, ids=(name, *faces.ids[1:]), source="<b>bold</b>")
    write_report([evaluated(encoder, odd, "a&b<i>")], tmp_path, command="<u>", face=name)
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"<script|<b>|<i>|<u>", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_an_unknown_face_is_one_line(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--face nobody: no such face; names of this split are like drawn-test-0000000"):
        write_report([evaluated(encoder, faces)], tmp_path, command="", face="nobody")


def test_models_are_compared_on_the_same_faces_only(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did not read the same faces"):
        write_report([evaluated(encoder, faces), evaluated(encoder, faces.subset(range(40)), "b")], tmp_path, command="")


def test_paired_difference_of_known_readings() -> None:
    labels = np.arange(200) % 2
    right, half = np.eye(2)[labels], np.eye(2)[np.where(np.arange(200) < 100, labels, 1 - labels)]
    first, other = HeadReading(labels, half, ("a", "b")), HeadReading(labels, right, ("a", "b"))
    found = paired_difference(other, first)["accuracy"]
    assert found["difference"] == 0.5
    assert 0.42 < found["low"] < 0.5 < found["high"] < 0.58
    same = paired_difference(first, first)
    assert all(values == {"difference": 0.0, "low": 0.0, "high": 0.0} for values in same.values())


def test_most_confused_pairs_come_first() -> None:
    table = np.diag([50] * 7)
    table[Emotion.HAPPINESS, Emotion.NEUTRAL] = 9
    table[Emotion.FEAR, Emotion.SURPRISE] = 5
    pairs = report_faces.confused_pairs(table, EMOTION_NAMES)
    assert [pair["pair"] for pair in pairs[:2]] == [["happiness", "neutral"], ["fear", "surprise"]]
    assert pairs[1]["directions"][0] == {"true": "fear", "predicted": "surprise", "count": 5, "share": 5 / 55}
    named = [set(pair) for pair in report_faces.NAMED_PAIRS]
    assert all(pair in [set(found["pair"]) for found in pairs] for pair in named)


def test_label_noise_counts_disagreements(faces: FaceSet) -> None:
    noise = report_faces.label_noise(faces)
    turned = sum(1 for index in range(0, COUNT, 6) if faces.labels[index] != Emotion.NEUTRAL)
    assert noise["agreement"] == pytest.approx(1 - turned / COUNT)
    assert np.array(noise["counts"])[:, Emotion.NEUTRAL].sum() == turned + (faces.labels == Emotion.NEUTRAL).sum()
    group = noise["groups"][0]
    assert group["majority"] == "neutral"
    assert group["faces"][0]["votes"][0] == {"name": "neutral", "count": 8, "share": 0.8}
    assert report_faces.label_noise(drawn_set("test", 14, size=SIZE)) is None


def test_confident_mistakes_are_the_surest_wrong_answers(encoder: EmotionEncoder, faces: FaceSet) -> None:
    model = evaluated(encoder, faces)
    reading = model.readings["ferplus"]
    entries, sheet = report_faces.confident_mistakes(encoder, model.faces, reading, count=4)
    assert sheet.shape == (4 * report_faces.OVERLAY_SIZE, 3 * report_faces.OVERLAY_SIZE, 3)
    wrong = (reading.labels >= 0) & (reading.probabilities.argmax(axis=1) != reading.labels)
    assert entries[0]["probability"] == pytest.approx(reading.probabilities[wrong].max(), abs=1e-5)
    assert all(entry["predicted"] != entry["true"] for entry in entries)


def test_a_perfect_reading_has_no_mistakes(encoder: EmotionEncoder, faces: FaceSet) -> None:
    labels = faces.labels.astype(np.int64)
    reading = HeadReading(labels, np.eye(7)[labels], EMOTION_NAMES)
    assert report_faces.confident_mistakes(encoder, faces, reading) == ([], None)


def test_learning_curves_stand_beside_the_run(encoder: EmotionEncoder, faces: FaceSet, tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 2.0 - step / 1000, "valid/fer2013_accuracy": 0.5}) for step in range(0, 1000, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 0, "loss": 3.0}', '{"step": 99']))
    curves = read_curves(tmp_path / "weights")
    assert curves["missing"] is None
    assert curves["broken_lines"] == 1
    assert len(curves["losses"]["loss"]) <= 160
    assert curves["losses"]["loss"][-1][1] == pytest.approx(1.0, abs=0.01)
    assert list(curves["valid"]) == ["fer2013 accuracy"]
    assert {value for _, value in curves["valid"]["fer2013 accuracy"]} == {0.5}
    model = dataclasses.replace(evaluated(encoder, faces), folder=tmp_path / "weights")
    write_report([model], tmp_path / "out", command="")
    assert "cannot be read and are left out: 1" in (tmp_path / "out" / "report.html").read_text()


def test_no_learning_curves_is_said(tmp_path: Path) -> None:
    assert "No metrics.jsonl" in read_curves(tmp_path / "weights")["missing"]
    (tmp_path / "metrics.jsonl").write_text("[]\nnull\n7\n")
    assert "holds no figures" in read_curves(tmp_path / "weights")["missing"]


@pytest.mark.parametrize("values", [[(0.0, 1.0)], [(5.0, 2.0), (9.0, 2.0)], [(0.0, -1e6), (1e6, 1e6)]])
def test_curves_of_any_range_are_drawn(values: list[tuple[float, float]]) -> None:
    picture = report_charts.curves({"<loss>": values}, "loss & more")
    assert "nan" not in picture
    assert "&lt;loss&gt;" in picture
    assert "loss &amp; more" in picture


def test_every_name_of_a_long_legend_is_inside_the_picture() -> None:
    names = [f"a rather long name {number}" for number in range(7)]
    picture = report_charts.curves({name: [(0.0, 1.0)] for name in names}, "many")
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)[0])
    placed = {
        name: (float(x), float(y)) for x, y, name in re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)', picture)
    }
    assert placed.keys() >= set(names)
    assert all(x < width and y < height for x, y in placed.values())


def test_charts_take_nothing_from_outside_and_share_no_names_with_the_page() -> None:
    first, second = (report_charts.dot_plot({"$a$ & <b>": [(0.5, 0.4, 0.6)]}, ["one"], "shares") for _ in range(2))
    assert first == second
    assert "$a$ &amp; &lt;b&gt;: 0.500</title>" in first
    assert "var(--s0)" in first
    assert not re.search(r'<style|url\(|#0000|<g id=|xlink:href="[^#]', first)


def test_an_empty_bin_leaves_its_place_empty() -> None:
    bins = {"counts": [0, 4], "confidence": [None, 0.9], "accuracy": [None, 0.75]}
    assert report_charts.reliability_diagram(bins).count("4 faces</title>") == 2


def test_the_program_writes_the_page_for_two_models_of_different_size(tmp_path: Path, small_encoder: Make) -> None:
    for name, size in (("a", 16), ("b", 24)):
        small_encoder(size, answer="ferplus").save_pretrained(tmp_path / name / "weights")
    weights = [f"--weights={tmp_path / name / 'weights'}" for name in "ab"]
    options = ["--data", "drawn", "--device", "cpu", "--report", str(tmp_path / "out")]
    assert evaluate.main([*options, *weights]) == 0
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [model["name"] for model in content["models"]] == ["a", "b"]
    assert set(content["comparison"]["fer2013"]["differences"]) == {"b"}
    assert content["label_noise"] is None
    assert (tmp_path / "out" / "b" / "confusion-fer2013.png").is_file()


def test_models_get_names_of_their_own() -> None:
    given = ["pretrained/encoder", "runs/x/weights", "other/encoder", "runs/x/weights/"]
    assert evaluate.model_names(given) == ["encoder", "x", "encoder-2", "x-2"]
