"""Command-line options of the programs, made from the fields of what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from configs.cli import UserError
from configs.loader import StrictModel
from generation.request import REALISM, FaceRequest, make_request

# What stands elsewhere on a command line, or is no single value.
_OTHERWISE = {"emotion", "counts", "settings"}
_NAMES = {"avoid": "not", "valid_share": "valid", "form": "format"}
_ALIASES = {"look": ("--source",)}
_METAVARS = {"avoid": "EMOTION", "realism": "BAR"}
# What a request leaves to the weights, in the words of the help.
_TUNED, _EVEN = "as tuned for the weights", "even: each face draws one"
_LEFT_OPEN = {
    "look": "photo, or fer2013 of weights that know no photo",
    **{"hands": "no", "eyes": "open", "gender": _EVEN, "age": f"{_EVEN}, from 3-9 up", "group": _EVEN},
    **dict.fromkeys(("steps", "guidance", "guided", "autoguidance", "temperature"), _TUNED),
    "realism": f"{REALISM:g} where there is a critic",
    "cooled": "as tuned for the weights, or --temperature where that is given",
    "landmarks": "on for photographs of 128 pixels",
    "as_told": "on where the weights hold a probe",
}
# What the help says where there is no value, and of a switch.
_NO_DEFAULT = {False: "none", True: "off"}
# Options that would do nothing without another.
_PARTNERS = {"avoidance": "avoid", "candidates": "encoder_guidance"}


def add_field_options(
    parser: argparse.ArgumentParser,
    model: type[StrictModel],
    *,
    leave_out: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """One option for each field of ``model``; its help is the field's description. What is not given stays None.

    Args:
        defaults: what the help says of a default, where it is not the field's own.
    """
    for name, field in model.model_fields.items():
        if name in _OTHERWISE or name in leave_out:
            continue
        kind, default = _without_none(field.annotation), (_LEFT_OPEN | dict(defaults or {})).get(name, field.default)
        how: dict[str, Any]
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif get_origin(kind) is Literal:
            how = {"choices": get_args(kind)}
        elif kind == tuple[float, float]:
            how = {"type": float, "nargs": 2, "metavar": ("FROM", "TO")}
        else:
            how = {"type": kind if kind in (int, float) else str, "metavar": _METAVARS.get(name, "N" if kind is int else "X")}
        shown = f"{default:g}" if isinstance(default, float) else default
        text = f" (default: {_NO_DEFAULT[kind is bool] if default is None or default is False else shown})"
        names = (option(name), *_ALIASES.get(name, ()))
        parser.add_argument(*names, dest=name, default=None, help=f"{field.description}{text}", **how)


def _without_none(kind: Any) -> Any:
    """What a field holds that may also be left open: ``int`` of ``int | None``."""
    left = [part for part in get_args(kind) if part is not type(None)]
    return left[0] if len(left) < len(get_args(kind)) else kind


def option(name: str) -> str:
    """How a field is called on the command line: ``--best-of`` of ``best_of``, ``--not`` of ``avoid``."""
    return "--" + _NAMES.get(name, name).replace("_", "-")


def add_network_options(parser: argparse.ArgumentParser, devices: Sequence[str] | None = None) -> None:
    """``--weights``, ``--encoder`` and ``--device``, one of ``devices`` if given, and ``--quiet``."""
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder (default: the one in --weights)")
    names = ", ".join(devices or ("auto", "cpu", "cuda", "cuda:1", "…"))
    parser.add_argument("--device", choices=devices, default="auto", help=f"{names} (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def given(arguments: argparse.Namespace, model: type[StrictModel] = FaceRequest) -> dict[str, Any]:
    """The fields of ``model`` that stand on the command line.

    Raises:
        UserError: an option would do nothing without another that is missing.
    """
    found = {name: getattr(arguments, name, None) for name in model.model_fields}
    for name, partner in _PARTNERS.items():
        if found.get(name) is not None and found[partner] is None:
            other = option(partner)
            raise UserError(f"{option(name)}: does nothing without {other}; add {other}, or leave it out")
    return {name: value for name, value in found.items() if value is not None}


def read_request(arguments: argparse.Namespace) -> FaceRequest:
    """The request that a command line with ``--emotion`` and ``--intensity`` makes.

    Raises:
        UserError: a setting is out of range, or does nothing.
    """
    return make_request(**given(arguments), intensity=arguments.intensity)
