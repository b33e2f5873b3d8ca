"""Open the studio: a page in the browser that makes, edits and reads faces and builds sets, on this machine."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, command, command_parser
from generation.service.options import add_access_options, add_engine_options, read_access, read_engine

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

# Browsers ask for a password, and for no token.
_SECRETS = ("auth",)


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.studio", __doc__, EXAMPLES)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    add_access_options(parser, 7860, _SECRETS)
    add_engine_options(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Load the networks and serve the page until a signal."""
    arguments = build_parser().parse_args(argv)
    access, settings = read_access(arguments, _SECRETS), read_engine(arguments)
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
