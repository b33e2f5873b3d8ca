"""Why a configuration was refused, as one line: the dotted key, what was wrong, what is allowed, the nearest name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pydantic
from pydantic.fields import FieldInfo

Key = tuple[str | int, ...]
Problem = tuple[Key, str]

# Looking for names like a long one takes time that grows with its square; of many problems the first is what is shown.
_LONGEST_NAME, _MOST_PROBLEMS = 100, 50

_PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
    Any: "any value",
}


def dotted(key: Key) -> str:
    """("model", "layers", 0) as `model.layers.0`, the form `key=value` arguments use."""
    return ".".join(str(part) for part in key)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` most likely was meant to be, upper and lower case alike; None if none is near."""
    if len(name) > _LONGEST_NAME:
        return None
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def show(value: Any) -> str:
    """A value as one would write it in YAML, shortened to a readable length."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def alternatives(annotation: Any) -> list[Any]:
    """The members of a union, each without its Annotated wrapper."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in alternatives(member)]
    return [annotation]


def section_types(annotation: Any, value: Any) -> list[type[pydantic.BaseModel]]:
    """Models in `annotation` that `value` can be meant for: those whose Literal fields (a `kind`) agree with it."""
    found = []
    for member in alternatives(annotation):
        if not (isinstance(member, type) and issubclass(member, pydantic.BaseModel)):
            continue
        kinds = {
            name: get_args(field.annotation)
            for name, field in member.model_fields.items()
            if get_origin(field.annotation) is Literal
        }
        given = value if isinstance(value, Mapping) else {}
        if all(given[name] in allowed for name, allowed in kinds.items() if name in given):
            found.append(member)
    return found or [m for m in alternatives(annotation) if isinstance(m, type) and issubclass(m, pydantic.BaseModel)]


def _field_at(model: type[pydantic.BaseModel], data: Any, key: Key) -> FieldInfo | None:
    """Declaration of the value at `key`; inside lists and dicts a bare one made from the entry's type."""
    field = FieldInfo(annotation=model)
    for part in key:
        options: list[FieldInfo] = []
        for section in section_types(field.annotation, data):
            if part in section.model_fields:
                options.append(section.model_fields[str(part)])
        for member in alternatives(field.annotation):
            arguments = get_args(member)
            if arguments and isinstance(part, int):
                fixed = get_origin(member) is tuple and arguments[-1] is not Ellipsis
                options.append(_entry(arguments[part if fixed and part < len(arguments) else 0]))
            elif len(arguments) == 2 and isinstance(data, Mapping):
                options.append(_entry(arguments[1]))
        if not options:
            return None
        field = options[0]
        data = _step(data, part)
    return field


def _entry(annotation: Any) -> FieldInfo:
    return FieldInfo.from_annotation(annotation)


def _step(data: Any, part: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(str(part))
    if isinstance(data, Sequence) and not isinstance(data, str) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _choices(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for member in alternatives(annotation):
        if get_origin(member) is Literal:
            found += get_args(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [entry.value for entry in member]
    return found


def describe(annotation: Any, metadata: Iterable[Any] = ()) -> str | None:
    """What a setting may be, in words, with its limits; None for a type this page has no words for."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        limits = [limit for e in extra for limit in (e.metadata if isinstance(e, FieldInfo) else [e])]
        return describe(inner, [*limits, *metadata])
    text = _describe_bare(annotation)
    limits_text = _limits(metadata)
    return f"{text}{limits_text}" if text is not None else None


def _describe_bare(annotation: Any) -> str | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = sorted(arguments, key=lambda member: member is type(None))
        words = [describe(member) for member in members]
        joint = ", or " if any(", " in str(word) for word in words) else " or "
        return None if None in words else joint.join(dict.fromkeys(str(word) for word in words))
    choices = _choices(annotation)
    if choices:
        return ("one of " if len(choices) > 1 else "") + ", ".join(str(choice) for choice in choices)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return f"a section with {', '.join(annotation.model_fields)}"
    base = origin or annotation
    if base is tuple and arguments and arguments[-1] is not Ellipsis:
        words = [describe(entry) for entry in arguments]
        return f"a list of {len(arguments)}: {', '.join(w or 'a value' for w in words)}"
    if isinstance(base, type) and issubclass(base, dict | Mapping):
        return "a section of 'key: value'"
    if isinstance(base, type) and issubclass(base, Sequence | set | frozenset):
        inner = describe(arguments[0]) if arguments else None
        return f"a list, each entry {inner}" if inner else "a list"
    return None


def _limits(metadata: Iterable[Any]) -> str:
    words = []
    for limit in metadata:
        match limit:
            case annotated_types.Ge(ge=bound):
                words.append(f"at least {bound}")
            case annotated_types.Gt(gt=bound):
                words.append(f"more than {bound}")
            case annotated_types.Le(le=bound):
                words.append(f"at most {bound}")
            case annotated_types.Lt(lt=bound):
                words.append(f"less than {bound}")
            case annotated_types.MultipleOf(multiple_of=bound):
                words.append(f"a multiple of {bound}")
            case annotated_types.MinLen(min_length=bound):
                words.append(f"of length {bound} or more")
            case annotated_types.MaxLen(max_length=bound):
                words.append(f"of length {bound} or less")
    return ", " + " and ".join(words) if words else ""


def all_keys(model: type[pydantic.BaseModel], prefix: Key = ()) -> list[Key]:
    """Every key of a model and its sections, outermost first."""
    keys: list[Key] = []
    for name, field in model.model_fields.items():
        keys.append((*prefix, name))
        for section in section_types(field.annotation, None):
            if len(prefix) < 16:  # a model may hold itself
                keys += all_keys(section, (*prefix, name))
    return keys


def _unknown_key(model: type[pydantic.BaseModel], data: Any, key: Key) -> str:
    name, here = str(key[-1]), key[:-1]
    value, field = data, _field_at(model, data, here)
    for part in here:
        value = _step(value, part)
    sections = section_types(field.annotation, value) if field else []
    siblings = list(dict.fromkeys(known for section in sections for known in section.model_fields))
    close = nearest(name, siblings)
    if close is None:
        elsewhere = {str(known[-1]): dotted(known) for known in reversed(all_keys(model)) if known != key}
        leaf = nearest(name, elsewhere)
        close = elsewhere[leaf] if leaf else None
    if close is not None:
        return f"unknown key; did you mean {close}?"
    return f"unknown key; the keys here are {', '.join(siblings)}" if siblings else "unknown key; no key is known here"


def _data_key(location: tuple[str | int, ...], data: Any, kind: str) -> Key:
    """pydantic's location without the names of union members it puts between the keys."""
    key: list[str | int] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        known = part in data if isinstance(data, Mapping) else isinstance(data, list) and isinstance(part, int)
        if known or (last and kind == "missing"):
            key.append(part)
            data = _step(data, part)
    return tuple(key)


_CUSTOM = ("value_error", "assertion_error")
_STRUCTURE = ("_type", "_parsing", "literal_error", "enum", "too_short", "too_long", "greater_than", "less_than")


def _sentence(model: type[pydantic.BaseModel], data: Any, key: Key, error: Mapping[str, Any]) -> Problem:
    kind, got = error["type"], error["input"]
    if kind == "extra_forbidden":
        return key, _unknown_key(model, data, key)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = error["ctx"]["discriminator"].strip("'")
        names = [name.strip("' ") for name in str(error["ctx"].get("expected_tags", "")).split(",") if name]
        found = error["ctx"].get("tag")
        if found is None:
            return (*key, tag), "missing; it chooses what this section is"
        return (*key, tag), _refused(found, f"one of {', '.join(names)}", names)
    if error["loc"][-1:] == ("[key]",):
        return key, f"'{key[-1]}' is not a key here: {error['msg'][:1].lower()}{error['msg'][1:]}"
    field = _field_at(model, data, key)
    allowed = describe(field.annotation, field.metadata) if field else None
    if kind == "missing":
        return key, f"missing; set it to {allowed}" if allowed else "missing"
    if kind in _CUSTOM:
        return key, str(error["ctx"]["error"]) or "not allowed"
    by_structure = kind.startswith(_STRUCTURE) or kind.endswith(_STRUCTURE) or kind in ("multiple_of", "finite_number")
    if allowed is None or field is None or not by_structure:
        return key, f"got {show(got)}: {error['msg'][:1].lower()}{error['msg'][1:]}"
    if kind == "finite_number":
        allowed += ", finite"
    if kind in ("list_type", "tuple_type") and isinstance(got, dict):
        allowed += f" (write all of it: {dotted(key)}=[...])"
    if kind == "string_type" and not isinstance(got, list | dict):
        allowed += ' (in quotes: "...")'
    return key, _refused(got, allowed, [str(choice) for choice in _choices(field.annotation)])


def _refused(got: Any, allowed: str, choices: list[str]) -> str:
    close = nearest(got, choices) if isinstance(got, str) else None
    return f"got {show(got)}, expected {allowed}" + (f"; did you mean {close}?" if close else "")


def problems(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], data: Mapping[str, Any]
) -> tuple[list[Problem], int]:
    """Refused keys, each once, with what to do about them, and how many there are.

    Unknown keys come first, as they explain the missing ones. Only the first 50 complaints are explained.
    """
    complaints = sorted(error.errors(include_url=False), key=lambda complaint: complaint["type"] != "extra_forbidden")
    entries = [(_data_key(e["loc"], data, e["type"]), e) for e in complaints[:_MOST_PROBLEMS]]
    found: dict[Key, str] = {}
    for key, entry in entries:
        # Of a union's complaints the one about the entry says more than the one about the whole value.
        if any(len(other) > len(key) and other[: len(key)] == key for other, _ in entries):
            continue
        place, sentence = _sentence(model, data, key, entry)
        found.setdefault(place, sentence)
    return list(found.items()), len(found) + max(0, len(complaints) - _MOST_PROBLEMS)
