"""A set of stimuli as the command line asks for it."""

from __future__ import annotations

import argparse
from typing import Any

from configs.cli import UserError
from configs.loader import validate
from encoder.emotions import EMOTION_NAMES, parse_emotion
from generation.dataset.order import DatasetRequest
from generation.kit.order import NOT_FOR_STIMULI, StimulusRequest
from generation.options import add_field_options, given

# Options of the command line that only a set of people looks at.
_OWN = ("emotions", "intensities", "rise", "judge", "critic_judge", "embedder", "nearest")
_OPINIONS = ("judge", "critic_judge", "embedder", "nearest")


def add_people_options(parser: argparse.ArgumentParser) -> None:
    """What goes with ``--people``; all are None where they are not given."""
    how = "with --people: "
    parser.add_argument("--emotions", metavar="NAMES", help=f"{how}such as fear,colère, or all (default: all)")
    parser.add_argument("--intensities", metavar="X,…", help=f"{how}above 0 to 1 (default: 1)")
    add_field_options(parser, StimulusRequest, leave_out=[name for name in StimulusRequest.model_fields if name != "rise"])
    parser.add_argument("--judge", metavar="FOLDER", help=f"{how}second encoder, or none (default: pretrained/judge)")
    parser.add_argument(
        "--critic-judge", metavar="FOLDER", help=f"{how}second critic, or none (default: pretrained/critic_judge)"
    )
    parser.add_argument(
        "--embedder", metavar="NAME", help=f"{how}dlib, deepface:MODEL or none (default: dlib where it is installed)"
    )
    parser.add_argument("--nearest", metavar="DATA", help=f"{how}data set whose nearest training face is named (default: none)")


def refuse_people_options(arguments: argparse.Namespace) -> None:
    """Raises UserError: an option of ``--people`` was given without it."""
    for name in _OWN:
        if getattr(arguments, name) is not None:
            option = f"--{name}".replace("_", "-")
            raise UserError(f"{option}: does nothing without --people; add it, or leave {option} out")


def read_stimuli(arguments: argparse.Namespace) -> tuple[StimulusRequest, dict[str, Any]]:
    """The order, and who else is to look at the faces, as :func:`generation.kit.make.make_stimuli` takes them.

    Raises:
        UserError: a setting is unknown, out of range, or does nothing.
    """
    own = given(arguments, DatasetRequest)
    settings = given(arguments)
    for name, why in NOT_FOR_STIMULI.items():
        if name in own or name in settings:
            option = {"valid_share": "valid"}.get(name, name).replace("_", "-")
            raise UserError(f"--{option}: {why}; leave it out with --people")
    asked: dict[str, Any] = {name: own[name] for name in ("seed", "form", "mark") if name in own}
    asked |= {} if arguments.rise is None else {"rise": arguments.rise}
    if arguments.emotions not in (None, "all"):
        asked["emotions"] = tuple(parse_emotion(name).label for name in arguments.emotions.split(","))
    else:
        asked["emotions"] = EMOTION_NAMES
    if arguments.intensities is not None:
        try:
            asked["intensities"] = tuple(float(part) for part in arguments.intensities.split(","))
        except ValueError:
            raise UserError(f"--intensities: write numbers such as 0.25,0.5,1, got {arguments.intensities!r}") from None
    settings = {name: value for name, value in settings.items() if name != "seed"}
    request = validate(StimulusRequest, {"people": arguments.people, **asked, "settings": settings}, "request")
    opinions = {name: getattr(arguments, name) for name in _OPINIONS if getattr(arguments, name) is not None}
    if "critic_judge" in opinions:
        opinions["critic"] = opinions.pop("critic_judge")
    return request, opinions


def format_people(content: dict[str, Any], folder: object) -> str:
    """What was made, emotion by emotion and intensity by intensity."""
    lines = ["emotion    intensity  asked  made  draws   read  second judge  rejected by"]
    for row in content["cells"]:
        read, judge = ("-" if row[name] is None else f"{row[name]:.2f}" for name in ("read", "judge"))
        by = ", ".join(f"{cause} {count}" for cause, count in row["refused"].items())
        counts = f"{row['asked']:>6} {row['made']:>5} {row['drawn']:>6}"
        lines.append(f"{row['emotion']:<10} {row['intensity']:>9g} {counts} {read:>6} {judge:>13}  {by}".rstrip())
    found = f"{content['made']} of {content['asked']} faces in {content['drawn']} draws"
    if content["identity"]:
        same = content["identity"]
        found += f"; {same['within_threshold']} of {same['faces']} within the embedder's threshold of the person's neutral face"
    empty = [f"{name} is empty: {why}" for name, why in content["opinions"]["absent"].items()]
    return "\n".join([*lines, found, *empty, f"in {folder}"])
