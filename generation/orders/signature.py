"""Settings that are kept in one place, shown by name in the signature of every function that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

from generation.request import FaceRequest

Function = TypeVar("Function", bound=Callable[..., object])
_APART = ("emotion", "count", "seed")


def takes_settings(*, leave_out: Sequence[str] = ()) -> Callable[[Function], Function]:
    """For a function that ends with ``**settings``: help, notebooks and :mod:`inspect` show each of them with its default.

    Args:
        leave_out: fields of :class:`generation.request.FaceRequest` that have no meaning for it.
    """

    def decorate(function: Function) -> Function:
        shown = inspect.signature(function)
        own = [each for each in shown.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {each.name for each in own} | {*_APART, *leave_out}
        for name, field in FaceRequest.model_fields.items():
            if name not in taken:
                how = inspect.Parameter.KEYWORD_ONLY
                own.append(inspect.Parameter(name, how, default=field.default, annotation=field.annotation))
        function.__signature__ = shown.replace(parameters=own)  # type: ignore[attr-defined]
        return function

    return decorate
