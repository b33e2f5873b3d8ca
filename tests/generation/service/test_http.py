"""The routes as a program sees them: orders, results, jobs, problems, figures, and the client in the package."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from configs.cli import UserError
from generation.service.client import Client, ServiceError
from generation.service.engine import Engine
from generation.service.orders import EditResult, FacesOrder, FacesResult, JobState, ReadResult

Service = Callable[..., TestClient]


@pytest.fixture
def http(engine: Engine, service: Service) -> TestClient:
    return service(engine)


class Through(httpx.BaseTransport):
    """From the package's client to the service, without a network."""

    def __init__(self, http: TestClient) -> None:
        self._http = http

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        got = self._http.request(request.method, str(request.url), content=content, headers=dict(request.headers))
        return httpx.Response(got.status_code, headers=dict(got.headers), content=got.content)


@pytest.fixture
def client(http: TestClient) -> Client:
    return Client("http://127.0.0.1", retries=0, transport=Through(http))


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= said.keys()
    assert said["status"] == status
    return said


def test_faces_come_as_the_engine_gives_them(client: Client, engine: Engine, likely: str) -> None:
    order: dict[str, Any] = {"emotion": likely, "count": 3, "seed": 5, "threshold": 0.0, "max_tries": 9}
    result = client.faces(**order)
    assert isinstance(result, FacesResult)
    assert [face.png for face in result.faces] == [face.png for face in engine.faces(FacesOrder(**order)).faces]
    assert not client.coarse(**order).verified


def test_pictures_are_edited_and_read(client: Client, picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture)
    edited = client.edit(tmp_path / "a.png", emotion="happiness", count=2, region="mouth")
    assert isinstance(edited, EditResult)
    assert edited.proposals[0].picture.size == (96, 96)
    assert edited.proposals[1].picture is None
    read = client.read(edited.proposals[0].picture, crops="no")
    assert isinstance(read, ReadResult)
    assert len(read.faces) == 1
    with pytest.raises(UserError, match="no such file"):
        client.read(tmp_path / "absent.png")


def test_a_set_is_ordered_watched_and_fetched(client: Client, http: TestClient, likely: str, tmp_path: Path) -> None:
    job = client.start_dataset(counts={likely: 4}, threshold=0.0, least_difference=0.0)
    assert isinstance(job, JobState)
    assert client.wait(job.id).state == "done"
    client.download(job.id, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes()[:2] == b"PK"
    client.delete(job.id)
    with pytest.raises(ServiceError, match="404: no such job"):
        client.job(job.id)
    with pytest.raises(ServiceError, match="404"):
        client.download(job.id, tmp_path / "other.zip")
    assert not (tmp_path / "other.zip").exists()


def test_a_set_is_stopped_and_goes_on(client: Client, http: TestClient, engine: Engine, held: Any, likely: str) -> None:
    with held(engine):
        answer = http.post("/v1/datasets", json={"counts": {likely: 4}, "threshold": 0.0, "least_difference": 0.0})
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{answer.json()['id']}")
        number = answer.json()["id"]
        problem(http.get(f"/v1/jobs/{number}/set.zip"), 409)
        client.cancel(number)
    assert client.wait(number).state == "cancelled"
    client.resume(number)
    assert client.wait(number).state == "done"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"emotion": "feer"}, "did you mean"),
        ({"count": 0}, "count: "),
        ({"count": "many"}, "count: "),
        ({"emotoin": "fear"}, "emotoin: "),
        ({"threshold": 1e400}, "threshold: "),
        ({"look": "oil"}, "look: "),
        ([], ""),
    ],
)
def test_wrong_orders_are_problems(http: TestClient, order: Any, words: str) -> None:
    answer = http.post("/v1/faces", content=json.dumps(order), headers={"content-type": "application/json"})
    assert words in problem(answer, 422)["detail"]


def test_a_problem_repeats_nothing_that_was_sent(http: TestClient) -> None:
    secret = "<script>alert(1)</script>" * 3
    for order in ({"count": secret}, {"look": secret}, {"age": secret}):
        assert "script" not in http.post("/v1/faces", json=order).text


def test_wrong_routes_and_bodies_are_problems(http: TestClient, picture: bytes) -> None:
    kind = {"content-type": "application/json"}
    problem(http.get("/v1/nothing"), 404)
    problem(http.get("/v1/faces"), 405)
    problem(http.post("/v1/edits", json={}), 415)
    problem(http.post("/v1/faces", content=b"{", headers=kind), 422)
    assert http.post("/v1/faces", content=b"[" * 200_000, headers=kind).status_code in (400, 422)
    assert http.post("/v1/faces", content=b"\xff\xfe", headers=kind).status_code in (400, 422)
    problem(http.post("/v1/edits", content=b"--x", headers={"content-type": "multipart/form-data"}), 400)
    problem(http.post("/v1/edits", files={"picture": ("a", picture)}), 422)
    problem(http.post("/v1/edits", files={"a": ("a", picture), "b": ("b", picture)}), 400)
    problem(http.post("/v1/readings", files={"picture": ("a", picture)}, data={"crops": "perhaps"}), 422)


def test_who_asks_for_too_much_is_told_when_to_come_again(opened: Any, service: Service, held: Any, client: Client) -> None:
    engine = opened(most_waiting=1)
    http = service(engine)
    mine = {"mimique-client": "a"}
    order = {"count": 1, "max_tries": 1}
    with ThreadPoolExecutor() as pool:
        with held(engine):
            first = pool.submit(http.post, "/v1/faces", json=order, headers=mine)
            while not engine.turns.waiting:
                time.sleep(0.005)
            away = http.post("/v1/faces", json=order, headers=mine)
            problem(away, 429)
            assert away.headers["retry-after"] == "5"
            other = pool.submit(http.post, "/v1/faces", json=order, headers={"mimique-client": "b"})
            while engine.turns.waiting < 2:
                time.sleep(0.005)
        assert (first.result().status_code, other.result().status_code) == (200, 200)


def test_an_order_out_of_time_is_a_problem(opened: Any, service: Service) -> None:
    http = service(opened(seconds=1e-9))
    answer = http.post("/v1/faces", json={"count": 1})
    problem(answer, 503)
    assert answer.headers["retry-after"]


def test_a_defect_tells_nothing_of_this_machine(engine: Engine, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("in /home/somebody")

    monkeypatch.setattr(engine, "faces", broken)
    assert "somebody" not in str(problem(service(engine).post("/v1/faces", json={}), 500))


def test_the_description_names_every_route_and_type(http: TestClient) -> None:
    said = http.get("/openapi.json").json()
    routes = {(path, method) for path, methods in said["paths"].items() for method in methods}
    assert {("/v1/faces", "post"), ("/v1/edits", "post"), ("/v1/readings", "post"), ("/v1/datasets", "post")} <= routes
    assert {("/v1/jobs/{number}", "get"), ("/v1/jobs/{number}", "delete"), ("/v1/health", "get"), ("/metrics", "get")} <= routes
    faces = said["paths"]["/v1/faces"]["post"]
    assert "four faces" in faces["requestBody"]["content"]["application/json"]["examples"]
    for example in faces["requestBody"]["content"]["application/json"]["examples"].values():
        FacesOrder.model_validate(example["value"])
    fields = said["paths"]["/v1/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"picture", "emotion", "region"} <= fields.keys()
    assert said["components"]["schemas"]["Problem"]["properties"].keys() >= {"type", "title", "status", "detail"}


def test_what_was_done_is_measured(client: Client, http: TestClient, likely: str) -> None:
    client.faces(emotion=likely, count=2, threshold=0.0, max_tries=9)
    http.post("/v1/faces", json={"emotion": "feer"})
    text = http.get("/metrics").text
    assert 'mimique_orders_total{kind="faces",outcome="done"} 1.0' in text
    assert 'mimique_orders_total{kind="faces",outcome="refused"} 1.0' in text
    assert "mimique_faces_total 2.0" in text
    assert http.get("/v1/health").json() == {"status": "ok"}
    assert client.version()["weights"].keys() == {"encoder", "tokenizer", "prior"}


def test_the_client_says_what_is_wrong() -> None:
    with pytest.raises(ServiceError, match="does mimique serve run there"):
        Client("http://127.0.0.1:9", retries=0).faces()
    with pytest.raises(UserError, match="emotoin"):
        Client("http://127.0.0.1:9").faces(emotoin="fear")
