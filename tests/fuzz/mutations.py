"""Ways to break what was whole: bytes, and JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with a few bytes changed, a part repeated, put in or cut out, or its end cut off."""
    whole = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(whole) - 1)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(("set", "repeat", "insert", "cut", "end", "large"))):
            case "set":
                whole[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "repeat":
                whole[place:place] = whole[place : place + length] * draw(st.sampled_from((1, 100, 70_000)))
            case "insert":
                whole[place:place] = draw(st.binary(max_size=length))
            case "cut":
                del whole[place : place + length]
            case "end":
                del whole[place:]
            case _:
                whole[place : place + 4] = draw(st.sampled_from((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")))
    return bytes(whole)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from((2**31, 10**30, "x" * 9999)),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, each in inner for place in _places(each, (*above, key)))]


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """JSON with a value replaced or taken out."""
    value = json.loads(json.dumps(value))
    place = draw(st.sampled_from(_places(value)[1:]))
    target = value
    for key in place[:-1]:
        target = target[key]
    if draw(st.integers(0, 3)):
        target[place[-1]] = draw(VALUES)
    else:
        del target[place[-1]]
    return value
