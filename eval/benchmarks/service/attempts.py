"""What an enemy sends: paths that lead out, addresses to fetch, uploads too large and damaged, foreign pages, hostile names."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from eval.benchmarks.service.names import NAMES, a_picture
from eval.benchmarks.service.server import form, request

# Stands in a file of this machine that no answer may show.
CANARY = b"canary-9f3b51c7"
_PASSWORDS = b"root:x:0:0"
_JSON = b"application/json"
_MIB = 2**20


@dataclass(frozen=True)
class Attempt:
    """One request. ``may_pass``: an answer of 200 is right, as long as nothing leaks; ``may_close``: so is none at all."""

    sent: bytes
    may_pass: bool = False
    may_close: bool = False
    hidden: tuple[bytes, ...] = ()

    def is_wrong(self, status: int, answer: bytes) -> bool:
        """Whether the answer is a defect, lets through what it must refuse, or shows what it must not."""
        leaks = any(secret in answer for secret in (CANARY, _PASSWORDS, b"x-evil", b"X-Evil", *self.hidden))
        passed = 200 <= status < 300 and not self.may_pass
        return leaks or passed or status >= 500 or (status == 0 and not self.may_close)


def paths(canary: str, studio: bool) -> Iterator[Attempt]:
    """Names that lead out of every folder, in every place for a name, and as files of events of the page."""
    names = [canary, "/etc/passwd", "//etc/passwd", "file:///etc/passwd", f"file://{canary}", "..", "\x00", "a" * 5000]
    for depth in (1, 4, 12):
        for step in (
            "../",
            "..%2f",
            "%2e%2e/",
            "%2e%2e%2f",
            "%252e%252e%252f",
            "..\\",
            "..%5c",
            "....//",
            "..;/",
            "%c0%ae%c0%ae/",
        ):
            names += [step * depth + "etc/passwd", step * depth + canary.lstrip("/")]
    places = ["/{}", "/v1/{}", "/v1/jobs/{}", "/v1/jobs/{}/set.zip"]
    if studio:
        places += ["/measured/{}", "/en/{}", "/en/assets/{}", "/en/static/{}", "/en/svelte/{}"]
        places += [
            f"/en/gradio_api/{each}" for each in ("file={}", "file/{}", "upload/{}", "stream/{}", "proxy=/{}", "deep_link={}")
        ]
    for place in places:
        for name in names:
            target = place.format(quote(name, safe="/%.;=:\\")).encode()
            yield Attempt(request(b"GET", target))
            if "jobs" in place:
                yield Attempt(request(b"DELETE", target))
    for name in (canary, "/etc/passwd", "../../../../etc/passwd"):
        for route, field in (("faces", "emotion"), ("faces", "weights"), ("datasets", "out"), ("datasets", "counts")):
            order = {"per_emotion": 1, field: name} if route == "datasets" else {field: name}
            yield Attempt(_json(f"/v1/{route}", json.dumps(order).encode()))
        yield Attempt(_json("/v1/datasets", json.dumps({"counts": {name: 1}}).encode()))
        yield from _picture_named(name.encode())
        if studio:
            yield from _events(name)


def addresses(url: str, studio: bool) -> Iterator[Attempt]:
    """An address that would tell of being fetched, wherever something may be named."""
    others = [url, url.replace("http", "https"), url.replace("http://", "//"), url.replace("127.0.0.1", "localhost")]
    others += [url.replace("127.0.0.1", each) for each in ("0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "127.1")]  # noqa: S104
    for address in others:
        yield from _picture_named(address.encode())
        for route, field in (("faces", "emotion"), ("faces", "avoid"), ("datasets", "out"), ("datasets", "format")):
            order = {"per_emotion": 1, field: address} if route == "datasets" else {field: address}
            yield Attempt(_json(f"/v1/{route}", json.dumps(order).encode()))
        yield Attempt(request(b"GET", address.encode()))
        # What it names is nobody's business here; the answer is that of the health check.
        for header in (b"Referer", b"X-Forwarded-Host", b"Forwarded", b"X-Original-URL"):
            yield Attempt(request(b"GET", b"/v1/health", b"", b"", header + b": " + address.encode()), may_pass=True)
        if studio:
            for each in ("proxy={}", "file={}", "file=/{}", "upload?url={}"):
                yield Attempt(request(b"GET", f"/en/gradio_api/{each.format(address)}".encode()))
            yield from _events(address) if address == url else ()


def _events(name: str) -> Iterator[Attempt]:
    """The name as an upload of the page's events. They are taken into the queue, and what they find is told there."""
    for number in range(40):
        given = {"path": name, "url": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        session = f"attack{number}"
        order = {"data": [given, [given], None, 0, 0], "fn_index": number, "session_hash": session, "trigger_id": number}
        body = json.dumps(order).encode()
        yield Attempt(_json("/en/gradio_api/queue/join", body), may_pass=True)
        yield Attempt(_json("/en/gradio_api/run/predict", body), may_pass=True)


def events_told() -> Iterator[Attempt]:
    """What the page's queue says of the events before."""
    for number in range(40):
        target = f"/en/gradio_api/queue/data?session_hash=attack{number}"
        yield Attempt(request(b"GET", target.encode()), may_pass=True, may_close=True)


def uploads(seed: int, count: int) -> Iterator[Attempt]:
    """Orders and pictures too large, of too many pixels, damaged, and no such thing at all."""
    luck = random.Random(seed)  # noqa: S311
    for route in ("/v1/readings", "/v1/edits"):
        for data in _bombs():
            yield _upload(route, b"a.png", data, may_pass=route == "/v1/readings" and len(data) < 100)
        for declared in (b"80000000", b"10000000000000", b"-1", b"1e3", b"+5", b"0x10"):
            head = (
                b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            )
            yield Attempt(head % route.encode() + b"Content-Length: " + declared + b"\r\n\r\nx", may_close=True)
        yield Attempt(request(b"POST", route.encode(), bytes(80 * _MIB), b"multipart/form-data; boundary=x"), may_close=True)
        yield Attempt(_chunked(route.encode(), 80), may_close=True)
        for body in (
            b"",
            b"--cut",
            b"--cut--",
            b"--cut\r\n\r\n\r\n--cut--\r\n",
            b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--",
        ):
            yield Attempt(request(b"POST", route.encode(), body, b"multipart/form-data; boundary=cut"))
        many = b"".join(b'--cut\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nx\r\n' % n for n in range(20_000))
        yield Attempt(request(b"POST", route.encode(), many + b"--cut--\r\n", b"multipart/form-data; boundary=cut"))
        yield Attempt(request(b"POST", route.encode(), b"x" * 9, b"multipart/form-data"))
    for body in _orders():
        for route in ("/v1/faces", "/v1/datasets"):
            yield Attempt(_json(route, body), may_close=len(body) > _MIB)
    kinds = _pictures()
    for number in range(count):
        damaged = bytearray(kinds[number % len(kinds)])
        if luck.random() < 0.3:
            del damaged[luck.randrange(len(damaged)) :]
        for _ in range(luck.choice((0, 1, 4, 30))):
            if damaged:
                damaged[luck.randrange(len(damaged))] = luck.randrange(256)
        # Some are still pictures.
        yield _upload(luck.choice(("/v1/readings", "/v1/edits")), b"a", bytes(damaged), may_pass=True)


def _bombs() -> Iterator[bytes]:
    """Small files of many pixels, frames, rows or levels, and starts of files of every kind."""
    for side in (12_000, 40_000, 2**31 - 1):
        yield _png(side)
    yield b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01" + bytes(5000)
    yield b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(6) + b"\x2c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02" + b"\xff" * 4000
    yield (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
    )
    yield b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 3000
    yield b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff" * 6 + bytes(500)
    yield b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\xff\xff\xff\xffmoov" + bytes(4000)
    yield b"\x1aE\xdf\xa3" + b"\x01" + b"\xff" * 3000
    yield from (b"", b"\0", b"GIF89a", b"\xff\xd8\xff", b"%PDF-1.7", b"PK\x03\x04", b"<svg onload=alert(1)>", b"#!/bin/sh\nid\n")


def _orders() -> Iterator[bytes]:
    """Orders in JSON that are none."""
    yield from (b"", b"null", b"[]", b"7", b'"fear"', b"{", b"\xff\xfe{}", b'{"count": NaN}', b'{"count": 1e400}')
    yield from (
        b"[" * 100_000,
        b'{"emotion":' * 20_000,
        b'{"emotion": "' + b"a" * 200_000 + b'"}',
        b'{"count": ' + b"9" * 5000 + b"}",
    )
    yield from (
        b'{"emotion": "fear", "out": "x"}',
        b'{"__proto__": {"count": 1}}',
        b'{"count": "many"}',
        b'{"seed": -1, "per_emotion": 0}',
    )
    yield b'{"counts": {' + b",".join(b'"fear/%d": 1' % n for n in range(12_000)) + b"}}"
    yield b'{"emotion": "' + b"a" * (2 * _MIB) + b'"}'


def foreign() -> Iterator[Attempt]:
    """Other people's pages and names, other protocols, and heads that no browser sends."""
    for host in (
        b"evil.example",
        b"localhost.evil.example",
        b"127.0.0.1.nip.example",
        b"",
        b"a b",
        b"localhost\r\nHost: evil.example",
    ):
        for method, target in ((b"GET", b"/v1/health"), (b"POST", b"/v1/faces"), (b"GET", b"/")):
            yield Attempt(request(method, target, b"{}", _JSON).replace(b"Host: localhost", b"Host: " + host))
    hostile = (b"Origin: http://evil.example", b"Origin: null", b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Site: same-site")
    for header in hostile:
        for method, target in (
            (b"POST", b"/v1/faces"),
            (b"POST", b"/v1/datasets"),
            (b"DELETE", b"/v1/jobs/x"),
            (b"GET", b"/v1/version"),
        ):
            yield Attempt(request(method, target, b"{}", _JSON, header))
    for method in (b"TRACE", b"CONNECT", b"PUT", b"PATCH", b"PROPFIND", b"get", b"\x16\x03\x01", b"GET\x00"):
        yield Attempt(request(method, b"/v1/health"), may_close=True)
    yield Attempt(request(b"GET", b"/v1/health", b"", b"", b"X: " + b"a" * 100_000), may_close=True)
    yield Attempt(request(b"GET", b"/v1/health?" + b"a" * 100_000), may_close=True)
    yield Attempt(request(b"GET", b"/v1/health", b"", b"", *[b"X-%d: 1" % n for n in range(5000)]), may_close=True)
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Sec-WebSocket-Version: 13")
    for target in (b"/v1/faces", b"/", b"/en/gradio_api/queue/join"):
        yield Attempt(
            request(b"GET", target, b"", b"", *upgrade).replace(b"Connection: close", b"Connection: Upgrade"), may_close=True
        )
    smuggled = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    yield Attempt(smuggled + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n[]GET /v1/health HTTP/1.1\r\n\r\n", may_close=True)
    yield Attempt(
        smuggled + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", may_close=True
    )


def names(picture: bytes) -> Iterator[Attempt]:
    """A picture that can be read, under each hostile name; the answer must not repeat it."""
    for name in NAMES:
        raw = name.encode("utf-8", "surrogatepass")
        hidden = (raw,) if len(raw) > 4 else ()
        yield _upload("/v1/readings", raw, picture, may_pass=True, hidden=hidden)
        yield _upload("/v1/edits", raw, picture, may_pass=True, hidden=hidden)


def _picture_named(name: bytes) -> Iterator[Attempt]:
    """A name in place of a picture: as a field, as a file's name, and as what the file holds."""
    for route in ("/v1/readings", "/v1/edits"):
        body = b'--cut\r\nContent-Disposition: form-data; name="picture"\r\n\r\n' + name + b"\r\n--cut--\r\n"
        yield Attempt(request(b"POST", route.encode(), body, b"multipart/form-data; boundary=cut"))
        yield _upload(route, name, name)
        yield Attempt(_json(route, json.dumps({"picture": name.decode()}).encode()))


def _upload(route: str, name: bytes, data: bytes, **how: bool | tuple[bytes, ...]) -> Attempt:
    fields: Mapping[bytes, bytes] = {b"emotion": b"fear", b"count": b"1"} if route == "/v1/edits" else {}
    body, kind = form(fields, name, data)
    return Attempt(request(b"POST", route.encode(), body, kind), **how)  # type: ignore[arg-type]


def _json(route: str, body: bytes) -> bytes:
    return request(b"POST", route.encode(), body, _JSON)


def _chunked(target: bytes, count: int) -> bytes:
    """A body whose length nobody says before, of so many MiB."""
    head = (
        b"POST "
        + target
        + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + bytes(_MIB) + b"\r\n") * count + b"0\r\n\r\n"


def _png(side: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(min((side // 8 + 1) * side, 20 * _MIB)), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _pictures() -> list[bytes]:
    """A small picture of noise in every kind of file."""
    from PIL import Image

    found, image = list[bytes](), Image.open(io.BytesIO(a_picture()))
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        out = io.BytesIO()
        image.save(out, kind)
        found.append(out.getvalue())
    return found
