"""Attacks on ``mimique studio``, which has all routes of ``mimique serve``: what was tried, how it was answered, what leaked."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.cli import UserError, command, command_parser
from eval.benchmarks.harness import add_out, describe_machine, table
from eval.benchmarks.service import attempts
from eval.benchmarks.service.attempts import CANARY, Attempt
from eval.benchmarks.service.found import Found
from eval.benchmarks.service.names import a_picture, through_tables
from eval.benchmarks.service.server import Address, address_of, exchange, request, running

EXAMPLES = """examples:
  python -m eval.benchmarks.service.attacks
  python -m eval.benchmarks.service.attacks --only uploads --uploads 2000 --seed 1
  python -m eval.benchmarks.service.attacks --program serve --only slow --connections 1000

Starts the server, and sends it what an enemy would: names that lead out of every folder (paths), addresses to fetch
(addresses), orders and pictures too large or damaged (uploads), requests of foreign pages and with foreign names (foreign),
hostile names of files (names), which also go through the tables of mimique read and of the page (tables), and connections that
never send a whole request (slow). Meanwhile it asks for the service's health.

An answer is wrong where it is a defect (500 and more, or none), where it lets through what must be refused, and where it shows
a file of the machine, a hostile name, or a header that the enemy wrote. Whether an address was fetched, its owner tells.

exit codes: 0 nothing was wrong, 1 something was."""
KINDS = ("paths", "addresses", "uploads", "foreign", "names", "tables", "slow")
_AT_ONCE = 4
_LOOK, _LOOK_MEMORY = 0.1, 1.0


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.service.attacks", __doc__, EXAMPLES)
    parser.add_argument(
        "--program", choices=("studio", "serve"), default="studio", help="what is attacked (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of attack (default: all)")
    parser.add_argument("--uploads", type=int, default=600, metavar="N", help="damaged pictures (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=1000, metavar="N", help="slow ones (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of how pictures are damaged (default: %(default)s)")
    add_out(parser, "attacks")
    return parser


def main(argv: Sequence[str]) -> int:
    """Attack, and print and write the figures."""
    arguments = build_parser().parse_args(argv)
    if arguments.uploads < 0 or arguments.connections < 1:
        raise UserError("--uploads and --connections must be positive")
    from engine.storage.atomic import require_new, write_json
    from engine.storage.open_files import allow_files

    allow_files(arguments.connections + 1024)
    require_new([arguments.out], arguments.overwrite)
    with tempfile.TemporaryDirectory(prefix="mimique-attacks-") as folder:
        canary = Path(folder) / "secret.txt"
        canary.write_bytes(CANARY)
        with running(arguments.program, ["--device", "cpu"]) as url:
            found = asyncio.run(_all(arguments, address_of(url), canary))
        if "tables" in arguments.only:
            found["tables"] = through_tables(Path(folder))
    records = {kind: found[kind].as_record() for kind in KINDS if kind in found}
    asked = {name: value for name, value in vars(arguments).items() if name not in ("out", "overwrite")}
    machine = describe_machine(["torch", "fastapi", "uvicorn", "gradio"])
    write_json(arguments.out, {"machine": machine, "asked": asked, "attacks": records})
    columns = ("attack", "tried", "wrong", "worst s", "health p95 s", "MiB", "answers by status")
    figures = ("tried", "wrong", "worst_seconds", "health_p95", "most_resident_mib")
    rows = [
        (kind, *("-" if each[name] is None else each[name] for name in figures), _in_words(each["answers_by_status"]))
        for kind, each in records.items()
    ]
    print("\n".join(table(columns, rows)))
    for kind, each in records.items():
        for line in each["wrong_ones"]:
            print(f"wrong: {kind}: {line}", file=sys.stderr)
    print(f"written to {arguments.out}")
    return int(any(each["wrong"] for each in records.values()))


async def _all(arguments: argparse.Namespace, address: Address, canary: Path) -> dict[str, Found]:
    studio, found = arguments.program == "studio", dict[str, Found]()
    picture = a_picture()
    for kind in [kind for kind in KINDS if kind in arguments.only and kind != "tables"]:
        found[kind] = Found()
        print(f"{kind} …", file=sys.stderr, flush=True)
        over = asyncio.Event()
        watching = asyncio.create_task(_watch(address, found[kind], over))
        if kind == "paths":
            await _send(address, found[kind], attempts.paths(str(canary), studio))
            await _send(address, found[kind], attempts.events_told() if studio else (), patience=4.0)
        elif kind == "addresses":
            with _listening() as (own, came):
                await _send(address, found[kind], attempts.addresses(own, studio))
                await _send(address, found[kind], attempts.events_told() if studio else (), patience=4.0)
            for line in came:
                found[kind].blame(f"was fetched: {line!r}")
        elif kind == "uploads":
            await _send(address, found[kind], attempts.uploads(arguments.seed, arguments.uploads))
        elif kind == "foreign":
            await _send(address, found[kind], attempts.foreign())
        elif kind == "names":
            await _send(address, found[kind], attempts.names(picture))
        else:
            await _slow(address, found[kind], arguments.connections)
        over.set()
        await watching
    return found


async def _send(address: Address, found: Found, todo: Iterable[Attempt], patience: float = 120.0) -> None:
    """Send all, a few at once."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def send(attempt: Attempt) -> None:
        try:
            answer = await exchange(address, attempt.sent, patience)
        finally:
            room.release()
        found.tried += 1
        found.answers[answer.status] += 1
        # Who listens to the queue is told until he goes.
        found.worst = max(found.worst, 0.0 if answer.seconds >= patience and attempt.may_close else answer.seconds)
        if attempt.is_wrong(answer.status, answer.head + b"\r\n\r\n" + answer.body):
            found.blame(f"{answer.status} {attempt.sent[:160]!r} {answer.body[:200]!r}")

    async with asyncio.TaskGroup() as group:
        for attempt in todo:
            await room.acquire()
            group.create_task(send(attempt))


async def _watch(address: Address, found: Found, over: asyncio.Event) -> None:
    """Ask for the service's health and memory until it is over."""
    looked = 0.0
    while not over.is_set():
        answer = await exchange(address, request(b"GET", b"/v1/health"))
        if answer.status != 200:
            found.blame(f"the health check was answered {answer.status}")
        found.health.append(answer.seconds)
        if time.monotonic() - looked > _LOOK_MEMORY:
            looked = time.monotonic()
            said = (await exchange(address, request(b"GET", b"/metrics"))).body
            found.resident.append(round(float(said.split(b"\nmimique_resident_bytes ")[1].split()[0]) / 2**20))
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _LOOK)


async def _slow(address: Address, found: Found, count: int) -> None:
    """Connections that send nothing, half a head, a head line by line, or a body byte by byte, until the server closes them."""
    head = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"
    body = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"
    ways = ((b"", b""), (head[:30], b""), (head, b"X-A: 1\r\n"), (body, b" "))

    async def hold(number: int) -> None:
        first, more = ways[number % len(ways)]
        began = time.monotonic()
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(first)
            told = asyncio.create_task(reader.read())
            while not told.done():
                await asyncio.wait([told], timeout=5.0)
                if more and not told.done():
                    writer.write(more)
            writer.close()
            said = b"" if told.exception() else told.result()
            found.answers[int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0] += 1
        found.tried += 1
        found.worst = max(found.worst, time.monotonic() - began)

    await asyncio.gather(*(hold(number) for number in range(count)))


@contextmanager
def _listening() -> Iterator[tuple[str, list[bytes]]]:
    """An address of this machine, and what was asked of it."""
    with socket.create_server(("", 0)) as server:
        server.settimeout(0.1)
        came, over = list[bytes](), threading.Event()

        def wait() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection = server.accept()[0]
                    connection.settimeout(1.0)
                    came.append(b"connected")
                    came.append(connection.recv(200))
                    connection.close()

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/a.png", came
        finally:
            time.sleep(1.0)
            over.set()
            thread.join()


def _in_words(answers: dict[str, int]) -> str:
    return ", ".join(f"{'closed' if status == '0' else status}: {count}" for status, count in answers.items()) or "-"


cli = command(main)


if __name__ == "__main__":
    cli()
