"""The routes: an order in, a result out, in the types of :mod:`generation.service.orders`."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Body, FastAPI, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from engine.storage.provenance import version
from generation.service.engine import Engine
from generation.service.http import metrics, problems
from generation.service.http.access import Access
from generation.service.http.forms import documented, read_form
from generation.service.http.guard import Guard
from generation.service.jobs import Job
from generation.service.orders import (
    DatasetOrder,
    EditOrder,
    EditResult,
    FacesOrder,
    FacesResult,
    JobState,
    ReadOrder,
    ReadResult,
)

Found = TypeVar("Found", bound=BaseModel)
# Says which of the programs behind one address it is; limits and turns are then its own.
CLIENT = "mimique-client"
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
# How often, in seconds, it is looked whether somebody still waits for an answer.
_LOOKS = 0.5
_DESCRIPTION = """Faces that show the emotion you ask for, verified by an encoder; other expressions for faces in photographs;
readings of faces; labelled sets. Every face is AI-generated, and its PNG says so. Errors are problem details (RFC 9457)."""
_FACES: Any = {
    "four faces": {"value": {"emotion": "fear", "count": 4, "seed": 7}},
    "a mixture": {"value": {"emotion": {"fear": 0.7, "surprise": 0.3}, "count": 2, "gender": "female"}},
    "one person, three emotions": {"value": {"emotion": ["fear", "anger", "neutral"], "seed": [5, 5, 5], "identity": True}},
}
_SETS: Any = {"ten of each": {"value": {"per_emotion": 10}}, "of two": {"value": {"counts": {"disgust": 20, "fear": 10}}}}


class Health(BaseModel):
    """The service answers."""

    status: str = "ok"


class Version(BaseModel):
    """What runs here. ``looks``, ``attributes``: what these weights can be asked for."""

    version: str
    weights: dict[str, str]
    looks: tuple[str, ...]
    attributes: tuple[str, ...]


def create_app(engine: Engine, access: Access | None = None) -> ASGIApp:
    """The service on an engine that is open, behind its guard. The engine is not closed with it."""
    return Guard(create_routes(engine), access or Access())


def create_routes(engine: Engine) -> FastAPI:
    """The service without its guard, for a page that brings its own."""
    pool = ThreadPoolExecutor(engine.settings.most_waiting_all + 8, "order")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Mimique",
        version=version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        responses=problems.DOCUMENTED,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    _add_orders(app, engine, pool)
    _add_jobs(app, engine)
    _add_watching(app, engine)
    return app


def _add_orders(app: FastAPI, engine: Engine, pool: ThreadPoolExecutor) -> None:
    @app.post("/v1/faces", response_model=FacesResult, summary="Make faces")
    async def make_faces(
        request: Request, order: Annotated[FacesOrder, Body(openapi_examples=_FACES)], coarse: bool = False
    ) -> Response:
        """Verified faces; with ``coarse`` a first sight in a few steps, not verified."""
        return await _answered(request, pool, partial(engine.coarse if coarse else engine.faces, order))

    example = {"picture": "@photo.jpg", "emotion": "happiness", "count": 4}

    @app.post("/v1/edits", response_model=EditResult, summary="Edit", openapi_extra=documented(EditOrder, example))
    async def edit(request: Request) -> Response:
        """Another expression for a face in a photograph. Change only pictures of people who agreed to it."""
        order, picture = await read_form(request, EditOrder)
        return await _answered(request, pool, partial(engine.edit, order, picture))

    shown = {"picture": "@photo.jpg", "largest": True}

    @app.post("/v1/readings", response_model=ReadResult, summary="Read", openapi_extra=documented(ReadOrder, shown))
    async def read(request: Request) -> Response:
        """The faces in a picture or video, and the emotions that people would be likely to see in them."""
        order, picture = await read_form(request, ReadOrder)
        return await _answered(request, pool, partial(engine.read, picture, order))


def _add_jobs(app: FastAPI, engine: Engine) -> None:
    def found(number: str) -> Job:
        try:
            return engine.jobs[number]
        except KeyError:
            raise HTTPException(404, "no such job; data sets are deleted some time after they were last asked for") from None

    @app.post("/v1/datasets", status_code=202, response_model=JobState, summary="Make a labelled set")
    def start(request: Request, response: Response, order: Annotated[DatasetOrder, Body(openapi_examples=_SETS)]) -> JobState:
        """Begins a job; ``Location`` says where to ask how far it is."""
        job = engine.start_dataset(order, client=_client(request))
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return job.state

    @app.get("/v1/jobs/{number}", response_model=JobState, summary="How far it is")
    def state(number: str) -> JobState:
        return found(number).state

    @app.get("/v1/jobs/{number}/set.zip", response_class=FileResponse, summary="The set")
    def archive(number: str) -> FileResponse:
        """The set with manifest and data card, once it is done."""
        file = found(number).archive
        if file is None:
            raise HTTPException(409, "the set is not done")
        return FileResponse(file, media_type="application/zip", filename="set.zip")

    @app.post("/v1/jobs/{number}/cancel", response_model=JobState, summary="Stop, and keep what is drawn")
    def cancel(number: str) -> JobState:
        job = found(number)
        job.cancel()
        return job.state

    @app.post("/v1/jobs/{number}/resume", response_model=JobState, summary="Go on")
    def resume(number: str) -> JobState:
        found(number)
        return engine.jobs.resume(number).state

    @app.delete("/v1/jobs/{number}", status_code=204, response_class=Response, summary="Stop and delete")
    def delete(number: str) -> Response:
        found(number)
        engine.jobs.delete(number)
        return Response(status_code=204)


def _add_watching(app: FastAPI, engine: Engine) -> None:
    figures = metrics.registry_of(engine)

    @app.get("/v1/health", response_model=Health, summary="Does it answer")
    async def health() -> Health:
        return Health()

    @app.get("/v1/version", response_model=Version, summary="What runs here")
    async def what() -> Version:
        model = engine.model
        return Version(version=version(), weights=model.weights, looks=model.looks, attributes=tuple(map(str, model.attributes)))

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    def measured() -> Response:
        return Response(metrics.written(figures), media_type=metrics.MEDIA_TYPE)


def _client(request: Request) -> str:
    """Whose order it is: of an address, and of a name behind it where one is given."""
    name = request.headers.get(CLIENT, "")
    address = request.client.host if request.client else "-"
    return f"{address}/{name}" if _NAME.fullmatch(name) else address


async def _answered(request: Request, pool: ThreadPoolExecutor, act: Callable[..., Found]) -> Response:
    """The result of an order, in a thread of its own; it ends when nobody waits for it any more."""
    gone = threading.Event()
    client = _client(request)

    def work() -> bytes | BaseException:
        # Not raised into the loop: what ends an order is a KeyboardInterrupt.
        try:
            return act(client=client, cancelled=gone.is_set).model_dump_json().encode()
        except BaseException as error:
            return error

    working = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        while not (await asyncio.wait({working}, timeout=_LOOKS))[0]:
            if await request.is_disconnected():
                gone.set()
    finally:
        gone.set()
    result: Any = working.result()
    return problems.answer(result) if isinstance(result, BaseException) else Response(result, media_type="application/json")
