"""Words from outside (names, reasons, values) on one line of a message, whatever they hold."""

from __future__ import annotations

_MOST = 300
_HEAD, _TAIL = 1500, 500  # the place stands first in a message, how to mend it last


def printable(name: str) -> str:
    """``name`` on one line: control characters and undecodable bytes of file names are written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name)


def one_line(reason: object, most: int = _MOST) -> str:
    """The words of an error, or of a value, on one line of at most ``most`` signs; the name of its class where it has none."""
    text = str(reason)
    # Cut before it is looked through: a value may have ten million signs.
    words = printable(" ".join(text[: 4 * most].split())) or type(reason).__name__
    return words if len(words) <= most else f"{words[:most]}…"


def without_middle(text: str) -> str:
    """``text``, or of a very long one its first 1,500 and its last 500 signs."""
    left_out = len(text) - _HEAD - _TAIL
    return text if left_out <= 0 else f"{text[:_HEAD]}… ({left_out:,} signs left out) …{text[-_TAIL:]}"
