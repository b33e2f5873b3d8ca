"""What went wrong, as RFC 9457 says it: ``application/problem+json`` with type, title, status and detail."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from configs.cli import UserError
from configs.loader import StrictModel
from configs.wording import one_line
from generation.service.admission import Busy
from generation.service.turns import Ended
from generation.service.uploads import TooLarge

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("mimique.service")
_MOST_ERRORS, _MOST_WORDS = 20, 500


class Wrong(StrictModel):
    """One thing that is wrong with an order."""

    where: str = Field(examples=["count"])
    problem: str = Field(examples=["Input should be greater than or equal to 1"])


class Problem(StrictModel):
    """A problem (RFC 9457). ``errors``: what is wrong with which field of an order."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["unknown emotion 'feer'; did you mean fear?"])
    errors: tuple[Wrong, ...] | None = None


def problem(
    status: int, detail: str, *, errors: Sequence[Wrong] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer."""
    detail = one_line(detail, _MOST_WORDS)
    made = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, errors=None if errors is None else tuple(errors)
    )
    content = made.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def of_validation(found: Sequence[Mapping[str, Any]]) -> Response:
    """Of an order that the types refuse; it does not repeat what was sent."""
    errors = []
    for each in found[:_MOST_ERRORS]:
        place = [str(part) for part in each["loc"] if part not in ("body", "query", "path")]
        errors.append(Wrong(where=one_line(".".join(place), 100), problem=one_line(str(each["msg"]), 200)))
    first = f"{errors[0].where}: {errors[0].problem}" if errors and errors[0].where else errors[0].problem if errors else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(422, first + more, errors=errors)


def answer(error: BaseException) -> Response:
    """To an exception."""
    if isinstance(error, RequestValidationError | ValidationError):
        return of_validation(error.errors())
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, Busy):
        return problem(503 if error.whose == "memory" else 429, str(error), headers={"Retry-After": str(error.retry_after)})
    if isinstance(error, TooLarge):
        return problem(413, str(error))
    if isinstance(error, UserError):
        return problem(422, str(error))
    if isinstance(error, Ended):
        return problem(503, "the order ended without a result: out of time, or the service stops", headers={"Retry-After": "30"})
    _LOG.error("a defect of the program", exc_info=error)
    return problem(500, "a defect of the program; its operator finds it in the log")


def install(app: FastAPI) -> None:
    """Let every exception of ``app`` be answered by a problem."""

    async def handle(_request: Request, error: Exception) -> Response:
        return answer(error)

    for kind in (RequestValidationError, ValidationError, HTTPException, UserError, Exception):
        app.add_exception_handler(kind, handle)


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {}}}
    for status in (413, 422, 429, 503)
}
