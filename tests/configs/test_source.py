from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs.source import MAX_BYTES, ConfigError, apply_override, dump, parse, parse_override, read_file

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(values)
def test_what_is_written_is_read_back(value) -> None:
    assert parse(dump(value), "here") == value
    assert type(parse(dump(value), "here")) is type(value)


@given(st.lists(names, min_size=1, max_size=4), scalars)
def test_an_override_sets_exactly_its_key(parts: list[str], value) -> None:
    style = '"' if isinstance(value, str) else None
    text = yaml.safe_dump(value, default_style=style, width=1000).removesuffix("...\n").strip()
    key, parsed = parse_override(f"{'.'.join(['deep', *parts])}={text}")
    data = {"kept": 1}
    apply_override(data, key, parsed)
    expected = value
    for part in reversed(["deep", *parts]):
        expected = {part: expected}
    assert data == expected | {"kept": 1}


@given(texts)
def test_any_argument_is_a_setting_or_one_clear_line(text: str) -> None:
    try:
        key, _ = parse_override(text)
    except ConfigError as error:
        line = str(error)
    else:
        line = "command line: "
        assert text.partition("=")[0].strip() == ".".join(key)
    assert line.startswith("command line: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e5", 1e5),
        (".5", 0.5),
        ("1_000", 1000),
        ("010", 10),
        ("true", True),
        ("None", None),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("colère", "colère"),
        ("[1, 2.5, x]", [1, 2.5, "x"]),
        ("{fear: 0.7}", {"fear": 0.7}),
        ("'12'", "12"),
        ("a=b", "a=b"),
    ],
)
def test_values_mean_what_they_look_like(text: str, value) -> None:
    _, parsed = parse_override(f"key={text}")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2, column 1: key 'a' appears twice"),
        ("a: &x [1]\nb: *x\n", "line 1, column 4: anchors and aliases"),
        ("a: !!python/name:os.system\n", "tags (!...) are not allowed"),
        ("a: !!binary aGk=\n", "tags (!...) are not allowed"),
        ("a: [1\n", "not valid YAML"),
        ("? [1]\n: 2\n", "a key must be plain text"),
        ("a: " + "9" * 5000, "too many digits"),
        ("[" * 5000, "more than 32 levels of brackets"),
        ("- " * 5000, "nested too deeply"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ('a: "\\ud800"\n', "not valid Unicode"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_text_that_hides_or_breaks_something_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, "x.yaml")
    assert str(error.value).startswith("x.yaml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["key", "=1", ".a=1", "a..b=1", "a b=1", "a=", "a= ", "--lr=1x y="])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="command line: "):
        parse_override(text)


def test_list_entries_are_set_by_index() -> None:
    data = {"a": {"b": [1, 2, 3]}}
    apply_override(data, ("a", "b", "1"), 7)
    assert data == {"a": {"b": [1, 7, 3]}}
    for index in ("3", "last"):
        with pytest.raises(ConfigError, match=r"a\.b is a list of 3"):
            apply_override(data, ("a", "b", index), 7)


def test_a_value_is_no_section() -> None:
    with pytest.raises(ConfigError, match=r"a\.b\.c: a\.b is 1, not a section; set a\.b="):
        apply_override({"a": {"b": 1}}, ("a", "b", "c"), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "expected sections of 'key: value', got a list"),
        (b"a: \xff\n", "byte 3 is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "more than 128 KiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_file(path, "x.yaml")
    assert message in str(error.value)


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"# nothing set\n")
    assert read_file(path, "x.yaml") == {}
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_file(path, "x.yaml") == {"a": 1}
