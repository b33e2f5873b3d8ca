"""Orders with a picture: a form whose fields are those of the order, and whose file stays in memory."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from configs.cli import UserError

Order = TypeVar("Order", bound=BaseModel)
FILE = "picture"
_MOST_FIELDS, _MOST_FIELD_BYTES = 64, 4096


class _InMemory(MultiPartParser):
    """Never spools to disk: an uploaded photograph leaves no copy. The guard has bounded the size of the whole."""

    spool_max_size = 2**40


async def read_form(request: Request, model: type[Order]) -> tuple[Order, bytes]:
    """The order in a form, and the bytes of its file ``picture``. Its name, whatever it is, is not looked at.

    Raises:
        HTTPException: it is no form, or damaged. UserError: no picture. ValidationError: no such order.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, f"send multipart/form-data with the file {FILE} and the fields of the order")
    parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD_BYTES)
    try:
        form: FormData = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, ValueError, KeyError) as error:
        raise HTTPException(400, f"no form that can be read: {getattr(error, 'message', type(error).__name__)}") from None
    try:
        given, fields = form.get(FILE), {}
        for name in form:
            values = [value for value in form.getlist(name) if isinstance(value, str)]
            if name != FILE and values:
                fields[name] = values if len(values) > 1 else values[0]
        order = model.model_validate(fields)
        if not isinstance(given, UploadFile):
            raise UserError(f"{FILE}: send the file itself, as a part of this name with a file name")
        return order, await given.read()
    finally:
        await form.close()


def documented(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a form with the fields of ``model``."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    picture = {"type": "string", "format": "binary", "description": "PNG, JPEG, WebP, BMP, GIF or TIFF; to be read also video"}
    schema["properties"] = {FILE: picture, **schema["properties"]}
    schema["required"] = [FILE, *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema, "example": example}}}}
