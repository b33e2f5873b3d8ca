"""Who may come in, what of, and how much: safe as it comes."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from configs.cli import UserError
from generation.service.engine import Engine
from generation.service.http.access import Access
from generation.service.http.app import create_app
from generation.service.http.serving import listen, server_of

Service = Callable[..., TestClient]
TOKEN = "0123456789abcdef"  # noqa: S105
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
def http(engine: Engine, service: Service) -> TestClient:
    return service(engine)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.5", "faces.example.org", ""])
def test_others_than_this_machine_need_a_secret(host: str) -> None:
    with pytest.raises(UserError, match="add --auth USER:PASSWORD or --token TOKEN"):
        Access(host=host)
    Access(host=host, token=TOKEN)


@pytest.mark.parametrize("secret", [{"auth": "user"}, {"auth": ":word"}, {"auth": "user:"}, {"token": "short"}])
def test_a_secret_that_is_none_is_refused(secret: dict[str, str]) -> None:
    with pytest.raises(UserError):
        Access(host=EVERYWHERE, **secret)
    assert "0123" not in repr(Access(token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_this_machine_needs_none(host: str) -> None:
    assert Access(host=host).is_open


def test_a_secret_is_asked_for_everywhere_but_of_the_health_check(engine: Engine, service: Service) -> None:
    http = service(engine, token=TOKEN, auth="ann:open sésame")
    basic = b64encode("ann:open sésame".encode()).decode()
    assert http.get("/v1/health").status_code == 200
    for path in ("/v1/version", "/metrics", "/openapi.json", "/v1/jobs/x", "/nothing"):
        answer = http.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="mimique"')
        for wrong in ("Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {basic}", "Basic é".encode(), f"Digest {TOKEN}"):
            assert http.get(path, headers={"authorization": wrong}).status_code == 401
    for right in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
        assert http.get("/v1/version", headers={"authorization": right}).status_code == 200


@pytest.mark.parametrize(
    ("host", "known"),
    [
        *((each, True) for each in ("localhost", "localhost:8000", "127.0.0.1", "[::1]:80", "192.168.1.5", "Faces.Example.org")),
        *((each, False) for each in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.example", "", "a b", "[::1")),
    ],
)
def test_only_own_names_are_answered(engine: Engine, service: Service, host: str, known: bool) -> None:
    http = service(engine, names=("faces.example.org",))
    assert http.get("/v1/health", headers={"host": host}).status_code == (200 if known else 421)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:81"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_pages_of_others_are_turned_away(http: TestClient, headers: dict[str, str], status: int) -> None:
    assert http.get("/v1/health", headers=headers).status_code == status
    if headers.get("sec-fetch-mode") == "navigate":
        assert http.post("/v1/faces", json={}, headers=headers).status_code == 403


def test_every_answer_tells_browsers_to_be_careful(http: TestClient) -> None:
    answers = [http.get("/v1/health"), http.get("/no"), http.post("/v1/faces", json={"count": 0})]
    answers.append(http.get("/v1/health", headers={"host": "evil.example"}))
    for answer in answers:
        said = answer.headers
        assert "default-src 'none'" in said["content-security-policy"]
        assert (said["x-content-type-options"], said["x-frame-options"]) == ("nosniff", "DENY")
        assert (said["referrer-policy"], said["cache-control"]) == ("no-referrer", "no-store")
        assert "access-control-allow-origin" not in said


@pytest.mark.parametrize("number", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "a" * 5000, "set.zip", "%2e%2e"])
def test_no_id_leads_out(http: TestClient, number: str) -> None:
    for path in (f"/v1/jobs/{number}", f"/v1/jobs/{number}/set.zip"):
        assert http.get(path).status_code in (404, 405)
        assert http.delete(path).status_code in (404, 405)


@pytest.fixture
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """An address where somebody would see that it is fetched, and what came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        came, over = list[bytes](), threading.Event()

        def wait() -> None:
            while not over.is_set():
                try:
                    came.append(server.accept()[0].recv(100))
                except OSError:
                    continue

        thread = threading.Thread(target=wait)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.png", came
        over.set()
        thread.join()


def test_addresses_and_paths_are_not_followed(http: TestClient, listening: tuple[str, list[bytes]], picture: bytes) -> None:
    address, came = listening
    for name in (address, "file:///etc/passwd", "/etc/passwd", "\\\\host\\share", "s3://bucket/a.png"):
        for route in ("/v1/readings", "/v1/edits"):
            fields = {"emotion": "fear"} if route == "/v1/edits" else {}
            assert http.post(route, data={**fields, "picture": name}, files={"x": ("x", b"")}).status_code == 422
            assert http.post(route, data=fields, files={"picture": (name, name.encode())}).status_code == 422
        assert http.post("/v1/faces", json={"emotion": name}).status_code == 422
        assert http.post("/v1/datasets", json={"per_emotion": 1, "out": name}).status_code == 422
    assert came == []


NAMES = ("../../../tmp/x.png", "/etc/passwd", "a\x00b", "=cmd|'/c calc'!A0", "a" * 4000, "\r\nX-Evil: 1", "💣.png", "")


@pytest.mark.parametrize("name", NAMES)
def test_file_names_are_not_looked_at(http: TestClient, picture: bytes, name: str) -> None:
    answer = http.post("/v1/readings", files={"picture": (name or "x", picture)}, data={"crops": "no"})
    assert answer.status_code in (200, 400)
    assert "x-evil" not in answer.headers
    if name and answer.status_code == 200:
        assert name not in answer.text


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side: int) -> bytes:
    """A small PNG of many pixels."""
    pixels = zlib.compress(bytes((side // 8 + 1) * side), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_pictures_too_large_or_damaged_are_refused(opened: Any, service: Service, picture: bytes) -> None:
    http = service(opened(picture_bytes=200_000))
    big = bomb(12_000)
    assert len(big) < 200_000
    for data in (big, picture[: len(picture) // 2], picture[:60], b"GIF89a", b"\xff\xd8\xff" * 50, b"RIFF\0\0\0\0WEBP"):
        answer = http.post("/v1/readings", files={"picture": ("a.png", data)})
        assert answer.status_code in (413, 422) or "problem" in answer.json()["faces"][0], data[:8]
    assert http.post("/v1/readings", files={"picture": ("a", bytes(300_000))}).status_code == 413


def test_bodies_too_large_are_refused_before_they_are_read(engine: Engine, service: Service) -> None:
    http = service(engine, order_bytes=1000, upload_bytes=5000)

    def parts() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1000)

    json = {"content-type": "application/json"}
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert http.post("/v1/faces", content=b"1" * 1001, headers=json).status_code == 413
    assert http.post("/v1/edits", content=b"1" * 5001, headers=form).status_code == 413
    assert http.post("/v1/faces", content=b"", headers={**json, "content-length": "-1"}).status_code == 413
    for kind, path in ((json, "/v1/faces"), (form, "/v1/edits")):
        assert http.post(path, content=parts(), headers=kind).status_code in (400, 413)  # no form either


def test_uploads_are_never_spooled_to_disk(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an upload was written to disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert http.post("/v1/readings", files={"picture": ("a.bmp", b"BM" + bytes(3 * 2**20))}).status_code == 422


def test_the_log_names_neither_pictures_nor_orders(http: TestClient, picture: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        http.post("/v1/faces?secret=7", json={"emotion": "secretly"}, headers={"user-agent": "secret"})
        http.get("/v1/jobs/secret")
        http.get("/secret")
        http.post("/v1/readings", files={"picture": ("secret.png", picture)})
    said = [record.getMessage() for record in caplog.records if record.name == "mimique.access"]
    assert [line.split()[1:4] for line in said] == [
        ["POST", "/v1/faces", "422"],
        ["GET", "/v1/jobs/{number}", "404"],
        ["GET", "-", "404"],
        ["POST", "/v1/readings", "200"],
    ]
    assert "secret" not in " ".join(said)


@pytest.fixture
def running(engine: Engine) -> Iterator[Callable[..., tuple[str, int]]]:
    """``running(**access)``: host and port of a server in this process."""
    ends = []

    def start(**access: Any) -> tuple[str, int]:
        own = Access(port=0, **access)
        listening = listen(own)
        server = server_of(create_app(engine, own), engine, own)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        ends.append((server, thread, listening))
        while not server.started:
            time.sleep(0.01)
        return listening.getsockname()[:2]

    yield start
    for server, thread, listening in ends:
        server.should_exit = True
        thread.join()
        listening.close()


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def health(place: tuple[str, int]) -> bytes:
    with socket.create_connection(place) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return answer_of(connection)


def test_slow_connections_are_closed_and_keep_nobody_out(running: Callable[..., tuple[str, int]]) -> None:
    place = running(head_seconds=0.5, body_seconds=0.5)
    idle = [socket.create_connection(place) for _ in range(60)]
    for number, connection in enumerate(idle):
        connection.sendall([b"", b"GET /v1/health HTTP/1.1\r\nHost: local"][number % 2])
    assert health(place).startswith(b"HTTP/1.1 200")
    assert [answer_of(connection) for connection in idle] == [b""] * 60
    slow = socket.create_connection(place)
    slow.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    assert answer_of(slow).startswith(b"HTTP/1.1 408")
    # One that dribbles header after header is given up as well.
    dribbling = socket.create_connection(place)
    dribbling.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n")
    try:
        while True:
            dribbling.sendall(b"X-A: 1\r\n")
            time.sleep(0.05)
    except ConnectionError:
        pass
    assert health(place).startswith(b"HTTP/1.1 200")
    for connection in (*idle, slow, dribbling):
        connection.close()


def test_connections_beyond_the_most_are_closed(running: Callable[..., tuple[str, int]]) -> None:
    place = running(most_connections=5)
    held = [socket.create_connection(place) for _ in range(5)]
    while health(place):
        time.sleep(0.01)
    for connection in held:
        connection.close()
    while not health(place):
        time.sleep(0.01)


@pytest.mark.parametrize(
    "head", [b"X: " + b"a" * 100_000, b"X: " + b"a" * 20_000, b"".join(b"X-%d: 1\r\n" % n for n in range(4000))]
)
def test_whole_heads_too_long_are_refused(running: Callable[..., tuple[str, int]], head: bytes) -> None:
    with socket.create_connection(running()) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + head.rstrip() + b"\r\n\r\n")
        assert answer_of(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")


def test_heads_too_long_are_refused(running: Callable[..., tuple[str, int]]) -> None:
    with socket.create_connection(running()) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
        assert answer_of(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")


def test_a_port_that_is_taken_is_said() -> None:
    with listen(Access(port=0)) as taken, pytest.raises(UserError, match="choose another --port"):
        listen(Access(port=taken.getsockname()[1]))
