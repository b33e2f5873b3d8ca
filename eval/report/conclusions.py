"""What the figures of the page say, in one sentence a section; every number in a sentence stands in a table below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoder.evaluation.conclusions import percent

Content = Mapping[str, Any]
JUDGE = "second judge"


def title(content: Content) -> str:
    """How much of what was asked for the reader sees that had no part in the making."""
    share = content["accuracy"][JUDGE]["accepted"]["balanced_accuracy"]
    return f"A second judge sees the emotion that was asked for in {percent(share)} of generated faces"


def headline(content: Content) -> str:
    """What verification adds, and what real faces score."""
    judge = content["accuracy"][JUDGE]
    before, after = (judge[which]["balanced_accuracy"] for which in ("first_draws", "accepted"))
    real = ", ".join(f"{percent(figures['balanced_accuracy'])} by {scheme}" for scheme, figures in judge["real"].items())
    verified = f"verification takes first draws from {percent(before)} to {percent(after)}"
    return f"By the second judge, {verified}; real test faces score {real}."


def emotion(content: Content) -> str:
    """The emotion that is seen most and least often where it was asked for."""
    recall = {name: row["value"] for name, row in content["accuracy"][JUDGE]["accepted"]["recall"].items()}
    best, worst = max(recall, key=lambda name: recall[name]), min(recall, key=lambda name: recall[name])
    most, least = f"{best} most often ({percent(recall[best])})", f"{worst} least often ({percent(recall[worst])})"
    return f"Where it was asked for, the second judge sees {most} and {least}."


def acceptance(content: Content) -> str:
    """The emotion of which first draws are accepted most and least."""
    accepted = {name: row["accepted"] for name, row in content["acceptance"]["emotions"].items()}
    best, worst = max(accepted, key=lambda name: accepted[name]), min(accepted, key=lambda name: accepted[name])
    return f"Of first draws the encoder accepts {percent(accepted[best])} for {best} and {percent(accepted[worst])} for {worst}."


def distance(content: Content) -> str:
    """How far from real faces, where the floor is above zero."""
    said = []
    for space, found in content["distances"].items():
        cell = found["generated"].get("kernel_distance")
        if cell and cell["multiple"]:
            said.append(f"{cell['multiple']['value']:.1f} times as far from real test faces as real training faces are ({space})")
    if not said:
        return "No kernel distance is clearly above that of real training faces, or it could not be measured."
    return f"Generated faces are {' and '.join(said)}."


def diversity(content: Content) -> str:
    """Where generated faces are least alike and most alike, beside real ones."""
    ratios = {name: row["ratio"] for name, row in content["diversity"].items() if row.get("ratio") is not None}
    if not ratios:
        return "There are too few faces of each emotion to compare how different they are."
    low, high = min(ratios, key=lambda name: ratios[name]), max(ratios, key=lambda name: ratios[name])
    return (
        f"Two generated faces of one emotion differ {ratios[low]:.2f} ({low}) to {ratios[high]:.2f} ({high}) times as much "
        "as two real ones."
    )


def memorisation(content: Content) -> str:
    """Whether generated faces lie nearer to the training faces than held-out ones do."""
    said = []
    for space, found in content["memorisation"].items():
        low, high = found["generated"]["chance_nearer_interval"]
        how = "no nearer to the training faces than" if high <= 0.5 else "nearer to the training faces than"
        how = "about as near to the training faces as" if low <= 0.5 < high else how
        said.append(f"{how} held-out real faces ({'in grey levels' if space == 'pixels' else f'to the {space}'})")
    return f"Generated faces are {' and '.join(said)}."


def gender(content: Content) -> str:
    """The share read as female, beside that of real faces."""
    cells = [content["gender"][kind].get("all") for kind in ("generated", "real")]
    if None in cells:
        return "There are too few faces to compare the shares."
    made, real = (percent(cell["value"]) for cell in cells)
    return f"{made} of generated and {real} of real test faces are read as female."
