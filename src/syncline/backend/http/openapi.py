"""The routes as an OpenAPI 3.1 document: made of the route table and of the types that the code decodes and encodes.

Served at `GET /api/openapi.json` with whatever routes the backend has; the toolkit's own are docs/reference/write-api.openapi.json.
Schemas say what is accepted and answered at least: requests may have more fields, which are ignored, and answers may get more.
"""

from __future__ import annotations

import re
import types
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

import msgspec

from syncline import __version__
from syncline.backend.http.messages import JSON_HEADERS, BackendResponse
from syncline.backend.http.routing import Access, Call, Route
from syncline.protocol.crud import TRANSACTIONS_MAX

__all__ = ["OPENAPI_ROUTES", "openapi_document", "openapi_text"]

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")

_REASONS = {
    400: "The body or a parameter is not valid: `message` says what is wrong, where",
    401: "No good token, or nobody signed in: `code` says why (PSYNC_S21..)",
    403: "Not for this user",
    404: "There is no such thing here",
    408: "The body took too long to arrive",
    409: "A conflict",
    413: "The body is too large",
    415: "The body is compressed",
    422: "The row was refused for good",
    429: "Too many requests of this user: `Retry-After` says in how many seconds to come back",
    500: "A failure of the backend: its log says where",
    501: "This backend cannot do it: its database keeps no such thing",
    503: "Not at the moment: `Retry-After` says in how many seconds to come back",
}


class Message(msgspec.Struct, omit_defaults=True):
    """An answer for people; `code` is that of an error, where it has one."""

    message: str
    code: str = ""


def openapi_document(routes: tuple[Route, ...]) -> Json:
    """The document of these routes."""
    shapes = {part: None for route in routes for part in _parts(route.receives) + _parts(route.answers)}
    found, components = msgspec.json.schema_components([Message, *shapes], ref_template=_REFERENCE)
    schemas = dict(zip(shapes, found[1:], strict=True))
    paths: Json = {}
    for route in routes:
        path = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
        path[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Syncline write API",
            "version": __version__,
            "summary": "Uploads of devices, and tokens for them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "deviceToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The device's token for the sync service; `Authorization: Token <jwt>` is taken too.",
                },
                "appSession": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "session",
                    "description": "Whatever the app's own login uses: a cookie is only the usual case.",
                },
            },
            "responses": {f"E{status}": _answer(text, _named("Message")) for status, text in _REASONS.items()},
            "schemas": _with_limits(components),
        },
    }


def openapi_text(routes: tuple[Route, ...]) -> str:
    """The document as a file."""
    return msgspec.json.format(msgspec.json.encode(openapi_document(routes)), indent=2).decode() + "\n"


def _operation(route: Route, schemas: dict[Any, Json]) -> Json:
    operation: Json = {"operationId": route.operation_id, "summary": route.summary}
    if security := _SECURITY[route.access]:
        operation["security"] = security
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ] + [{"name": name, "in": "query", "description": text, "schema": {"type": "string"}} for name, text in route.query]
    if parameters:
        operation["parameters"] = parameters
    if route.receives is not None:
        content = {"application/json": {"schema": _any_of(route.receives, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = {str(status): _response(status, route, schemas) for status in _statuses(route)}
    return operation


def _statuses(route: Route) -> list[int]:
    """What the route answers, and what the dispatcher answers for it."""
    statuses = {*route.statuses, 500}
    if route.access is not Access.PUBLIC:
        statuses |= {401, 429}
    if route.reads_body:
        statuses |= {400, 408, 413, 415, 503}
    return sorted(statuses)


def _response(status: int, route: Route, schemas: dict[Any, Json]) -> Json:
    if status == 204:
        return {"description": "Done"}
    if status in _REASONS and not _own_answer(status, route):
        return {"$ref": f"#/components/responses/E{status}"}
    schema = {} if route.answers is None else _any_of(route.answers, schemas)
    if status in _REASONS:
        schema = {"anyOf": [schema, _named("Message")]}
    return _answer(_REASONS.get(status, "Done"), schema)


def _own_answer(status: int, route: Route) -> bool:
    """Whether a refusal has the route's own body: the dialects tell their verdicts by these statuses."""
    return status in route.statuses and status in (409, 422, 503) and route.reads_body and route.answers is not None


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _any_of(shape: Any, schemas: dict[Any, Json]) -> Json:
    parts = [schemas[part] for part in _parts(shape)]
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _parts(shape: Any) -> list[Any]:
    """The members of a union: msgspec describes each, but not two Structs in one."""
    if shape is None:
        return []
    return list(get_args(shape)) if get_origin(shape) in (types.UnionType, Union) else [shape]


def _with_limits(schemas: Json) -> Json:
    """What is checked beyond the types."""
    if "CrudBatch" in schemas:
        schemas["CrudBatch"]["properties"]["transactions"] |= {"minItems": 1, "maxItems": TRANSACTIONS_MAX}
    if "CrudTransaction" in schemas:
        schemas["CrudTransaction"]["properties"]["crud"] |= {"minItems": 1}
    return dict(sorted(schemas.items()))


def _named(name: str) -> Json:
    return {"$ref": _REFERENCE.format(name=name)}


_SECURITY: dict[Access, list[Json]] = {
    Access.PUBLIC: [],
    Access.LOGIN: [{"appSession": []}],
    Access.TOKEN: [{"deviceToken": []}],
}


@lru_cache(maxsize=8)
def _body(routes: tuple[Route, ...]) -> bytes:
    return msgspec.json.encode(openapi_document(routes))


async def _document(call: Call) -> BackendResponse:
    return BackendResponse(200, _body(call.backend.dispatcher.table.routes), JSON_HEADERS)


OPENAPI_ROUTES = (
    Route(
        "GET",
        "/api/openapi.json",
        _document,
        "This document",
        access=Access.PUBLIC,
        answers=dict[str, Any],
        name="openapi",
    ),
)
