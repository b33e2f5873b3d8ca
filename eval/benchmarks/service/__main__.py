"""Many clients at once on ``mimique serve``: errors, latency, verified faces a second, memory; and one order after the other."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from encoder.emotions import EMOTION_NAMES
from eval.benchmarks.harness import add_out, describe_machine, table
from eval.benchmarks.service.server import running

if TYPE_CHECKING:
    import httpx

EXAMPLES = """examples:
  python -m eval.benchmarks.service --clients 64 --seconds 600
  python -m eval.benchmarks.service --clients 64 --seconds 120 --baseline-seconds 60 --slow 1000
  python -m eval.benchmarks.service --clients 16 --seconds 60 --faces-only --one-face

Each client sends one request after the other: eight of ten are orders of one to four faces of any emotion, one an edit, one a
reading. Whoever is turned away (429) waits as long as it is told. The same is then done with --no-batching, where the service
takes one order after the other, as demos do."""
_MIX = ("faces",) * 8 + ("edits", "readings")
_LOOKS = 5.0
# Seconds: who waits for one order after the other waits long.
_PATIENCE = 3600.0


@dataclass
class Load:
    """What came of one way of serving.

    Attributes:
        seconds: of answers, by kind of order. status: answers by status; 0 where none came.
        faces: verified ones delivered. resident: bytes of the service's memory, one look after the other.
        slow: what became of slow connections, and of others beside them.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    status: Counter[int] = field(default_factory=Counter)
    faces: int = 0
    lasted: float = 0.0
    resident: list[float] = field(default_factory=list)
    slow: dict[str, float] | None = None

    def as_record(self) -> dict[str, Any]:
        """The figures of the report."""
        kinds = {
            kind: {"answers": len(took), "p50": round(_share(took, 0.5), 2), "p95": round(_share(took, 0.95), 2)}
            for kind, took in sorted(self.seconds.items())
        }
        errors = sum(count for status, count in self.status.items() if status not in (200, 429))
        # Of the first looks the networks are still finding their memory.
        settled = [round(held / 2**20) for held in self.resident[len(self.resident) // 5 :]] or [0]
        return {
            "seconds": round(self.lasted, 1),
            "answers_by_status": {str(status): count for status, count in sorted(self.status.items())},
            "errors_other_than_429": errors,
            "kinds": kinds,
            "verified_faces": self.faces,
            "verified_faces_a_second": round(self.faces / self.lasted, 3),
            "resident_mib": {"first": settled[0], "last": settled[-1], "most": max(settled)},
            "slow_connections": self.slow,
        }


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.service", __doc__, EXAMPLES)
    parser.add_argument("--clients", type=int, default=64, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="of each way of serving (default: %(default)s)")
    parser.add_argument("--baseline-seconds", type=float, metavar="S", help="of --no-batching (default: as --seconds)")
    parser.add_argument("--faces-only", action="store_true", help="no edits and no readings")
    parser.add_argument("--one-face", action="store_true", help="orders of a single face")
    parser.add_argument(
        "--slow", type=int, default=0, metavar="N", help="then also N connections whose request never comes whole (default: none)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is ordered (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of the service (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="of the service (default: %(default)s)")
    add_out(parser, "service")
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure both ways and print and write the figures."""
    arguments = build_parser().parse_args(argv)
    if arguments.clients < 1 or not arguments.seconds > 0:
        raise UserError("--clients and --seconds must be positive")
    from engine.storage.atomic import require_new, write_json
    from engine.storage.open_files import allow_files

    allow_files(arguments.slow + 1024)
    require_new([arguments.out], arguments.overwrite)
    common = ("--device", arguments.device, "--batch-size", str(arguments.batch_size), "--quiet")
    together = _measured(arguments, arguments.seconds, common, arguments.slow)
    least = arguments.baseline_seconds or arguments.seconds
    # To wait for one's turn may take longer than an order may last.
    apart = _measured(arguments, least, (*common, "--no-batching", "--seconds", "86400"))
    ways = {"together": together.as_record(), "one after the other": apart.as_record()}
    rates = [each["verified_faces_a_second"] for each in ways.values()]
    ratio = round(rates[0] / rates[1], 2) if rates[1] else None
    machine = describe_machine(["torch", "fastapi", "uvicorn"])
    asked = {name: value for name, value in vars(arguments).items() if name not in ("out", "overwrite")}
    write_json(arguments.out, {"machine": machine, "asked": asked, "ways": ways, "ratio": ratio})
    rows = [
        (
            name,
            each["verified_faces_a_second"],
            each["kinds"].get("faces", {}).get("p50", "-"),
            each["kinds"].get("faces", {}).get("p95", "-"),
            each["answers_by_status"].get("429", 0),
            each["errors_other_than_429"],
            "{first} {last} {most}".format(**each["resident_mib"]),
        )
        for name, each in ways.items()
    ]
    columns = ("way", "faces/s", "p50 s", "p95 s", "429", "errors", "MiB first last most")
    print("\n".join(table(columns, rows)))
    print(f"ratio of verified faces a second: {ratio}; written to {arguments.out}")
    return 0


def _measured(arguments: argparse.Namespace, seconds: float, options: Sequence[str], slow: int = 0) -> Load:
    with running("serve", options) as url:
        return asyncio.run(_load(url, arguments, seconds, slow))


async def _load(url: str, arguments: argparse.Namespace, seconds: float, slow: int) -> Load:
    import httpx

    load = Load()
    limits = httpx.Limits(max_connections=arguments.clients + 2, max_keepalive_connections=arguments.clients + 2)
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits, trust_env=False) as http:
        first = await http.post("/v1/faces", json={"emotion": "happiness", "count": 1, "max_tries": 64})
        picture = _enlarged(first.json()["faces"][0]["png"])
        started = time.monotonic()
        end = started + seconds
        watching = asyncio.create_task(_watch(http, load, end))
        await asyncio.gather(*(_client(http, load, arguments, number, picture, end) for number in range(arguments.clients)))
        load.lasted = time.monotonic() - started
        await watching
        if slow:
            load.slow = await _slow(http, url, slow)
    return load


async def _slow(http: httpx.AsyncClient, url: str, count: int) -> dict[str, float]:
    """Open connections that send half a head, and ask for the service's health until it has closed the last of them."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    waiting = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: local")
        waiting.append(asyncio.create_task(_until_closed(reader, writer)))
    began, took = time.monotonic(), list[float]()
    while not all(task.done() for task in waiting):
        asked = time.monotonic()
        (await http.get("/v1/health")).raise_for_status()
        took.append(time.monotonic() - asked)
        await asyncio.sleep(0.05)
    return {
        "opened": count,
        "closed_after_seconds": round(time.monotonic() - began, 1),
        "health_answers": len(took),
        "health_p95": round(_share(took, 0.95), 4),
    }


async def _until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


def _enlarged(png: str) -> bytes:
    """A face of the service itself, as a picture to edit and to read."""
    import io
    from base64 import b64decode

    from PIL import Image

    image, out = Image.open(io.BytesIO(b64decode(png))).convert("RGB").resize((320, 320)), io.BytesIO()
    canvas = Image.new("RGB", (640, 480), "grey")
    canvas.paste(image, (160, 80))
    canvas.save(out, format="JPEG")
    return out.getvalue()


async def _client(
    http: httpx.AsyncClient, load: Load, arguments: argparse.Namespace, number: int, picture: bytes, end: float
) -> None:
    """One request after the other until the end; what is under way then is waited for and counted."""
    from httpx import HTTPError

    luck = random.Random(f"{arguments.seed} {number}")  # noqa: S311
    headers = {"Mimique-Client": f"client-{number}"}
    while time.monotonic() < end:
        kind = "faces" if arguments.faces_only else luck.choice(_MIX)
        emotion = luck.choice(EMOTION_NAMES)
        count, seed = luck.randint(1, 1 if arguments.one_face else 4), luck.randrange(10**6)
        if kind == "faces":
            sent: dict[str, Any] = {"json": {"emotion": emotion, "count": count, "seed": seed}}
        else:
            sent = {"files": {"picture": ("picture", picture)}}
            sent |= {"data": {"emotion": emotion, "count": 2, "seed": seed}} if kind == "edits" else {}
        began = time.monotonic()
        try:
            answer = await http.post(f"/v1/{kind}", headers=headers, **sent)
        except HTTPError:
            load.status[0] += 1
            continue
        load.status[answer.status_code] += 1
        if answer.status_code == 200:
            load.seconds[kind].append(time.monotonic() - began)
            load.faces += len(answer.json()["faces"]) if kind == "faces" else 0
        elif answer.status_code == 429:
            await asyncio.sleep(min(float(answer.headers["Retry-After"]), max(0.0, end - time.monotonic())))


async def _watch(http: httpx.AsyncClient, load: Load, end: float) -> None:
    while time.monotonic() < end:
        text = (await http.get("/metrics")).text
        load.resident.append(float(text.split("\nmimique_resident_bytes ")[1].split()[0]))
        await asyncio.sleep(min(_LOOKS, max(0.0, end - time.monotonic()) + 0.01))


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


cli = command(main)


if __name__ == "__main__":
    cli()
