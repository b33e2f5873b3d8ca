"""The real server, in a process of its own, and raw requests to it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from configs.cli import UserError

_MOST_READ = 64 * 2**20


class Address(NamedTuple):
    """Where it listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Answer:
    """What came back. ``status``: 0 where nothing that is HTTP came. ``closed``: the server ended the connection."""

    status: int
    head: bytes
    body: bytes
    seconds: float


@contextmanager
def running(program: str, options: Sequence[str]) -> Iterator[str]:
    """``mimique serve`` or ``mimique studio`` on a free port, without a secret; its URL. Ended by SIGTERM.

    Raises UserError: it did not start.
    """
    words = [sys.executable, "-m", "mimique", program, "--port", "0", *options]
    environment = {name: value for name, value in os.environ.items() if name not in ("MIMIQUE_AUTH", "MIMIQUE_TOKEN")}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    try:
        found = re.search(r"http://\S+:\d+", process.stdout.readline() if process.stdout else "")
        if found is None:
            raise UserError(f"mimique {program} did not start; what it says stands above")
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def address_of(url: str) -> Address:
    """Host and port of ``http://127.0.0.1:8000``."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return Address(host, int(port))


async def exchange(address: Address, sent: bytes, patience: float = 120.0) -> Answer:
    """Send these bytes as they are, and take what comes until the server closes, or for ``patience`` seconds."""
    began, got = time.monotonic(), b""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(*address)
            try:
                # A server that has said no may close before it has all.
                with suppress(ConnectionError):
                    writer.write(sent)
                    await writer.drain()
                while len(got) < _MOST_READ and (part := await reader.read(65536)):
                    got += part
            finally:
                writer.close()
    head, _, body = got.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    return Answer(int(found[1]) if found else 0, head, body, time.monotonic() - began)


def request(method: bytes, target: bytes, body: bytes = b"", kind: bytes = b"", *headers: bytes) -> bytes:
    """A request as bytes; nothing in it is checked or escaped."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    if body:
        lines += [b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def form(fields: Mapping[bytes, bytes], name: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Body and type of a form with a ``picture`` of this file name."""
    parts = [b'--cut\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair for pair in fields.items()]
    parts += [b'--cut\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\n\r\n%s\r\n' % (name, data)]
    return b"".join(parts) + b"--cut--\r\n", b"multipart/form-data; boundary=cut"
