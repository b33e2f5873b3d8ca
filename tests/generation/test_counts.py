"""How many faces of whom: names, text, tables, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.dataset.__main__ import main
from generation.dataset.counts import MAX_CELLS, cell_of, check_counts, read_counts, spread, table_counts
from generation.dataset.make import share_of
from generation.dataset.order import DatasetRequest, ask
from generation.pipeline import FacePipeline
from generation.service.again import dataset_again
from generation.service.orders import DatasetOrder
from vqvae.attributes import ATTRIBUTES

EASY = ["--threshold", "0", "--max-tries", "40", "--steps", "2", "--device", "cpu", "--least-difference", "0"]


def test_a_cell_has_one_name_however_it_is_spelt() -> None:
    assert cell_of("Peur / white/FEMALE").name == "fear/female/white"
    assert cell_of("fear/70+/closed/no").told == (("hands", "no"), ("eyes", "closed"), ("age", "70+"))
    assert list(check_counts({"peur/male": 1, "anger/male": 2, "fear/female": 3})) == ["anger/male", "fear/female", "fear/male"]


def test_every_class_has_a_name_of_its_own() -> None:
    words = [word for classes in ATTRIBUTES.values() for word in classes]
    assert len(words) == len(set(words))
    for name, classes in ATTRIBUTES.items():
        assert [cell_of(f"fear/{word}").told for word in classes] == [((name, word),) for word in classes]


def test_counts_are_read_in_both_languages() -> None:
    assert read_counts("disgust:40,peur:2") == {"disgust": 40, "fear": 2}
    assert read_counts("fear/white:4, colère/black/female:2") == {"fear/white": 4, "anger/female/black": 2}


@pytest.mark.parametrize(
    "text",
    [
        "emotion,group,faces\nfear,white,4\nfear,black,5\nhappiness,white,6\n",
        "\ufeffemotion;white;black\nfear;4;5\nhappiness;6;\n",
        "Emotion\tBlack\tWhite\npeur\t5\t4.0\n\t\t\njoie\t0\t6\n",
    ],
)
def test_tables_of_any_program_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "counts.csv").write_text(text, encoding="utf-8")
    counts = {"fear/white": 4, "fear/black": 5, "happiness/white": 6}
    assert read_counts(str(tmp_path / "counts.csv")) == counts
    assert ask(read_counts(tmp_path / "counts.csv")).counts == check_counts(counts)


def test_classes_of_columns_and_of_headings_go_together() -> None:
    assert table_counts([["emotion", "gender", "white"], ["fear", "male", 3]]) == {"fear/male/white": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fear,2\n", "must name a column emotion"),
        ("", "must name a column emotion"),
        ("emotion,faces\nfear\n", "line 2: has 1 columns"),
        ("emotion,faces\nfear,many\n", "line 2: fear: 'many' is no whole number"),
        ("emotion,faces\nfear,1.5\n", "no whole number"),
        ("emotion,faces\nfear,nan\n", "no whole number"),
        ("emotion,faces\nfear,1\npeur,2\n", "fear is named twice"),
        ("emotion,blue\nfear,1\n", "no class is called 'blue'"),
        ("emotion,faces\n=cmd(),1\n", "counts: "),
        ("\xff\xfe", "no table in UTF-8"),
    ],
)
def test_tables_that_say_nothing_clear_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "counts.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=words) as refused:
        read_counts(str(tmp_path / "counts.csv"))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_table_of_counts_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_bytes(bytes(2**18 + 1))
    with pytest.raises(UserError, match="larger than"):
        read_counts(tmp_path / "large.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_counts(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("counts", "settings", "words"),
    [
        ({"fear/white/black": 1}, {}, "names two classes of group"),
        ({"fear/white": 1, "anger": 1}, {}, "anger and fear/white|fear/white and anger"),
        ({"fear/white": 1, "anger/female": 1}, {}, "do not name the same"),
        ({"fear/female/white": 1, "fear/white/female": 1}, {}, "named twice"),
        ({"fear/white": 1}, {"group": "black"}, "group: the counts say it already"),
        ({"fear/white": 0}, {}, "between 1 and"),
        ({"fear/white": "2"}, {}, "expected an integer"),
        ({"../fear": 1}, {}, "counts"),
        ({"fear" * 10_000: 1}, {}, "counts"),
        ({f"fear/{number}": 1 for number in range(MAX_CELLS + 1)}, {}, "at most"),
        ({"fear": 1}, {"each": ("looks",)}, "each: 'looks' is none of"),
        ({"fear/white": 1}, {"each": ("group",)}, "names two classes of group"),
    ],
)
def test_counts_that_cannot_be_meant_are_refused(counts: dict[str, Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        ask(counts, **settings)
    assert len(str(refused.value)) < 1000


def test_each_is_every_class_that_an_even_draw_has() -> None:
    found = spread({"fear": 20, "happiness": 10}, ("group", "gender"))
    assert len(found) == 28
    assert sum(found.values()) == 14 * 30
    assert "fear/white/male" in found
    assert [name.split("/")[1] for name in spread({"fear": 1}, ("age",))] == list(ATTRIBUTES["age"][1:])
    assert spread({"fear": 1}, ()) == {"fear": 1}
    assert len(spread(dict.fromkeys(EMOTION_NAMES, 1), tuple(ATTRIBUTES))) == 7 * 2 * 2 * 2 * 8 * 7


def test_a_request_is_the_same_after_it_was_stored() -> None:
    request = ask({"fear": 5, "anger": 2}, each=("group",), seed=9)
    assert DatasetRequest.model_validate_json(request.model_dump_json()) == request
    assert sum(request.counts.values()) == 7 * 7
    seeds = [request.candidates(number).seed for number in range(40)]
    assert len(set(seeds)) == 40
    assert [request.candidates(number).group for number in (0, 7)] == ["black", "black"]


def test_an_order_over_http_is_told_as_the_command_line_takes_it() -> None:
    order = DatasetOrder.model_validate_json(json.dumps({"counts": {"fear/female": 20, "joie/female": 10}, "each": ["group"]}))
    command, python = dataset_again(order, "pretrained")
    assert "--counts fear/female:20,joie/female:10" in command
    assert command.endswith("--each group")
    assert "each=['group']" in python
    assert ask(order.wanted, each=order.each).counts["happiness/female/white"] == 10


@pytest.mark.parametrize("world", [1, 2, 3])
def test_cells_of_one_block_are_shared_out(world: int) -> None:
    sizes = [len(share_of(range(49), 49, rank, world)) for rank in range(world)]
    assert sum(sizes) == 49
    assert max(sizes) - min(sizes) <= 1


def test_cells_are_made_as_counted_and_held_out_of_each_emotion(
    colour_weights: Path, tmp_path: Path, likely_in_colour: str, colour: FacePipeline
) -> None:
    options = ["--counts", f"{likely_in_colour}:3", "--each", "gender", "--valid", "0.34", "--out", str(tmp_path / "faces")]
    known = {"--realism": "0", "--landmarks": "off"}
    assert main([*options, "--weights", str(colour_weights), *EASY, *sum(known.items(), ()), "--quiet"]) == 0
    manifest = json.loads((tmp_path / "faces" / "manifest.json").read_text())
    names = [f"{likely_in_colour}/female", f"{likely_in_colour}/male"]
    assert manifest["request"]["counts"] == dict.fromkeys(names, 3)
    assert "gender" not in manifest["request"]["settings"]
    assert [manifest["cells"][name]["delivered"] for name in names] == [3, 3]
    assert manifest["emotions"][likely_in_colour]["delivered"] == 6
    assert manifest["splits"] == {"train": {likely_in_colour: 4}, "valid": {likely_in_colour: 2}}
    with (tmp_path / "faces" / "faces.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted((row["gender"], row["split"]) for row in rows) == [
        *[("female", "train")] * 2,
        ("female", "valid"),
        *[("male", "train")] * 2,
        ("male", "valid"),
    ]
    card = (tmp_path / "faces" / "README.md").read_text()
    assert f"| {names[1]} | 3 | 3 |" in card
    assert "gender (as counted)" in card
    # The same order goes on with the same folder, and each face is the one that its seed and its class give.
    again = {
        "threshold": 0.0,
        "max_tries": 40,
        "steps": 2,
        "least_difference": 0.0,
        "valid": 0.34,
        "realism": 0,
        "landmarks": "off",
    }
    made = colour.dataset(tmp_path / "faces", counts=dict.fromkeys(reversed(names), 3), **again)
    assert made["command"] == manifest["command"]
    row = rows[-1]
    seed = int(row["seed"])
    one = {name: value for name, value in again.items() if name not in ("least_difference", "valid")}
    (face,) = colour(likely_in_colour, 1, seed, gender=row["gender"], **one).faces
    assert np.array_equal(np.asarray(Image.open(tmp_path / "faces" / row["file"])), face.image)
