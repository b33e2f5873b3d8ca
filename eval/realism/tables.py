"""The figures of all parts as Markdown: a table of all faces, two by emotion, and one of whom they were to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from encoder.emotions import EMOTION_NAMES
from eval.measures.floors import as_ratio
from eval.output.table import NOTHING, markdown

Figures = Mapping[str, Any]
PARTS = ("drawing", "distances", "emotion", "attributes", "placement", "told-apart", "critic", "told")
KINDS = ("first", "verified")
_SEEN = {"object": "hand or object", "closed": "eyes closed"}
_PROBES = {"attributes": "", "attributes_judge": ", second probe"}
_APART = {"painted": "real faces painted from their own tokens", "as_they_are": "real faces as they are"}
Row = Sequence[Any]
# A title, and a cell for each emotion.
Column = tuple[str, Sequence[Any]]


def as_markdown(parts: Figures, notes: Sequence[str]) -> str:
    """The tables of the parts that are there, and the notes."""
    texts = [markdown(("figure", "first draws", "verified", "real"), rows)] if (rows := list(_whole(parts))) else []
    for columns in (list(_read(parts)), list(_seen(parts))):
        if columns:
            titles, cells = zip(*columns, strict=True)
            texts.append(markdown(("emotion", *titles), list(zip(EMOTION_NAMES, *cells, strict=True))))
    if rows := list(_people(parts.get("told", {}))):
        texts.append(markdown(("told", "class", "share of verified faces", "faces"), rows))
    return "\n\n".join([*texts, *notes, *_said(parts)]) + "\n"


def _whole(parts: Figures) -> Iterator[Row]:
    """Rows of all faces together; what is counted from few of them is among the columns by emotion."""
    if "drawing" in parts:
        row = parts["drawing"]["all"]
        yield "faces", f"{row['asked']:,}", f"{row['delivered']:,}", None
        yield "accepted by their emotion", row["first_draws_accepted"], None, None
        yield "draws a verified face", None, _ratio(row["tried"], row["delivered"]), None
    if "distances" in parts:
        yield "Fréchet / floor, judge", *(_relative(parts["distances"][kind]["frechet"]) for kind in KINDS), None
        yield "coverage / floor, judge, all", *(_relative(parts["distances"][kind]["all"]) for kind in KINDS), None
        yield "coverage / floor, judge, lowest emotion", *(_lowest(parts["distances"][kind]) for kind in KINDS), None
    for reader, kinds in parts.get("emotion", {}).items():
        found = [kinds[kind]["all"] for kind in KINDS]
        yield f"{reader} gives the target", *found, next((f"{each['floor']:.3f}" for each in found if each), None)
        yield f"{reader}, relative to real", *map(_relative, found), None
    for what, title in _SEEN.items():
        for name in ("all", *(["fear"] if what == "object" else [])):
            for seen, by in _probed(parts):
                yield f"{title}, {name}{by}", *(seen[kind][what][name] for kind in (*KINDS, "real"))
    if "placement" in parts:
        for key, title in {"found": "face found", "in_place": "face found, eyes and mouth in place"}.items():
            yield title, *(_placed(parts["placement"][kind], key) for kind in (*KINDS, "real"))
    if "told-apart" in parts:
        for key, title in _APART.items():
            yield f"told from {title}, AUC", *(parts["told-apart"][kind][key] for kind in KINDS), None
    if "critic" in parts and "absent" not in parts["critic"]:
        yield "mean realism, second critic (0.5: as real faces)", *(parts["critic"][kind] for kind in KINDS), None


def _read(parts: Figures) -> Iterator[Column]:
    """By emotion: what it took, and what the readers say."""
    if "drawing" in parts:
        rows = [parts["drawing"][name] for name in EMOTION_NAMES]
        yield "delivered", [row["delivered"] for row in rows]
        yield "draws a face", [_ratio(row["tried"], row["delivered"]) for row in rows]
    for kind in KINDS:
        if "distances" in parts:
            yield f"coverage / floor, {kind}", [_relative(parts["distances"][kind][name]) for name in EMOTION_NAMES]
    for reader, kinds in parts.get("emotion", {}).items():
        for kind in KINDS:
            yield f"{reader} / real, {kind}", [_relative(kinds[kind][name]) for name in EMOTION_NAMES]


def _seen(parts: Figures) -> Iterator[Column]:
    """By emotion: what the probes see."""
    for what, title in _SEEN.items():
        for kind in (*KINDS, "real"):
            for seen, by in _probed(parts):
                yield f"{title}, {kind}{by}", [seen[kind][what][name] for name in EMOTION_NAMES]


def _probed(parts: Figures) -> Iterator[tuple[Figures, str]]:
    """What each probe saw, and how it is called."""
    for name, by in _PROBES.items():
        if name in parts.get("attributes", {}):
            yield parts["attributes"][name], by


def _people(told: Figures) -> Iterator[Row]:
    for attribute, classes in told.items():
        if attribute != "absent":
            for name, found in classes.items():
                yield attribute, "nothing" if name == "None" else name, found, found and found["faces"]


def _said(parts: Figures) -> Iterator[str]:
    """What the tables cannot say by themselves."""
    for name in ("critic", "told"):
        if reason := parts.get(name, {}).get("absent"):
            yield f"Not measured: {reason}."
    if "told-apart" in parts:
        found = parts["told-apart"]
        counts = " and ".join(f"{found[kind]['pairs']} ({kind})" for kind in KINDS)
        yield f"Told apart from {found['real_are']}, in pairs of one emotion as the encoder reads it: {counts}, half held out."
    if "placement" in parts:
        real = parts["placement"]
        yield f"Placement, real: {real['real']['faces']} {real['real_are']}."
    if "distances" in parts:
        real = parts["distances"]["real"]
        yield f"Distances: {real['held_out']} held-out faces of each emotion; floors: mean of {real['draws']} draws of train."


def _relative(found: Figures | None) -> Figures | None:
    return found and as_ratio(found)


def _lowest(found: Figures) -> str:
    if few := [name for name in EMOTION_NAMES if found[name] is None]:
        return f"too few faces of {', '.join(few)}"
    ratios = {name: as_ratio(found[name])["value"] for name in EMOTION_NAMES}
    known = {name: value for name, value in ratios.items() if value is not None}
    return f"{min(known.values()):.3f} ({min(known, key=known.__getitem__)})" if known else NOTHING


def _ratio(one: int, other: int) -> str | None:
    return f"{one / other:.2f}" if other else None


def _placed(found: Figures | None, key: str) -> Figures | None:
    return found and {"value": found[key]["share"], "interval": found[key]["interval"]}
