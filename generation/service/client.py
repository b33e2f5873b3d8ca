"""Faces from a service elsewhere: the same orders and results as its engine's, without PyTorch on this machine."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from configs.cli import UserError
from configs.loader import validate
from engine.storage.atomic import draft
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

Result = TypeVar("Result", bound=BaseModel)
_TURNED_AWAY = (429, 503)
# Seconds between two looks at a data set in the making.
_LOOKS = 1.0


class ServiceError(UserError):
    """The service refuses, or cannot be reached.

    Attributes:
        status: of the answer; None: there was none. problem: what it says (RFC 9457).
    """

    def __init__(self, message: str, status: int | None = None, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, problem or {}


class Client:
    """A service that ``mimique serve`` started.

    >>> with Client() as client:
    ...     result = client.faces(emotion="fear", count=4)
    ...     result.faces[0].picture.save("fear.png")

    Every method takes the fields of its order by name, and raises :class:`ServiceError`, or ``UserError`` where the order
    cannot be meant; of those that take a picture it is a path, the bytes of a file, a PIL image or an array.

    Args:
        url: of the service. token, auth: the secret that it asks for; ``auth`` as ``USER:PASSWORD``.
        name: tells this client from others of the same machine.
        retries: how often to try again, when asked to, after being turned away.
        seconds: to wait for an answer.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        auth: str | None = None,
        name: str | None = None,
        retries: int = 3,
        seconds: float = 300,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if name is None else {"Mimique-Client": name}
        user = None if auth is None else (auth.partition(":")[0], auth.partition(":")[2])
        self._url, self._retries = url, retries
        self._http = httpx.Client(base_url=url, headers=headers, auth=user, timeout=seconds, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def faces(self, **order: Any) -> FacesResult:
        """Verified faces; see :class:`generation.service.orders.FacesOrder`."""
        return self._ordered("/v1/faces", FacesOrder, order, FacesResult)

    def coarse(self, **order: Any) -> FacesResult:
        """A first sight of them in a few steps, not verified."""
        return self._ordered("/v1/faces?coarse=true", FacesOrder, order, FacesResult)

    def edit(self, picture: Any, **order: Any) -> EditResult:
        """Another expression for a face in a picture; see :class:`generation.service.orders.EditOrder`."""
        return self._sent("/v1/edits", picture, EditOrder, order, EditResult)

    def read(self, picture: Any, **order: Any) -> ReadResult:
        """The faces of a picture, or of a video; see :class:`generation.service.orders.ReadOrder`."""
        return self._sent("/v1/readings", picture, ReadOrder, order, ReadResult)

    def start_dataset(self, **order: Any) -> JobState:
        """A labelled set, made in the background; see :class:`generation.service.orders.DatasetOrder`."""
        return self._ordered("/v1/datasets", DatasetOrder, order, JobState)

    def job(self, number: str) -> JobState:
        """How far a data set is."""
        return JobState.model_validate_json(self._call("GET", f"/v1/jobs/{number}").content)

    def wait(self, number: str) -> JobState:
        """Until it is no longer waiting or being made."""
        while (state := self.job(number)).state in ("waiting", "running"):
            time.sleep(_LOOKS)
        return state

    def cancel(self, number: str) -> JobState:
        """Stop it; :meth:`resume` goes on."""
        return JobState.model_validate_json(self._call("POST", f"/v1/jobs/{number}/cancel").content)

    def resume(self, number: str) -> JobState:
        """Go on with one that was cancelled."""
        return JobState.model_validate_json(self._call("POST", f"/v1/jobs/{number}/resume").content)

    def delete(self, number: str) -> None:
        """Stop it, and delete what there is."""
        self._call("DELETE", f"/v1/jobs/{number}")

    def download(self, number: str, path: str | Path) -> None:
        """Write the ZIP of a set that is done, complete or not at all."""
        try:
            with self._http.stream("GET", f"/v1/jobs/{number}/set.zip") as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _error(answer)
                with draft(path) as file:
                    for part in answer.iter_bytes():
                        file.write(part)
        except httpx.HTTPError as error:
            raise self._unreached(error) from None

    def version(self) -> dict[str, Any]:
        """Version, weights, and what they can be asked for."""
        found: dict[str, Any] = self._call("GET", "/v1/version").json()
        return found

    def _ordered(self, path: str, kind: type[BaseModel], order: Mapping[str, Any], result: type[Result]) -> Result:
        asked = _checked(kind, order).model_dump_json(exclude_unset=True)
        answer = self._call("POST", path, content=asked, headers={"Content-Type": "application/json"})
        return result.model_validate_json(answer.content)

    def _sent(self, path: str, picture: Any, kind: type[BaseModel], order: Mapping[str, Any], result: type[Result]) -> Result:
        fields = _checked(kind, order).model_dump(mode="json", exclude_unset=True, exclude_none=True)
        answer = self._call("POST", path, data=fields, files={"picture": ("picture", _data(picture))})
        return result.model_validate_json(answer.content)

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        for attempt in range(self._retries + 1):
            try:
                answer = self._http.request(method, path, **content)
            except httpx.HTTPError as error:
                raise self._unreached(error) from None
            wait = answer.headers.get("Retry-After", "")
            if answer.status_code in _TURNED_AWAY and attempt < self._retries and wait.isdecimal():
                time.sleep(int(wait))
                continue
            break
        if answer.is_success:
            return answer
        raise _error(answer)

    def _unreached(self, error: httpx.HTTPError) -> ServiceError:
        return ServiceError(f"{self._url}: no answer ({error or type(error).__name__}); does mimique serve run there?")


def _checked(kind: type[BaseModel], order: Mapping[str, Any]) -> BaseModel:
    plain = {name: [*value] if isinstance(value, tuple) else value for name, value in order.items()}
    return validate(kind, plain, "order")


def _error(answer: httpx.Response) -> ServiceError:
    try:
        said = answer.json()
        detail = str(said["detail"])
    except (ValueError, KeyError, TypeError):
        said, detail = {}, answer.reason_phrase
    return ServiceError(f"the service answers {answer.status_code}: {detail}", answer.status_code, said)


def _data(picture: Any) -> bytes:
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | Path):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise UserError(f"{picture}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    from PIL import Image

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()
