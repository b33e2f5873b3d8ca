"""Cards of faces, with the encoder's seven bars, as HTML; whatever comes from outside is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from encoder.emotions import EMOTION_NAMES
from generation.service.orders import EditResult, MadeFace, Proposal
from generation.studio.texts import ASSETS, Texts

# The sign of the page.
SIGN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 24 24" aria-hidden="true"><circle r="11" fill="#0f766e"/>'
    '<circle cx="-4" cy="-3" r="1.7" fill="#fff"/><circle cx="4" cy="-3" r="1.7" fill="#fff"/>'
    '<path d="M-5 3 Q0 8 5 3" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
# One listener for all cards, which stays when they change.
CHOOSE = """element.addEventListener('click', event => {
  const card = event.target.closest('[data-choose]');
  if (!card) return;
  element.querySelectorAll('[data-choose]').forEach(each => {
    each.classList.toggle('chosen', each === card);
    each.setAttribute('aria-pressed', each === card);
  });
  trigger('chosen', {number: Number(card.dataset.choose)});
});"""
PAD_SCRIPT = (ASSETS / "pad.js").read_text(encoding="utf-8")


def data_uri(picture: bytes, kind: str = "image/png") -> str:
    """A picture that stands in the page itself, so that no file of it is kept."""
    return f"data:{kind};base64,{b64encode(picture).decode()}"


def note(text: str, kind: str = "") -> str:
    """A line of what happens now. ``kind``: ``wrong``, ``work`` or nothing."""
    role = "alert" if kind == "wrong" else "status"
    return f'<p class="note {kind}" role="{role}">{escape(text)}</p>' if text else '<p class="note" role="status"></p>'


def empty(text: str) -> str:
    """What stands where results will be."""
    return f'<div class="empty">{escape(text)}</div>'


def bars(read: Mapping[str, float], t: Texts, *, asked: Mapping[str, float] | None = None) -> str:
    """Seven bars; those that were asked for are drawn strong."""
    rows = []
    for name in EMOTION_NAMES:
        share = float(read.get(name, 0.0))
        strong = " asked" if asked and asked.get(name, 0.0) > 0.0 else ""
        rows.append(
            f'<span class="bar{strong}"><i>{escape(t.emotion(name))}</i>'
            f'<b><s style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></s></b><u>{round(100 * share)}</u></span>'
        )
    return f'<span class="bars" role="img" aria-label="{escape(in_words(read, t), quote=True)}">{"".join(rows)}</span>'


def in_words(read: Mapping[str, float], t: Texts) -> str:
    """What screen readers hear of bars: the shares above one hundredth, the largest first."""
    shown = sorted(((share, name) for name, share in read.items() if name in EMOTION_NAMES and share >= 0.01), reverse=True)
    return ", ".join(f"{t.emotion(name)} {t.percent(share)}" for share, name in shown)


def face_card(face: MadeFace, t: Texts, number: int | None = None, *, first: bool = False) -> str:
    """One face; with a ``number``, a click on it chooses it. ``first``: of the coarse view, which nobody has checked."""
    top = t.emotion(face.top)
    share = t.percent(face.distribution[face.top])
    if first:
        state = f'<em class="first">{escape(t("card.first"))}</em>'
    elif face.accepted:
        state = f'<em class="ok">✓ {escape(t("card.ok"))}</em>'
    else:
        why = t.words.get(f"cause.{face.refused}", face.refused or "-")
        state = f'<em class="refused">{escape(t("card.refused", why=why))}</em>'
    facts = []
    if face.realism is not None:
        help_, word = escape(t("card.realism_help"), quote=True), escape(t("card.realism"))
        facts.append(f'<span title="{help_}">{word} <b>{t.percent(face.realism)}</b></span>')
    if not first:
        facts.append(f"<span>{escape(t('card.tries'))} <b>{face.tries}</b></span>")
    facts.append(f"<span>{escape(t('card.seed'))} <b>{face.seed}</b></span>")
    inner = (
        f'<img src="{data_uri(face.png)}" alt="" width="128" height="128">'
        f'<span class="head"><strong>{escape(top)} {share}</strong>{state}</span>'
        f'{bars(face.distribution, t, asked=face.asked)}<span class="facts">{"".join(facts)}</span>'
    )
    if number is None:
        return f'<div class="face">{inner}</div>'
    label = escape(t("card.choose", seed=face.seed, emotion=top, share=share), quote=True)
    own = f'data-choose="{number}" aria-pressed="false" aria-label="{label}"'
    return f'<button type="button" class="face{" coarse" if first else ""}" {own}>{inner}</button>'


def proposal_grid(result: EditResult, t: Texts) -> str:
    """The proposals of an edit, the best first; a click puts one beside the face as it was."""
    cards = [_proposal_card(each, number, t, result.asked) for number, each in enumerate(result.proposals)]
    return face_grid(cards, t("edit.proposals"))


def _proposal_card(each: Proposal, number: int, t: Texts, asked: Mapping[str, float]) -> str:
    top, share = t.emotion(each.top), t.percent(each.distribution[each.top])
    state = (
        f'<em class="ok">✓ {escape(t("card.ok"))}</em>'
        if each.accepted
        else f'<em class="refused">{escape(t("edit.missed"))}</em>'
    )
    facts = [f"{t('edit.match')} <b>{t.percent(each.match)}</b>", f"{t('edit.change')} <b>{t.percent(each.change)}</b>"]
    if each.judge is not None:
        second = max(each.judge, key=lambda name: each.judge[name])  # type: ignore[index]
        facts.append(f"{escape(t('edit.judge'))} <b>{escape(t.emotion(second))}</b>")
    if each.same_person is not None:
        facts.append(f"{escape(t('edit.same'))} <b>{t('edit.yes' if each.same_person else 'edit.no')}</b>")
    elif each.similarity is not None:
        facts.append(f"{escape(t('edit.similar'))} <b>{t.percent(each.similarity)}</b>")
    label = escape(t("edit.choose", number=number + 1, emotion=top, share=share), quote=True)
    own = f'data-choose="{number}" aria-pressed="{"true" if number == 0 else "false"}" aria-label="{label}"'
    listed = "".join(f"<span>{fact}</span>" for fact in facts)
    return (
        f'<button type="button" class="face{" chosen" if number == 0 else ""}" {own}>'
        f'<img src="{data_uri(each.close_up)}" alt="" width="256" height="256">'
        f'<span class="head"><strong>{number + 1} · {escape(top)} {share}</strong>{state}</span>'
        f'{bars(each.distribution, t, asked=asked)}<span class="facts">{listed}</span></button>'
    )


def face_grid(cards: Iterable[str], label: str, kind: str = "") -> str:
    """Cards side by side."""
    return f'<div class="faces {kind}" role="group" aria-label="{escape(label, quote=True)}">{"".join(cards)}</div>'


def pad_html(t: Texts, names: Iterable[str], corners: Iterable[tuple[float, float]]) -> str:
    """The pad itself, as a slider to those who do not see it."""
    import json

    shown = [t.emotion(name) for name in names]
    places = list(corners)
    outline = " ".join(f"{x:.4f},{y:.4f}" for x, y in places)
    rays = "".join(f'<line class="ray" x1="0" y1="0" x2="{x:.4f}" y2="{y:.4f}"/>' for x, y in places)
    labels = []
    for number, ((x, y), name) in enumerate(zip(places, shown, strict=True)):
        anchor = "middle" if abs(x) < 0.3 else "start" if x > 0 else "end"
        labels.append(
            f'<g class="corner" data-number="{number}"><circle cx="{x:.4f}" cy="{y:.4f}" r=".045"/>'
            f'<text x="{1.14 * x:.4f}" y="{1.2 * y + 0.045:.4f}" text-anchor="{anchor}">{escape(name)}</text></g>'
        )
    listed = escape(json.dumps(shown, ensure_ascii=False), quote=True)
    about: dict[str, Any] = {"label": escape(t("make.pad"), quote=True), "help": escape(t("make.pad_help"))}
    return (
        f'<div class="pad" data-names="{listed}"><svg viewBox="-1.72 -1.36 3.44 2.6" aria-hidden="false">'
        f'<polygon points="{outline}"/>{rays}{"".join(labels)}'
        f'<circle class="knob" r=".1" tabindex="0" role="slider" aria-label="{about["label"]}" aria-describedby="pad-help"'
        ' aria-valuemin="0" aria-valuemax="100" aria-valuenow="100"/></svg>'
        f'<p class="shares" aria-hidden="true"></p><p class="help" id="pad-help">{about["help"]}</p></div>'
    )
