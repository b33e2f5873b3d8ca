"""Open the studio: a page in the browser that makes, edits and reads faces and builds sets, on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, command, command_parser
from configs.loader import validate
from generation.service.http.access import Access
from generation.service.settings import EngineSettings

EXAMPLES = """examples:
  python -m generation.studio
  python -m generation.studio --open                             and open it in the browser
  python -m generation.studio --port 9000 --embedder dlib        edits say whether it is the same person
  python -m generation.studio --host 0.0.0.0 --auth ann:PASSWORD --name faces.example.org

The page is English or French, as the browser asks; /en/ and /fr/ choose. All routes of mimique serve are there, too.

It listens on this machine only. Another address needs --auth, which may also stand in MIMIQUE_AUTH, where no list of processes
shows it. Between machines, put a proxy with TLS before it: without, browsers give no webcam, and others on the way read along.

Nothing is fetched from elsewhere, and nobody is told of its use. An uploaded picture is deleted as soon as it is read; what is
to be downloaded after an hour, and at the end. Edited photographs carry a mark, AI-edited, unless --no-mark-edits is given.

exit codes: 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM, which is how it ends."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser, engine = command_parser("python -m generation.studio", __doc__, EXAMPLES), EngineSettings()
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; one that others reach needs --auth")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for them")
    parser.add_argument("--name", action="append", default=[], help="a name under which browsers reach it, besides localhost")
    parser.add_argument(
        "--mark-edits", action=argparse.BooleanOptionalAction, default=True, help="the visible mark on edited photographs"
    )
    parser.add_argument("--weights", default=engine.weights, help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder (default: the one in --weights)")
    parser.add_argument("--judge", default=engine.judge, help="second judge of edits, or none (default: %(default)s)")
    parser.add_argument("--embedder", metavar="NAME", help="measure identity in edits: dlib or deepface:Facenet512")
    parser.add_argument("--detector", default=engine.detector, metavar="NAME", help="finds faces (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Load the networks and serve the page until a signal."""
    arguments = build_parser().parse_args(argv)
    given = {"auth": arguments.auth or os.environ.get("MIMIQUE_AUTH"), "names": arguments.name}
    access = validate(Access, {**given, "host": arguments.host, "port": arguments.port}, "command line")
    names = ("weights", "encoder", "embedder", "detector", "device", "mark_edits")
    chosen = {name: getattr(arguments, name) for name in names}
    judge = None if arguments.judge == "none" else arguments.judge
    settings = validate(EngineSettings, {**chosen, "judge": judge}, "command line")
    # Said before the networks are loaded, as is a port that is taken.
    try:
        from generation.service.http.serving import address_of, listen, serve
        from generation.studio.app import create_studio
    except ImportError as error:
        raise UserError(f"the studio needs the package {error.name}: pip install 'mimique[studio]'") from None

    with listen(access) as listening, tempfile.TemporaryDirectory(prefix="mimique-page-") as folder:
        from generation.service.engine import Engine

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
        with Engine.open(settings) as engine:
            app = create_studio(engine, access, folder=Path(folder))
            print(f"the studio is on {address_of(listening)}; stop with Ctrl-C", flush=True)
            if arguments.open:
                import webbrowser

                webbrowser.open(address_of(listening))
            serve(app, engine, access, listening)
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
