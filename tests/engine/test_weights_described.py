"""What a weights folder describes: nothing is built that its weights do not fill, and no changed description is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from configs.cli import UserError
from configs.version import version
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.gender import GenderClassifier
from engine.storage.weights import load_network, read_config, save_weights
from vqvae.prior import MaskedPrior
from vqvae.tokenizer import Tokenizer

SHIPPED = Path(__file__).resolve().parents[2] / "pretrained"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_weights(tmp_path / "weights", nn.Linear(3, 2).state_dict(), {"kind": "encoder", "model": {"width": 3, "rate": 0.25}})
    return tmp_path / "weights"


def change(folder: Path, edit: Callable[[dict[str, Any]], Any], *, keep_hash: bool = False) -> None:
    config = json.loads((folder / "config.json").read_text())
    if not keep_hash:
        del config["config_sha256"]
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_network_is_built_without_memory_before_it_is_built(folder: Path) -> None:
    built: list[str] = []

    def build(width: int = 3) -> nn.Module:
        net = nn.Linear(width, 2)
        built.append(net.weight.device.type)
        return net

    config = read_config(folder, "encoder")
    assert load_network(folder, config, build).weight.shape == (2, 3)
    assert built == ["meta", "cpu"]
    built.clear()
    with pytest.raises(UserError, match=r"tensor weight has shape \(2, 3\), the model needs \(2, 1000000000000\)"):
        load_network(folder, config, lambda: build(10**12))
    assert built == ["meta"]


def test_weights_say_which_version_wrote_them_and_those_that_do_not_are_read(folder: Path) -> None:
    assert read_config(folder, "encoder")["version"] == version()
    before = load_network(folder, read_config(folder, "encoder"), lambda: nn.Linear(3, 2)).weight
    change(folder, lambda config: config.pop("version"))
    assert "version" not in read_config(folder, "encoder")
    assert load_network(folder, read_config(folder, "encoder"), lambda: nn.Linear(3, 2)).weight.equal(before)
    change(folder, lambda config: config.update(version="another"), keep_hash=True)
    assert read_config(folder, "encoder")["version"] == "another"
    change(folder, lambda config: config.update(version=7), keep_hash=True)
    with pytest.raises(UserError, match=r"config\.json: version: must be text, got 7"):
        read_config(folder, "encoder")


def test_a_changed_version_is_noticed(folder: Path) -> None:
    change(folder, lambda config: config.update(version="another"), keep_hash=True)
    with pytest.raises(UserError, match="config_sha256: not the SHA-256 of what stands there"):
        read_config(folder, "encoder")


@pytest.mark.parametrize("build", [lambda: nn.GroupNorm(8, 46), lambda: nn.Linear(2**62, 2**62), lambda: nn.Linear(-1, 2)])
def test_settings_of_which_no_network_can_be_built_are_one_line(folder: Path, build: Callable[[], nn.Module]) -> None:
    with pytest.raises(UserError, match=r"config.json: model: no network can be built of these settings \([^\n]+\)$"):
        load_network(folder, read_config(folder, "encoder"), build)


@pytest.mark.parametrize(
    ("kind", "load", "model"),
    [
        ("encoder", EmotionEncoder.from_pretrained, {"widths": [2048] * 8, "depths": [2] * 8}),
        ("gender", GenderClassifier.from_pretrained, {"widths": [2048] * 5}),
        ("tokenizer", Tokenizer.from_pretrained, {"codebook_size": 1 << 20, "code_dim": 256, "groups": 8}),
        ("prior", MaskedPrior.from_pretrained, {"prior": {"width": 2048, "depth": 64, "heads": 1}}),
    ],
)
def test_no_description_asks_for_more_memory_than_its_weights(
    kind: str, load: Callable[[Path], Any], model: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(SHIPPED / kind, tmp_path / kind)
    change(tmp_path / kind, lambda config: config["model"].update(model))
    # Each would take from 1 to 13 GB.
    with pytest.raises(UserError, match=r"the model needs|is missing|is unknown"):
        load(tmp_path / kind)


def test_a_tokenizer_of_a_width_that_no_layer_takes_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "tokenizer", tmp_path / "tokenizer")
    change(tmp_path / "tokenizer", lambda config: config["model"].update(widths=[46, 96, 160]))
    with pytest.raises(UserError, match="no network can be built of these settings"):
        Tokenizer.from_pretrained(tmp_path / "tokenizer")


def test_a_prior_whose_width_its_heads_do_not_divide_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "prior", tmp_path / "prior")
    change(tmp_path / "prior", lambda config: config["model"]["prior"].update(heads=9))
    with pytest.raises(UserError, match="cannot be divided among heads=9"):
        MaskedPrior.from_pretrained(tmp_path / "prior")


# ---- the hash of the description


def test_no_digit_of_a_description_can_change_unseen(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    digits = [place for place, sign in enumerate(text) if sign.isdigit()]
    assert len(digits) > 50
    for place in digits:
        other = str((int(text[place]) + 1) % 10)
        (folder / "config.json").write_text(text[:place] + other + text[place + 1 :])
        with pytest.raises(UserError):
            read_config(folder, "encoder")


def test_the_layout_of_a_description_does_not_matter_and_one_without_a_hash_is_read(folder: Path) -> None:
    plain = read_config(folder, "encoder")
    change(folder, lambda config: config["model"].update(rate=0.25), keep_hash=True)
    assert read_config(folder, "encoder") == plain
    change(folder, lambda config: config["model"].update(rate=0.5), keep_hash=True)
    with pytest.raises(UserError, match="config_sha256: not the SHA-256 of what stands there; copy the folder again"):
        read_config(folder, "encoder")
    change(folder, lambda config: None)
    assert read_config(folder, "encoder")["model"]["rate"] == 0.5


@pytest.mark.parametrize("kind", sorted(path.name for path in SHIPPED.iterdir() if (path / "config.json").is_file()))
def test_shipped_descriptions_have_their_hash(kind: str) -> None:
    assert "config_sha256" in json.loads((SHIPPED / kind / "config.json").read_text())


# ---- heads


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["heads"].update(ferpluss=c["heads"].pop("ferplus")), r"heads\.ferpluss: no head of this network"),
        (lambda c: c["heads"]["ferplus"].update(log_prior=[-1.0] * 7), r"heads\.ferplus\.log_prior: needs 8 numbers, got 7"),
        (lambda c: c["heads"]["fer2013"].update(log_prior=[-1.0]), r"heads\.fer2013\.log_prior: needs 7 numbers, got 1"),
    ],
)
def test_calibrations_fit_the_heads_of_the_network(edit: Callable[[dict[str, Any]], Any], words: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "fast", tmp_path / "fast")
    change(tmp_path / "fast", lambda config: edit(config["calibration"]))
    with pytest.raises(UserError, match=rf"config\.json: calibration\.{words}"):
        EmotionEncoder.from_pretrained(tmp_path / "fast")


def test_the_answer_is_a_head_of_the_network(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "judge", tmp_path / "judge")
    change(tmp_path / "judge", lambda config: config["calibration"].update(answer="ferplus"))
    with pytest.raises(UserError, match=r"calibration\.answer: ferplus is no head of this network; its heads are fer2013"):
        EmotionEncoder.from_pretrained(tmp_path / "judge")
