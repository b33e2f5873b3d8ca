"""Text to plain values: YAML files and `key=value` arguments, read strictly and without surprises.

The dialect is the core schema of YAML 1.2 as people expect it: `3e-4` is a number, `no` and `2026-11-21` are text,
only `true` and `false` are booleans. Duplicate keys, anchors and tags are refused, so a file can neither hide a
value nor grow in memory nor name Python objects.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml

from configs.cli import UserError
from configs.wording import one_line

# Far beyond any settings; what is larger takes long to read and longer to explain.
MAX_BYTES = 1 << 17
MAX_OVERRIDES = 1000
_MAX_VALUES, _MAX_DEPTH = 10_000, 32


class ConfigError(UserError):
    """A setting that cannot be used: `<file or command line>: <dotted key>: <what is wrong>; <how to mend it>`."""


class _Reader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.constructor.ConstructorError(
                None, None, "anchors and aliases (& and *) are not allowed; write the value out", event.start_mark
            )
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, kind: type[yaml.Token]) -> None:
        # Before a key can end, PyYAML looks through all open brackets at each new one.
        if self.flow_level > _MAX_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_MAX_DEPTH} levels of brackets", self.get_mark())
        super().fetch_flow_collection_start(kind)


class _Writer(yaml.SafeDumper):
    """Keeps the resolvers of YAML 1.1 beside ours, so that text is quoted whenever either dialect would misread it."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        first: list(rules) for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _mapping(reader: _Reader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
        key = _text(reader, key_node)
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{one_line(key, 60)}' appears twice in one section; keep one", key_node.start_mark
            )
        result[key] = reader.construct_object(value_node, deep=True)
    return result


def _text(reader: _Reader, node: yaml.ScalarNode) -> str:
    text = str(reader.construct_scalar(node))
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise yaml.constructor.ConstructorError(None, None, "text is not valid Unicode", node.start_mark)
    return text


def _sequence(reader: _Reader, node: yaml.SequenceNode) -> list[Any]:
    return reader.construct_sequence(node, deep=True)


def _integer(reader: _Reader, node: yaml.ScalarNode) -> int:
    try:
        return int(reader.construct_scalar(node).replace("_", ""))
    except ValueError:
        raise yaml.constructor.ConstructorError(None, None, "number has too many digits", node.start_mark) from None


def _float(reader: _Reader, node: yaml.ScalarNode) -> float:
    text = reader.construct_scalar(node).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _refuse_tag(reader: _Reader, node: yaml.Node) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, "tags (!...) are not allowed; write a plain value", node.start_mark)


def _quote_breaks(writer: _Writer, text: str) -> yaml.ScalarNode:
    """Text with Unicode line breaks in double quotes: written plainly, PyYAML reads them back as spaces."""
    style = '"' if any(letter in "\x85\u2028\u2029\ufeff" for letter in text) else None
    return writer.represent_scalar(_TAG + "str", text, style=style)


_TAG = "tag:yaml.org,2002:"
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|None|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+(?:_[0-9]+)*", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
for _name, _pattern, _first in _PATTERNS:
    for _class in (_Reader, _Writer):
        _letters = [*_first, ""] if _name == "null" else list(_first)
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _letters)
_Reader.add_constructor(_TAG + "null", lambda reader, node: None)
_Reader.add_constructor(_TAG + "bool", lambda reader, node: node.value.lower() == "true")
_Reader.add_constructor(_TAG + "int", _integer)
_Reader.add_constructor(_TAG + "float", _float)
_Reader.add_constructor(_TAG + "str", _text)
_Reader.add_constructor(_TAG + "seq", _sequence)
_Reader.add_constructor(_TAG + "map", _mapping)
_Reader.add_constructor(None, _refuse_tag)
_Writer.add_representer(str, _quote_breaks)


def parse(text: str, where: str) -> Any:
    """The value a YAML text stands for: null, boolean, number, text, list or dict with text keys.

    Raises ConfigError that starts with `where` and names line and column.
    """
    try:
        # _Reader is a SafeLoader reduced to seven plain types; it cannot build Python objects.
        value = yaml.load(text, Loader=_Reader)  # noqa: S506
        _require_small(value, where)
        return value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        syntax = "" if isinstance(error, yaml.constructor.ConstructorError) else "not valid YAML: "
        raise ConfigError(f"{where}: {place}{syntax}{one_line(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{where}: not valid YAML: {one_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply to be a configuration") from None


def _require_small(value: Any, where: str) -> None:
    """Refuse what is no configuration by its number of values or levels."""
    waiting, count = [(value, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        count += 1
        if depth > _MAX_DEPTH or count > _MAX_VALUES:
            raise ConfigError(f"{where}: more than {_MAX_DEPTH} levels or {_MAX_VALUES} values; this is not a configuration")
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting.extend((each, depth + 1) for each in inner)


def dump(value: Any) -> str:
    """YAML text in the order given, which `parse` reads back as an equal value."""
    return yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120)


def read_file(path: Path, name: str) -> dict[str, Any]:
    """The top-level section of a YAML file; `name` stands for the file in messages."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name}: more than {MAX_BYTES >> 10} KiB; this is not a configuration file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    value = parse(text, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected sections of 'key: value', got a {type(value).__name__}")
    return value


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`train.lr=3e-4` as (("train", "lr"), 0.0003). The value is one YAML value: scalar, [list] or {mapping}."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if len(value) > MAX_BYTES:
        raise ConfigError(f"command line: {one_line(key, 60)}: a value of {len(value):,} signs is not a setting")
    if not equals:
        raise ConfigError(f"command line: '{one_line(text, 60)}' is not a setting; write section.key=value")
    parts = tuple(key.split("."))
    if len(parts) > _MAX_DEPTH or not all(re.fullmatch(r"\w[\w-]{0,99}", part) for part in parts):
        raise ConfigError(f"command line: '{one_line(key, 60)}' is not a key; write names joined by dots: section.key=value")
    if not value.strip():
        raise ConfigError(f"command line: {key}: no value; write {key}=null for none or {key}='\"\"' for empty text")
    return parts, parse(value, f"command line: {key}")


def apply_override(data: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    """Set one dotted key in `data` in place; sections that are absent are made, list entries must exist."""
    target: Any = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        above = ".".join(parts[:depth])
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise ConfigError(
                    f"command line: {'.'.join(parts)}: {above} is a list of {len(target)}; "
                    f"count from 0, or write all of it: {above}=[...]"
                )
            index: Any = int(part)
        elif isinstance(target, dict):
            index = part
            if not last and target.get(part) is None:
                target[part] = {}
        else:
            raise ConfigError(
                f"command line: {'.'.join(parts)}: {above} is {one_line(repr(target), 60)}, not a section; set {above}=..."
            )
        if last:
            target[index] = value
        else:
            target = target[index]
