"""Options that the service and the page share: where they listen, who may come, and which networks they use."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from configs.loader import validate
from generation.service.http.access import Access
from generation.service.settings import EngineSettings

_NETWORKS = ("weights", "encoder", "embedder", "detector", "device", "mark_edits")


def add_access_options(parser: argparse.ArgumentParser, port: int, secrets: Sequence[str]) -> None:
    """``--host``, ``--port``, ``--name`` and of ``--auth`` and ``--token`` those that are named in ``secrets``."""
    one = " or ".join(f"--{name}" for name in secrets)
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen on; one that others reach needs {one}")
    parser.add_argument("--port", type=int, default=port, metavar="N", help="0 takes a free one (default: %(default)s)")
    if "auth" in secrets:
        parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for them (HTTP Basic)")
    if "token" in secrets:
        parser.add_argument("--token", help="ask for it (Bearer), 16 characters or more")
    parser.add_argument("--name", action="append", default=[], help="a name under which clients reach it, besides localhost")


def read_access(arguments: argparse.Namespace, secrets: Sequence[str]) -> Access:
    """Who may come; secrets may also stand in ``MIMIQUE_AUTH`` and ``MIMIQUE_TOKEN``.

    Raises UserError: an address that others reach, without a secret.
    """
    found = {name: getattr(arguments, name) or os.environ.get(f"MIMIQUE_{name.upper()}") for name in secrets}
    own = {"host": arguments.host, "port": arguments.port, "names": arguments.name}
    return validate(Access, {**own, **found}, "command line")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Which networks make, judge and find faces, where they compute, and whether edited photographs are marked."""
    usual = EngineSettings()
    parser.add_argument(
        "--mark-edits", action=argparse.BooleanOptionalAction, default=True, help="the visible mark on edited photographs"
    )
    parser.add_argument("--weights", default=usual.weights, help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder (default: the one in --weights)")
    parser.add_argument("--judge", default=usual.judge, help="second judge of edits, or none (default: %(default)s)")
    parser.add_argument("--embedder", metavar="NAME", help="measure identity in edits: dlib or deepface:Facenet512")
    parser.add_argument("--detector", default=usual.detector, metavar="NAME", help="finds faces (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: %(default)s)")


def read_engine(arguments: argparse.Namespace, **more: Any) -> EngineSettings:
    """The networks, and ``more`` settings. Raises UserError: one is out of range."""
    chosen = {name: getattr(arguments, name) for name in _NETWORKS}
    judge = None if arguments.judge == "none" else arguments.judge
    return validate(EngineSettings, {**chosen, "judge": judge, **more}, "command line")
