from __future__ import annotations

import argparse
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import explain
from configs.loader import StrictModel, add_config_arguments, asked_config, load_config, to_yaml, validate
from configs.source import ConfigError, dump


class Filter(Enum):
    BOX = "box"
    LANCZOS = "lanczos"


class Lookup(StrictModel):
    kind: Literal["lookup"] = "lookup"
    codebook_size: Annotated[int, pydantic.Field(ge=2, le=65536)] = 512


class Lattice(StrictModel):
    kind: Literal["lattice"] = "lattice"
    levels: tuple[int, ...] = (8, 5, 5)


class Train(StrictModel):
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 64
    lr: Annotated[float, pydantic.Field(gt=0, le=1)] = 3e-4
    betas: tuple[float, float] = (0.9, 0.99)
    clip: Annotated[float, pydantic.Field(gt=0)] | None = 1.0
    resume: str | None = None
    ema: bool = True
    blur: Filter = Filter.BOX
    milestones: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = (10, 20)
    workers: int | list[int] = 0
    weights: dict[str, float] = pydantic.Field(default_factory=lambda: {"pixel": 1.0})


class Settings(StrictModel):
    train: Train = Train(batch_size=32)
    quantizer: Annotated[Lookup | Lattice, pydantic.Field(discriminator="kind")] = Lookup(codebook_size=1024)
    stage: Literal["tokenizer", "prior", "all"] = "all"
    out: Path = Path("runs")

    @pydantic.model_validator(mode="after")
    def _prior_needs_lookup(self) -> Settings:
        if self.stage == "prior" and self.quantizer.kind == "lattice":
            raise ValueError("stage prior needs quantizer.kind=lookup")
        return self


class Required(StrictModel):
    data: Path
    train: Train = Train()


def refusal(*overrides: str, model=Settings, path: str | Path | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(model, path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.batchsize=1", "train.batchsize: unknown key; did you mean batch_size?"),
        ("batch_size=1", "batch_size: unknown key; did you mean train.batch_size?"),
        ("trian.lr=1", "trian: unknown key; did you mean train?"),
        ("zzzz=1", "zzzz: unknown key; the keys here are train, quantizer, stage, out"),
        ("train.batch_size=many", "train.batch_size: got 'many', expected an integer, at least 1"),
        ("train.batch_size=0", "train.batch_size: got 0, expected an integer, at least 1"),
        ("train.batch_size=64.0", "train.batch_size: got 64.0, expected an integer, at least 1"),
        ("train.batch_size=true", "train.batch_size: got true, expected an integer, at least 1"),
        ("train.batch_size=null", "train.batch_size: got null, expected an integer, at least 1"),
        ("train.lr=2", "train.lr: got 2, expected a number, more than 0 and at most 1"),
        ("train.lr=.nan", "train.lr: got nan, expected a number, more than 0 and at most 1, finite"),
        ("train.ema=yes", "train.ema: got 'yes', expected true or false"),
        ("train.ema=1", "train.ema: got 1, expected true or false"),
        ("train.clip=-1", "train.clip: got -1, expected a number, more than 0, or null"),
        ("train.resume=12", 'train.resume: got 12, expected text or null (in quotes: "...")'),
        ("train.betas=[0.9]", "train.betas.1: missing; set it to a number"),
        ("train.betas=[0.9, x]", "train.betas.1: got 'x', expected a number"),
        ("train.milestones=[1, -2]", "train.milestones.1: got -2, expected an integer, at least 0"),
        ("train.workers=[1, x]", "train.workers.1: got 'x', expected an integer"),
        ("train.weights.pixel=x", "train.weights.pixel: got 'x', expected a number"),
        ("train.blur=lancos", "train.blur: got 'lancos', expected one of box, lanczos; did you mean lanczos?"),
        ("stage=piror", "stage: got 'piror', expected one of tokenizer, prior, all; did you mean prior?"),
        ("quantizer.kind=lokup", "quantizer.kind: got 'lokup', expected one of lookup, lattice; did you mean lookup?"),
        ("quantizer.codebok_size=3", "quantizer.codebok_size: unknown key; did you mean codebook_size?"),
        ("quantizer.levels=[3]", "quantizer.levels: unknown key; the keys here are kind, codebook_size"),
        ("train.lr.x=1", "train.lr: got {'x': 1}, expected a number, more than 0 and at most 1"),
        ("train.lr", "'train.lr' is not a setting; write section.key=value"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_how_to_mend_it(override: str, line: str) -> None:
    assert refusal(override) == f"command line: {line}"


def test_a_union_with_a_kind_checks_the_keys_of_that_kind() -> None:
    config = load_config(Settings, None, ["quantizer.kind=lattice", "quantizer.levels=[8, 6, 5]"])
    assert config.quantizer == Lattice(levels=(8, 6, 5))
    line = refusal("quantizer.kind=lattice", "quantizer.codebook_size=4")
    assert line == "command line: quantizer.codebook_size: unknown key; the keys here are kind, levels"


def test_a_section_given_in_part_keeps_the_rest_of_its_default() -> None:
    config = load_config(Settings, None, ["train.lr=0.5", "quantizer.codebook_size=2048"])
    assert config.train == Train(batch_size=32, lr=0.5)
    assert load_config(Settings, None, ["train.ema=false"]).quantizer == Lookup(codebook_size=1024)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("clip", "None", None),
        ("resume", "auto", "auto"),
        ("blur", "lanczos", Filter.LANCZOS),
        ("milestones", "[]", ()),
        ("betas", "[0, 0.5]", (0.0, 0.5)),
        ("workers", "[1, 2]", [1, 2]),
        ("weights", "{emotion: 2}", {"emotion": 2.0}),
        ("batch_size", "4", 4),
    ],
)
def test_values_of_every_kind_are_read_and_the_last_one_counts(key: str, text: str, value: object) -> None:
    config = load_config(Settings, None, ["train.batch_size=3", "out=a/b", f"train.{key}={text}"])
    assert (getattr(config.train, key), config.out) == (value, Path("a/b"))


def test_file_then_command_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("train:\n  lr: 1e-2\n  milestones: [1, 2]\nstage: prior\n")
    config = load_config(Settings, path, ["train.milestones.1=5", "stage=tokenizer"], defaults={"train": {"ema": False}})
    assert config.train == Train(batch_size=32, lr=0.01, milestones=(1, 5), ema=False)
    assert config.stage == "tokenizer"


def test_the_line_names_where_the_value_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("train:\n  lrr: 1\n")
    assert refusal(path=path) == f"{path}: train.lrr: unknown key; did you mean lr?"
    path.write_text("stage: prior\ntrain: {lr: 5}\n")
    assert refusal("train.lr=7", path=path).startswith("command line: train.lr: got 7")
    assert refusal("train.ema=true", path=path).startswith(f"{path}: train.lr: got 5")
    path.write_text("stage: prior\n")
    assert refusal("quantizer.kind=lattice", path=path) == (f"{path} and command line: stage prior needs quantizer.kind=lookup")


def test_further_problems_are_counted() -> None:
    line = refusal("train.lr=-1", "stage=x", "nonsense=1")
    assert line.startswith("command line: nonsense: unknown key")
    assert line.endswith("(and 2 more problems)")


def test_a_missing_value_is_named() -> None:
    assert refusal(model=Required) == "settings: data: missing; set it to a path"


@pytest.mark.parametrize(
    ("asked", "end"),
    [
        ("bse.yaml", "no such file; did you mean {folder}/base.yaml?"),
        ("base.yml", "no such file; did you mean {folder}/base.yaml?"),
        ("base", "no such file; did you mean {folder}/base.yaml?"),
        ("quick-drawn-run.yaml", "no such file; {folder} holds base.yaml, large.yaml"),
        ("", "is a folder; name a file in it: base.yaml, large.yaml"),
    ],
)
def test_a_missing_file_or_a_folder_names_the_nearest_one(tmp_path: Path, asked: str, end: str) -> None:
    for name in ("base.yaml", "large.yaml"):
        (tmp_path / name).write_text("")
    assert refusal(path=tmp_path / asked) == f"{tmp_path / asked}: " + end.format(folder=tmp_path)


def test_shipped_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("configs.loader.PACKAGE_PARENT", tmp_path)
    (tmp_path / "configs" / "vqvae").mkdir(parents=True)
    (tmp_path / "configs" / "vqvae" / "base.yaml").write_text("stage: prior\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_config(Settings, "configs/vqvae/base.yaml").stage == "prior"
    assert refusal(path="configs/vqave/base.yaml").endswith("did you mean configs/vqvae/base.yaml?")
    assert refusal(path="base").endswith("did you mean configs/vqvae/base.yaml?")
    (elsewhere / "configs" / "vqvae").mkdir(parents=True)
    (elsewhere / "configs" / "vqvae" / "base.yaml").write_text("stage: tokenizer\n")
    assert load_config(Settings, "configs/vqvae/base.yaml").stage == "tokenizer"


settings = st.builds(
    Settings,
    train=st.builds(
        Train,
        batch_size=st.integers(1, 10**6),
        lr=st.floats(1e-9, 1),
        clip=st.none() | st.floats(1e-3, 10),
        resume=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["1e5", "no", "null"]),
        ema=st.booleans(),
        blur=st.sampled_from(Filter),
        milestones=st.lists(st.integers(0, 99), max_size=3).map(tuple),
        workers=st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2),
        weights=st.dictionaries(st.sampled_from(["pixel", "1", "true"]), st.floats(0, 9), max_size=2),
    ),
    quantizer=st.builds(Lookup, codebook_size=st.integers(2, 99)) | st.builds(Lattice),
    stage=st.sampled_from(["tokenizer", "all"]),
)


@given(settings)
def test_printed_settings_are_read_back_equal(tmp_path_factory: pytest.TempPathFactory, config: Settings) -> None:
    path = tmp_path_factory.mktemp("printed") / "x.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(Settings, path) == config


@given(st.sampled_from(["train", "train.lr", "train.betas", "train.weights.pixel", "stage", "quantizer", "zz", "out"]), st.data())
def test_any_value_is_taken_or_refused_in_one_line_that_names_its_key(key: str, data: st.DataObject) -> None:
    value = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([[1], {}]))
    text = dump(value).removesuffix("...\n").strip()
    line = f"command line: {key}"
    try:
        load_config(Settings, None, [f"{key}={text}"])
    except ConfigError as error:
        line = str(error)
    assert line.startswith(f"command line: {key}")
    assert "\n" not in line


def test_stored_settings_are_checked_the_same_way() -> None:
    stored = {"codebook_size": 64}
    assert validate(Lookup, stored, "w/config.json") == Lookup(codebook_size=64)
    with pytest.raises(ConfigError, match=r"^w/config\.json: codebook_size: got 1, expected an integer, at least 2"):
        validate(Lookup, {"codebook_size": 1}, "w/config.json")
    with pytest.raises(ConfigError, match=r"^w/config\.json: got \[1\], expected a section with kind, codebook_size$"):
        validate(Lookup, [1], "w/config.json")


def test_settings_are_fixed_once_made() -> None:
    config = load_config(Settings, None)
    with pytest.raises(pydantic.ValidationError):
        config.stage = "prior"


def test_options_and_settings_mix_on_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    parser.add_argument("--resume")
    arguments = parser.parse_args(["a=1", "--resume", "auto", "b=2", "--config", "x.yaml", "c=-3", "--print-config"])
    assert arguments.overrides == ["a=1", "b=2", "c=-3"]
    assert (arguments.config, arguments.resume, arguments.print_config) == ("x.yaml", "auto", True)
    nothing = parser.parse_args([])
    assert (nothing.overrides, nothing.config, nothing.print_config) == ([], None, False)


def test_a_command_line_names_a_file_or_takes_the_default_with_options_on_top(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    for name in ("prior", "tokenizer"):
        (tmp_path / name).write_text(f"stage: {name}\n")

    def asked(*arguments: str) -> Settings:
        options = {"train.lr": 0.5, "train.clip": None}
        return asked_config(Settings, parser.parse_args(arguments), tmp_path / "prior", options)

    assert asked().stage == "prior"
    config = asked("--config", str(tmp_path / "tokenizer"), "train.lr=0.1", "train.batch_size=5")
    assert (config.stage, config.train.lr, config.train.clip, config.train.batch_size) == ("tokenizer", 0.5, 1.0, 5)
    with pytest.raises(SystemExit) as end:
        asked("--print-config")
    assert end.value.code == 0
    assert capsys.readouterr().out == to_yaml(asked())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([".".join(["train"] * 1000) + "=1"], "is not a key"),
        (["train=" + "{" + ", ".join(f"k{n}: 1" for n in range(60_000)) + "}"], "a value of"),
        (["train=" + "{" + ", ".join(f"k{n}: 1" for n in range(9_000)) + "}"], r"unknown key.*and 8999 more problems"),
        (["train=" + "[" * 60 + "]" * 60], "more than 32 levels"),
        (["train=[" + "1," * 20_000 + "]"], "or 10000 values"),
        ([f"train.k{n}=1" for n in range(60_000)], "60,000 settings are more than 1,000"),
        (["train." + "x" * 10**6 + "=1"], "is not a key"),
        (["x" * 10**7], "is not a setting"),
        (["train.lr='" + "x" * 10**5 + "'"], "expected a number"),
        (["9" * 5000 + "=1"], "is not a key"),
    ],
)
def test_settings_beyond_all_bounds_are_one_short_line(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(Settings, None, overrides)
    assert len(str(caught.value)) < 2100
    assert "\n" not in str(caught.value)


def test_of_many_problems_few_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    explained: list[object] = []
    sentence = explain._sentence
    monkeypatch.setattr(explain, "_sentence", lambda *given: explained.append(given) or sentence(*given))
    with pytest.raises(ConfigError, match=r"\(and 19999 more problems\)"):
        validate(Settings, {f"k{n}": n for n in range(20_000)}, "config.json")
    assert len(explained) <= 50
