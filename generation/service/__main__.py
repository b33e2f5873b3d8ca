"""Serve faces over HTTP: make, edit and read them, and make labelled sets, for many clients at once."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from configs.cli import command, command_parser
from generation.service.options import add_access_options, add_engine_options, read_access, read_engine
from generation.service.settings import MIB, EngineSettings

EXAMPLES = """examples:
  python -m generation.service
  python -m generation.service --port 9000 --batch-size 32
  python -m generation.service --host 0.0.0.0 --auth ann:PASSWORD --name faces.example.org
  python -m generation.service --no-batching                     one order after the other

then, in another terminal:
  curl -s localhost:8000/v1/faces -H 'content-type: application/json' -d '{"emotion": "fear", "count": 2}'
  curl -s localhost:8000/v1/edits -F picture=@photo.jpg -F emotion=happiness
  curl -s localhost:8000/v1/readings -F picture=@photo.jpg

All routes, orders and results: /openapi.json. Errors are problem details (RFC 9457). Figures for Prometheus: /metrics.

It listens on this machine only. Another address needs --auth or --token, which may also stand in MIMIQUE_AUTH or
MIMIQUE_TOKEN, where no list of processes shows them. Between machines, put a proxy with TLS before it.

Uploads are read from memory and not kept; data sets are deleted after --kept seconds and at the end. Edited photographs carry
a mark, AI-edited, unless --no-mark-edits is given. The log names neither pictures nor what was asked.

exit codes: 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM, which is how it ends."""
_SECRETS = ("auth", "token")
_WHOLE = {
    "batch_size": "faces drawn together",
    "most_faces": "faces of one order",
    "most_waiting": "orders of one client that wait; more are answered by 429",
    "memory_mib": "memory above which orders are turned away, in MiB; 0 is no limit",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser, engine = command_parser("python -m generation.service", __doc__, EXAMPLES), EngineSettings()
    add_access_options(parser, 8000, _SECRETS)
    for name, text in _WHOLE.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(engine, name), metavar="N", help=text)
    parser.add_argument("--seconds", type=float, default=engine.seconds, metavar="S", help="an order ends with what it has")
    parser.add_argument("--kept", type=float, default=engine.kept_seconds, metavar="S", help="a data set is deleted")
    parser.add_argument("--upload", type=int, default=engine.picture_bytes // MIB, metavar="MIB", help="largest picture")
    parser.add_argument(
        "--batching", action=argparse.BooleanOptionalAction, default=True, help="draw faces of several clients together"
    )
    add_engine_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no access log")
    return parser


def main(argv: Sequence[str]) -> int:
    """Load the networks and serve until a signal."""
    arguments = build_parser().parse_args(argv)
    access = read_access(arguments, _SECRETS)
    settings = read_engine(
        arguments,
        **{name: getattr(arguments, name) for name in ("batching", "seconds", *_WHOLE)},
        kept_seconds=arguments.kept,
        picture_bytes=arguments.upload * MIB,
    )
    # Said before the networks are loaded, as is a port that is taken.
    from generation.service.http.serving import address_of, listen, serve

    with listen(access) as listening:
        from generation.service.engine import Engine
        from generation.service.http.app import create_app

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("mimique.access").setLevel(logging.WARNING if arguments.quiet else logging.INFO)
        with Engine.open(settings) as engine:
            print(f"serving on {address_of(listening)}; stop with Ctrl-C", flush=True)
            serve(create_app(engine, access), engine, access, listening)
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
