"""A program's settings: a YAML file, `key=value` arguments on top, checked against a typed model.

    config = load_config(VqvaeConfig, "configs/vqvae/base.yaml", ["prior_stage.batch_size=128"])

A mistake is one line that names file or command line, the dotted key, what was wrong and the nearest valid name.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic_core import PydanticSerializationError, to_json

from configs.explain import Key, dotted, nearest, problems, section_types
from configs.source import MAX_OVERRIDES, ConfigError, apply_override, dump, parse_override, read_file
from configs.wording import one_line

__all__ = [
    "ConfigError",
    "StrictModel",
    "add_config_arguments",
    "add_run_arguments",
    "asked_config",
    "load_config",
    "refuse_unread",
    "to_yaml",
    "validate",
]

_LONGEST_LINE = 2000
PACKAGE_PARENT = Path(__file__).resolve().parent.parent


class StrictModel(pydantic.BaseModel):
    """Base of every settings model: unknown keys refused, values fixed once made, numbers finite."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


T = TypeVar("T", bound=pydantic.BaseModel)


def refuse_unread(section: str, settings: pydantic.BaseModel, readers: Mapping[str, str], files: Mapping[str, str]) -> None:
    """For a validator: what only one ``source`` reads may not be set while ``settings.source`` is another one.

    Training would go on without it, on other faces than those that were named.

    Args:
        section: name of the section in the configuration, such as ``data``.
        readers: the source that reads each key which not all sources read.
        files: a configuration to give with ``--config`` for each source that has one.

    Raises:
        ValueError: such a key has another value than its default.
    """
    source = settings.source  # type: ignore[attr-defined]
    for name, reader in readers.items():
        default = type(settings).model_fields[name].default
        if reader != source and getattr(settings, name) != default:
            file = f"give --config {files[reader]}, or " if {reader, source} <= files.keys() else ""
            raise ValueError(f"{name} is not read while source={source}: {file}set {section}.source={reader}, or leave it out")


def load_config(
    model: type[T],
    path: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    defaults: Mapping[str, Any] | None = None,
) -> T:
    """Settings of type `model`: the model's defaults, then `defaults`, then the file, then the overrides.

    `path` is taken from the current folder or, if absent there, from the folder that holds the `configs` package, so
    that `configs/vqvae/base.yaml` works from anywhere; None reads no file. `defaults` is a nested mapping. An override
    is `dotted.key=YAML value`. A section given in part keeps the rest of its default. Types are strict: text is no
    number, 1 is not true, 1.0 is no integer.

    Raises ConfigError, one line, for a file that is missing or unreadable and for the first refused key.
    """
    name = None if path is None else str(path)
    given = read_file(_find(path), str(path)) if path is not None else {}
    if len(overrides) > MAX_OVERRIDES:
        raise ConfigError(f"command line: {len(overrides):,} settings are more than {MAX_OVERRIDES:,}; write them into a file")
    changes = [parse_override(text) for text in overrides]
    data = _merge(model, copy.deepcopy(dict(defaults or {})), given)
    for parts, value in changes:
        apply_override(data, parts, value)
    data = _complete(model, None, data)
    return _checked(model, data, lambda key: _origin(key, name, given, [parts for parts, _ in changes]))


def validate(model: type[T], data: Mapping[str, Any], where: str) -> T:
    """Settings that were stored with weights, as a typed model; `where` names their file in the error.

    Raises ConfigError, one line, for the first refused key.
    """
    return _checked(model, data, lambda key: where)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE`, `--print-config` and positional `key=value ...`: `config`, `print_config`, `overrides`.

    Settings and options may then be mixed in any order on the command line.
    """
    parser.add_argument("--config", metavar="FILE", default=None, help="YAML file with the settings")
    parser.add_argument("--print-config", action="store_true", help="print the settings that would be used, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change single settings; --print-config shows all")
    # argparse fills a "*" positional from the first run of arguments only: `a=1 --resume auto b=2` would be refused.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]


def add_run_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add what every training takes: `add_config_arguments`, `--out FOLDER`, `--resume` and `--max-minutes`."""
    add_config_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path(out), help="run directory (default: %(default)s)")
    parser.add_argument("--resume", metavar="latest|CHECKPOINT", help="continue the run in --out, or from a checkpoint")
    parser.add_argument("--max-minutes", type=float, help="lay the schedule over this time instead of the epochs configured")


def asked_config(
    model: type[T], arguments: argparse.Namespace, default: str | Path, options: Mapping[str, Any] | None = None
) -> T:
    """The settings that a command line with `add_config_arguments` asks for, of `default` where it names no file.

    `options` are settings by dotted key that options of their own gave; None: not given. They count after the overrides.
    With `--print-config` the settings are printed, and SystemExit ends the command.
    """
    given = [f"{key}={value}" for key, value in (options or {}).items() if value is not None]
    config = load_config(model, arguments.config or default, [*arguments.overrides, *given])
    if arguments.print_config:
        print(to_yaml(config), end="")
        raise SystemExit(0)
    return config


def to_yaml(config: pydantic.BaseModel) -> str:
    """The settings as YAML that `load_config` reads back to an equal model."""
    return dump(config.model_dump(mode="json"))


def _checked(model: type[T], data: Mapping[str, Any], origin: Callable[[Key], str]) -> T:
    """`data` as a `model`, or a ConfigError for the first problem, placed by `origin`, that counts the others."""
    try:
        # JSON mode is pydantic's strict mode that still takes a list for a tuple and text for a Path or an Enum.
        return model.model_validate_json(_as_json(data, origin), strict=True)
    except pydantic.ValidationError as error:
        found, count = problems(error, model, data)
    (key, sentence), rest = found[0], count - 1
    more = f" (and {rest} more problem{'s' if rest > 1 else ''})" if rest else ""
    subject = f"{dotted(key)}: " if key else ""
    raise ConfigError(one_line(f"{origin(key)}: {subject}{sentence}", _LONGEST_LINE) + more)


def _as_json(data: Mapping[str, Any], origin: Callable[[Key], str]) -> bytes:
    try:
        return to_json(data, inf_nan_mode="constants")
    except PydanticSerializationError:
        for name, value in data.items():
            try:
                to_json(value, inf_nan_mode="constants")
            except PydanticSerializationError:
                kind = f"{type(value).__module__}.{type(value).__name__}"
                raise ConfigError(f"{origin((name,))}: {name}: cannot be a {kind}; give text, a number or a list") from None
        raise


def _find(path: str | Path) -> Path:
    for candidate in (Path(path), PACKAGE_PARENT / path):
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            files = ", ".join(sorted(file.name for file in candidate.glob("*.yaml")))
            raise ConfigError(f"{path}: is a folder; name a file in it" + (f": {files}" if files else ""))
    raise ConfigError(f"{path}: no such file" + _nearest_file(Path(path)))


def _nearest_file(path: Path) -> str:
    for folder in (path.parent, PACKAGE_PARENT / path.parent):
        names = sorted(file.name for file in folder.glob("*.yaml")) if path.parent != Path() else []
        if names:
            close = nearest(path.name, names) or nearest(path.stem, [Path(name).stem for name in names])
            if close is not None:
                return f"; did you mean {path.parent / Path(close).with_suffix('.yaml')}?"
            return f"; {path.parent} holds {', '.join(names)}"
    shipped = [file.relative_to(PACKAGE_PARENT).as_posix() for file in (PACKAGE_PARENT / "configs").rglob("*.yaml")]
    by_name = {name: name for name in shipped} | {Path(name).name: name for name in sorted(shipped, reverse=True)}
    close = nearest(path.as_posix(), by_name) or nearest(path.with_suffix(".yaml").name, by_name)
    return f"; did you mean {by_name[close]}?" if close else ""


def _section(annotation: Any, value: Any) -> type[pydantic.BaseModel] | None:
    sections = section_types(annotation, value)
    return sections[0] if len(sections) == 1 and isinstance(value, Mapping) else None


def _merge(model: type[pydantic.BaseModel], base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`: sections of the model are joined key by key, every other value is replaced."""
    merged = dict(base)
    for name, value in over.items():
        field = model.model_fields.get(name)
        section = _section(field.annotation, value) if field else None
        old = base.get(name)
        merged[name] = _merge(section, old, value) if section and isinstance(old, dict) else value
    return merged


def _complete(model: type[pydantic.BaseModel], default: pydantic.BaseModel | None, data: dict[str, Any]) -> dict[str, Any]:
    """Fill a section given in part from the default its parent declares.

    pydantic would fill it from the section's own class: with `train: Train = Train(steps=5)`, the override
    `train.lr=1` would silently change `steps` too.
    """
    filled = dict(data)
    for name, field in model.model_fields.items():
        own = getattr(default, name) if default is not None else field.get_default(call_default_factory=True)
        value = data.get(name)
        section = type(own) if type(own) in section_types(field.annotation, value) else _section(field.annotation, value)
        if section is not None and isinstance(value, dict):
            filled[name] = _complete(section, own if type(own) is section else None, value)
    if default is not None:
        filled = {name: value for name, value in default.model_dump(mode="json").items() if name not in data} | filled
    return filled


def _origin(key: Key, file: str | None, given: Mapping[str, Any], changed: Sequence[tuple[str, ...]]) -> str:
    """Where the refused value was written: the last override that set it, else the file, else the program itself."""
    place = tuple(str(part) for part in key)
    if any(place[: len(parts)] == parts for parts in changed):
        return "command line"
    inside = any(parts[: len(place)] == place for parts in changed)
    if file is None:
        return "command line" if inside else "settings"
    return f"{file} and command line" if inside else file
