"""``python -m eval.pairs``: blind pairs of two folders of faces, made for raters and scored by what they answered."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, as_mapping, parse_distribution
from encoder.evaluation.metrics import wilson_interval
from engine.storage.provenance import png
from eval.measures.preference import agreed, sign_test, verdicts
from eval.pairs import main

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """``write(name, emotions, count)``: faces as generation.sample writes them, one folder an emotion."""

    def folder(name: str, emotions: Sequence[str] = EMOTION_NAMES, count: int = 4, side: int = 24, colour: bool = True) -> Path:
        for emotion in emotions:
            place = tmp_path / name / emotion.replace(":", "-")
            place.mkdir(parents=True)
            faces = []
            for seed in range(count):
                shape = (side, side, 3) if colour else (side, side)
                file = f"{emotion[:3]}-{seed:06d}.png"
                (place / file).write_bytes(png(rng.integers(0, 255, shape, dtype=np.uint8), {"Settings": "secret"}))
                faces.append({"file": file, "seed": seed})
            content = {
                "ai_generated": True,
                "request": {"emotion": dict(as_mapping(parse_distribution(emotion))), "seed": 0, "steps": 16},
                "weights_sha256": {"prior": f"digest of {name}"},
                "faces": faces,
            }
            (place / "manifest.json").write_text(json.dumps(content))
        return tmp_path / name

    return folder


@pytest.fixture
def pairs(write: Write, tmp_path: Path) -> Path:
    """Four pairs of each emotion, where raters may say that they cannot tell."""
    return made(tmp_path / "pairs", write("old"), write("new"), "--per-emotion", "4", "--seed", "3", "--ties")


def made(out: Path, *words: object) -> Path:
    assert main(["make", *map(str, words), "--out", str(out)]) == 0
    return out


def key_of(pairs: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((pairs / "key.json").read_text())
    return content


def answer(pairs: Path, name: str, choose: Callable[[dict[str, Any]], str], **more: str) -> Path:
    """A file of answers: ``choose`` gives A, B, or a word, for each pair of the key."""
    path = pairs.parent / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["pair", "choice", *more])
        for pair in key_of(pairs)["pairs"]:
            said = choose(pair)
            writer.writerow(
                [pair["pair"], said if len(said) > 1 else "left" if said == pair["left"] else "right", *more.values()]
            )
    return path


def scored(pairs: Path, *words: object) -> dict[str, Any]:
    out = pairs.parent / "found"
    assert main(["score", str(pairs), *map(str, words), "--out", str(out), "--overwrite"]) == 0
    content: dict[str, Any] = json.loads((out / "score.json").read_text())
    return content


def test_the_key_says_whose_each_face_is(pairs: Path, tmp_path: Path) -> None:
    key = key_of(pairs)
    assert [pair["pair"] for pair in key["pairs"]] == list(range(1, 29))
    assert (key["A"]["weights_sha256"], key["B"]["weights_sha256"]) == ({"prior": "digest of old"}, {"prior": "digest of new"})
    assert key["A"]["requests"] == [{"steps": 16}]
    for emotion in EMOTION_NAMES:
        mine = [pair for pair in key["pairs"] if pair["emotion"] == emotion]
        assert sorted(pair["left"] for pair in mine) == ["A", "A", "B", "B"]
        for side, folder in (("A", "old"), ("B", "new")):
            assert sorted(pair[side]["file"] for pair in mine) == [f"{emotion}/{emotion[:3]}-{n:06d}.png" for n in range(4)]
            for pair in mine:
                assert pair[side]["sha256"] == sha256((tmp_path / folder / pair[side]["file"]).read_bytes()).hexdigest()
        assert all(pair["A"]["file"] == pair["B"]["file"] for pair in mine)
    assert [pair["emotion"] for pair in key["pairs"]] != sorted(pair["emotion"] for pair in key["pairs"])


def test_one_seed_draws_one_order_and_another_another(pairs: Path, tmp_path: Path) -> None:
    folders = (tmp_path / "old", tmp_path / "new", "--per-emotion", "4", "--seed")
    again, other = made(tmp_path / "again", *folders, "3", "--ties"), made(tmp_path / "other", *folders, "4")
    order = [[(pair["emotion"], pair["left"]) for pair in key_of(each)["pairs"]] for each in (pairs, again, other)]
    assert order[0] == order[1] != order[2]
    assert key_of(pairs)["set"] == key_of(again)["set"] != key_of(other)["set"]


def test_what_raters_get_tells_nothing(pairs: Path, tmp_path: Path) -> None:
    key, place = key_of(pairs), pairs / "raters"
    assert sorted(path.name for path in place.iterdir()) == [
        "answers.csv", "pairs.html", "pairs_01.png", "pairs_02.png", "pairs_03.png"
    ]  # fmt: skip
    for path in place.iterdir():
        if path.suffix == ".png":
            held = str(Image.open(path).info)
            assert "'AI-generated': 'true'" in held
        else:
            held = path.read_text(encoding="utf-8")
        for word in ("secret", "digest of", str(tmp_path), key["pairs"][0]["A"]["sha256"]):
            assert word not in held
    text = (place / "pairs.html").read_text(encoding="utf-8")
    assert "AI-generated" in text
    assert "default-src 'none'" in text
    assert "://" not in text  # pictures lie within it in base64, where "http" may turn up by chance
    rows = list(csv.DictReader((place / "answers.csv").open()))
    assert [(row["pair"], row["choice"], row["set"]) for row in rows] == [(str(n), "", key["set"]) for n in range(1, 29)]


def test_pictures_stand_on_the_sides_of_the_key(write: Write, tmp_path: Path) -> None:
    folders = write("old", ["fear"], 12), write("new", ["fear"], 12)
    for folder, ink in zip(folders, ((255, 0, 0), (0, 0, 255)), strict=True):
        for number, path in enumerate(sorted(folder.rglob("*.png"))):
            Image.new("RGB", (24, 24), tuple(max(0, value - number) for value in ink)).save(path)
    out = made(tmp_path / "pairs", *folders, "--per-emotion", "12")
    for number, pair in enumerate(key_of(out)["pairs"]):
        sheet = np.asarray(Image.open(out / f"raters/pairs_{number // 10 + 1:02d}.png"))
        row, column = divmod(number % 10, 2)
        left = sheet[40 + row * 260 + 26 + 112, 20 + column * 474 + 112]
        assert left.argmax() == (0 if pair["left"] == "A" else 2)


def test_grey_takes_colour_and_size_away(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = write("old", ["fear", "anger"], 2, side=16, colour=False), write("new", ["fear", "anger"], 2)
    made(tmp_path / "seen", *folders, "--per-emotion", "2")
    assert "raters can tell the two apart by size or colour" in capsys.readouterr().out
    out = made(tmp_path / "pairs", *folders, "--per-emotion", "2", "--grey", "16")
    assert "raters can tell" not in capsys.readouterr().out
    sheet = np.asarray(Image.open(out / "raters/pairs_01.png"))
    assert (sheet == sheet[..., :1]).all()
    assert key_of(out)["grey"] == 16
    with pytest.raises(UserError, match=r"--grey 20: .*old/.* has 16x16 pixels; give at most 16"):
        main(["make", *map(str, folders), "--per-emotion", "2", "--grey", "20", "--out", str(tmp_path / "large")])


def test_sets_are_taken_as_folders_and_as_parquet(write: Write, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("one", "two"):
        source, folder = write(f"of-{name}", ["fear", "anger"], 3), tmp_path / name
        folder.mkdir()
        (folder / "manifest.json").write_text('{"request": {}, "weights_sha256": {"prior": "x"}, "splits": {"train": {}}}')
        files = [(path.parent.name, path) for path in sorted(source.rglob("*.png"))]
        if name == "one":
            shutil.copytree(source, folder / "train")
            lines = [f"train/{emotion}/{path.name},train,{emotion}" for emotion, path in files]
            (folder / "faces.csv").write_text("\n".join(["file,split,emotion", *lines, ""]))
            for manifest in folder.glob("train/*/manifest.json"):
                manifest.unlink()
        else:
            rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "emotion": emotion} for emotion, path in files]
            pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    key = key_of(made(tmp_path / "pairs", tmp_path / "one", tmp_path / "two", "--per-emotion", "3"))
    assert {(pair["A"]["file"], pair["B"]["file"]) for pair in key["pairs"]} == {
        (f"train/{emotion}/{emotion[:3]}-{n:06d}.png", f"{emotion[:3]}-{n:06d}.png")
        for emotion in ("fear", "anger")
        for n in range(3)
    }


def test_mixtures_are_compared_with_the_same_mixtures(write: Write, tmp_path: Path) -> None:
    mixed = ["fear:0.7,surprise:0.3", "fear"]
    key = key_of(made(tmp_path / "pairs", write("old", mixed, 1), write("new", mixed, 1), "--per-emotion", "1"))
    assert {pair["emotion"] for pair in key["pairs"]} == {"fear", "fear 0.70, surprise 0.30"}


def test_a_rater_who_prefers_the_second(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(pairs, answer(pairs, "R1", lambda _: "B"), "--names", "before,now")
    assert found["names"] == ["before", "now"]
    low, high = (round(end, 4) for end in wilson_interval(28, 28))
    assert found["all"] == {
        "pairs": 28, "chosen": 28, "tied": 0, "share": {"value": 1.0, "interval": [low, high]}, "p": 2 / 2**28
    }  # fmt: skip
    assert {name: each["chosen"] for name, each in found["emotions"].items()} == dict.fromkeys(EMOTION_NAMES, 4)
    assert found["left"] == 0.5
    assert found["answers"] is None
    assert "now against before" in capsys.readouterr().out
    assert "| fear | 4 | 4 | 0 |" in (pairs.parent / "found/score.md").read_text()


def test_who_always_chooses_one_side_favours_nobody(pairs: Path) -> None:
    found = scored(pairs, answer(pairs, "R1", lambda _: "left"))
    assert (found["left"], found["all"]["share"]["value"], found["all"]["p"]) == (1.0, 0.5, 1.0)


def test_ties_count_half_and_are_left_out_of_the_test(pairs: Path) -> None:
    found = scored(pairs, answer(pairs, "R1", lambda pair: "tie" if pair["emotion"] == "fear" else "B"))
    assert found["emotions"]["fear"]["share"]["value"] == 0.5
    assert found["emotions"]["fear"]["p"] == 1.0
    assert (found["all"]["chosen"], found["all"]["tied"], found["all"]["p"]) == (24, 4, 2 / 2**24)
    assert found["all"]["share"]["value"] == pytest.approx(26 / 28, abs=1e-4)


def test_for_each_pair_counts_what_most_raters_chose(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [answer(pairs, "R1", lambda _: "B"), answer(pairs, "R2", lambda _: "B")]
    alike = scored(pairs, *files)
    assert (alike["raters"], alike["all"]["pairs"], alike["answers"]["agreed"]) == (2, 28, 1.0)
    files.append(answer(pairs, "all", lambda pair: "A" if pair["emotion"] != "fear" else "B", rater="R3"))
    found = scored(pairs, *files)
    assert found["all"]["share"]["value"] == 1.0
    assert found["by_rater"]["R3"]["chosen"] == 4
    assert found["answers"]["share"]["value"] == pytest.approx((28 + 28 + 4) / 84, abs=1e-4)
    low, high = found["answers"]["share"]["interval"]
    assert low < found["answers"]["share"]["value"] < high
    assert found["answers"]["kappa"]["value"] < 0.5
    assert "rater R3" in capsys.readouterr().out


def test_a_form_that_was_filled_in_is_taken(pairs: Path) -> None:
    form = (pairs / "raters/answers.csv").read_text().splitlines()
    for name, sign in (("commas", ","), ("semicolons", ";")):
        path = pairs.parent / f"{name}.csv"
        path.write_text("\ufeff" + "\n".join([form[0], *(line.replace(",,", ", Left,") for line in form[1:])]).replace(",", sign))
        assert scored(pairs, path)["left"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-2], "R1 has not answered 2 of 28 pairs: 27, 28"),
        (lambda rows: [*rows[:3], "3,", *rows[4:]], "has not answered 1 of 28 pairs: 3"),
        (lambda rows: [*rows, "29,left"], "line 30: there is no pair '29'; they go from 1 to 28"),
        (lambda rows: [*rows, "x,left"], "there is no pair 'x'"),
        (lambda rows: [*rows, "7,left"], "line 30: R1 has answered pair 7 before"),
        (lambda rows: [*rows[:1], "1,lft", *rows[2:]], "line 2: choice: unknown 'lft'; known are left and right and tie"),
        (lambda rows: [*rows[:1], "1"], "line 2: is cut off"),
        (lambda _: ["number,answer", "1,left"], "has no column pair; give answers as the page"),
        (lambda rows: rows[:1], "holds no answer"),
        (lambda rows: [f"{rows[0]},set", *(f"{row},0123456789" for row in rows[1:])], "answers the pairs 0123456789, and these"),
    ],
)  # fmt: skip
def test_wrong_answers_are_refused_by_line(pairs: Path, change: Callable[[list[str]], list[str]], message: str) -> None:
    path = answer(pairs, "R1", lambda _: "B")
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(UserError, match=message):
        main(["score", str(pairs), str(path)])
    assert not (pairs / "score.json").exists()


def test_a_rater_in_two_files_and_a_tie_where_none_may_be(pairs: Path, tmp_path: Path) -> None:
    one, two = (answer(pairs, name, lambda _: "B", rater="R1") for name in ("one", "two"))
    with pytest.raises(UserError, match=r"R1 has answered in .*one\.csv; give each rater's last file only"):
        main(["score", str(pairs), str(one), str(two)])
    forced = made(tmp_path / "forced", tmp_path / "old", tmp_path / "new", "--per-emotion", "1")
    with pytest.raises(UserError, match="made without --ties"):
        main(["score", str(forced), str(answer(forced, "R2", lambda _: "tie"))])


def test_a_key_that_was_changed_is_refused(pairs: Path) -> None:
    path, files = pairs / "key.json", answer(pairs, "R1", lambda _: "B")
    key = key_of(pairs)
    key["pairs"][5]["left"] = "B" if key["pairs"][5]["left"] == "A" else "A"
    path.write_text(json.dumps(key))
    with pytest.raises(UserError, match=r"key\.json: was changed since the pairs were made"):
        main(["score", str(pairs), str(files)])
    for text in ("[]", "{}", "no JSON"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"holds no key\.json of python -m eval\.pairs make"):
            main(["score", str(pairs), str(files)])
    path.unlink()
    with pytest.raises(UserError, match=r"holds no key\.json"):
        main(["score", str(pairs), str(files)])


def test_sides_that_cannot_be_compared_are_refused(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, out = write("old"), tmp_path / "pairs"

    def refused(message: str, *words: object) -> None:
        with pytest.raises(UserError, match=message):
            main(["make", *map(str, words), "--out", str(out)])
        assert not out.exists()

    few = write("few", ["fear", "anger"])
    refused("old and .*old are one folder", old, old.parent / "few/../old")
    refused("old has faces of disgust and .*few has none; both need the same emotions", old, few)
    refused("few has none", few, old)
    refused("no manifest.json in it", old, tmp_path / "absent")
    refused("holds 4 faces of anger, 5 are asked for; lower --per-emotion", old, write("more", count=9), "--per-emotion", "5")
    with monkeypatch.context() as patch:
        patch.setattr("eval.blind.faces.MOST_PAIRS", 20)
        refused(
            "--per-emotion 3: makes 21 pairs, more than people judge; give at most 2", old, write("new"), "--per-emotion", "3"
        )
    shutil.copytree(old, tmp_path / "copy")
    refused(
        "face 1 of anger is the same on both sides; draw one side with another --seed",
        old,
        tmp_path / "copy",
        "--per-emotion",
        "1",
    )
    broken = write("broken")
    (broken / "fear/fea-000002.png").unlink()
    refused(r"fea-000002\.png: cannot be read: no such file", old, broken, "--per-emotion", "4")
    (broken / "fear/fea-000002.png").write_bytes(b"no picture")
    refused(r"fea-000002\.png: not an image", old, broken, "--per-emotion", "4")
    (broken / "fear/manifest.json").write_text('{"faces": [{}], "request": {}}')
    refused(r"fear/manifest\.json: is no manifest of generated faces", old, broken)
    mixed = write("mixed", ["fear"])
    shutil.copytree(few / "anger", mixed / "anger")
    refused(r"fear/manifest\.json: its faces come from other weights", few, mixed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("make a", "make: takes two folders of faces, A and B, got 1"),
        ("make a b c", "got 3"),
        ("make a b --per-emotion 0", "--per-emotion 0: give at least 1"),
        ("make a b --grey 4", "--grey 4: give at least 8"),
        ("make a b --names old,new", "--names: does nothing with make"),
        ("score a", "takes the folder of the pairs and files of answers"),
        ("score a b.csv --names old", "give two names"),
        ("score a --per-emotion 3 b.csv", "--per-emotion: does nothing with score"),
        ("score a b.csv --ties", "--ties: does nothing with score"),
    ],
)
def test_options_that_make_no_sense(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(words.split())


def test_made_again_the_former_pairs_are_gone(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        main(["make", str(tmp_path / "old"), str(tmp_path / "new"), "--out", str(pairs)])
    assert len(list(pairs.glob("raters/pairs_*.png"))) == 3
    made(pairs, tmp_path / "old", tmp_path / "new", "--per-emotion", "1", "--overwrite")
    assert len(list(pairs.glob("raters/pairs_*.png"))) == 1
    assert len(key_of(pairs)["pairs"]) == 7


def test_the_sign_test_is_the_exact_binomial_one(rng: np.random.Generator) -> None:
    stats = pytest.importorskip("scipy.stats")
    for _ in range(50):
        wins, losses = map(int, rng.integers(0, 40, 2))
        expected = stats.binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
        assert sign_test(wins, losses) == pytest.approx(expected, rel=1e-9)
    assert sign_test(0, 0) == 1.0
    assert 0.0 <= sign_test(500, 900) < 1e-20


def test_verdicts_and_agreement() -> None:
    chosen = np.array([[1.0, 0.0, 1.0, 0.5], [1.0, 1.0, 0.5, 0.5], [0.0, 0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(verdicts(chosen), [1.0, 0.5, 1.0, 0.5])
    assert agreed(chosen) == pytest.approx((1 / 3 + 0 + 1 / 3 + 1) / 4)
    assert np.isnan(agreed(chosen[:1]))


@pytest.fixture
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium on this machine: make chromium")
    with sync.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.slow
def test_pairs_are_judged_by_keys_and_by_hand_and_scored(browser: Any, write: Write, tmp_path: Path) -> None:
    out = made(
        tmp_path / "pairs", write("old", ["fear", "joy"], 2), write("new", ["fear", "joy"], 2), "--per-emotion", "2", "--ties"
    )
    context = browser.new_context(accept_downloads=True, viewport={"width": 360, "height": 740})
    tab, problems = context.new_page(), list[str]()
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))

    def begin() -> None:
        tab.fill("#rater", "R01")
        tab.keyboard.press("Enter")
        tab.wait_for_timeout(250)

    tab.goto((out / "raters/pairs.html").as_uri())
    begin()
    # The second comes too soon to be meant.
    tab.evaluate("() => { document.getElementById('left').click(); document.getElementById('left').click(); }")
    assert tab.inner_text("#count") == "2 of 4"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.reload()
    begin()
    assert tab.inner_text("#count") == "2 of 4"
    tab.click("#right")
    tab.wait_for_timeout(250)
    tab.keyboard.press("Backspace")
    assert tab.get_attribute("#right", "aria-pressed") == "true"
    tab.wait_for_timeout(250)
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(250)
    tab.keyboard.press("3")
    tab.wait_for_timeout(250)
    assert tab.get_attribute("#left img", "alt").startswith("Generated face on the left, made to show ")
    tab.focus("#right")
    tab.keyboard.press("Enter")
    with tab.expect_download() as download:
        tab.click("#save")
    download.value.save_as(tmp_path / "R01.csv")
    context.close()
    assert problems == []
    rows = list(csv.DictReader((tmp_path / "R01.csv").open()))
    assert [(row["pair"], row["choice"]) for row in rows] == [("1", "left"), ("2", "left"), ("3", "tie"), ("4", "right")]
    found = scored(out, tmp_path / "R01.csv")
    assert (list(found["by_rater"]), found["all"]["tied"], found["left"]) == (["R01"], 1, 0.625)
