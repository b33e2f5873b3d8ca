"""Words from outside (names, reasons, values) on one line of a message, whatever they hold."""

from __future__ import annotations

_MOST = 300


def printable(name: str) -> str:
    """``name`` on one line: control characters and undecodable bytes of file names are written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name)


def one_line(reason: object, most: int = _MOST) -> str:
    """The words of an error, or of a value, on one line of at most ``most`` signs; the name of its class where it has none."""
    text = str(reason)
    # Cut before it is looked through: a value may have ten million signs.
    words = printable(" ".join(text[: 4 * most].split())) or type(reason).__name__
    return words if len(words) <= most else f"{words[:most]}…"
