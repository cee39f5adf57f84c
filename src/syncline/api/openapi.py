"""The HTTP API as an OpenAPI 3.1 document, written by hand: what is served at `/openapi.json` and kept in docs/reference/openapi.json.

Schemas say what is accepted and answered at least: requests may have more fields, which are ignored, and answers may get more.
"""

from __future__ import annotations

from typing import Any

import orjson

from syncline import __version__
from syncline.api.openapi_schemas import SCHEMAS

__all__ = ["OPENAPI", "OPENAPI_BODY"]

Json = dict[str, Any]
CLIENT: list[Json] = [{"clientToken": []}]
ADMIN: list[Json] = [{"adminToken": []}]


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Json, media: str = "application/json") -> Json:
    return {media: {"schema": schema}}


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": _content(schema)}


def _data(schema: Json) -> Json:
    """A value under `data`."""
    return {"type": "object", "required": ["data"], "properties": {"data": schema}}


def _errors(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/E{status}"} for status in statuses}


def _operation(
    name: str,
    summary: str,
    answer: Json,
    *errors: int,
    tag: str,
    security: list[Json] | None = None,
    body: Json | None = None,
    body_required: bool = True,
    **more: Any,
) -> Json:
    operation: Json = {"operationId": name, "tags": [tag], "summary": summary}
    if security is not None:
        operation["security"] = security
    if body is not None:
        operation["requestBody"] = {"required": body_required, "content": body}
    return operation | more | {"responses": {"200": answer} | _errors(*errors)}


def _admin(name: str, summary: str, value: Json, *errors: int, body: str = "", required: bool = False) -> Json:
    """A POST of the admin API: a JSON object in, a value under `data` out."""
    content = _content(_reference(body) if body else {"type": "object"})
    listed = (400, 401, 413, 415, 429, 500, *errors)
    answer = _answer("Done", _data(value))
    return {
        "post": _operation(
            name, summary, answer, *sorted(listed), tag="admin", security=ADMIN, body=content, body_required=required
        )
    }


_CLIENT_ID: Json = {
    "name": "client_id",
    "in": "query",
    "description": "The id of the client's database; write checkpoints are counted per user and client.",
    "schema": {"type": "string", "maxLength": 1024},
}
_STREAM_ANSWER: Json = {
    "description": "Lines, each an object with one key, until the stream ends. Facts: docs/reference/protocol.md, section 2.",
    "content": {
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/vnd.powersync.bson-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_SYNC: Json = {
    "/sync/stream": {
        "post": _operation(
            "syncStream",
            "Open a sync stream",
            _STREAM_ANSWER,
            400,
            401,
            413,
            429,
            500,
            503,
            tag="sync",
            security=CLIENT,
            body=_content(_reference("StreamRequest")),
            body_required=False,
        )
    },
    "/write-checkpoint2.json": {
        "get": _operation(
            "createWriteCheckpoint",
            "A number that streams of this user and client show once replication has passed what is committed now",
            _answer("The number", _data(_reference("WriteCheckpoint"))),
            400,
            401,
            429,
            500,
            tag="sync",
            security=CLIENT,
            parameters=[_CLIENT_ID],
        )
    },
    "/sync/checkpoint-request": {
        "post": _operation(
            "requestCheckpoint",
            "The same with a number that the client chose",
            _answer("The stored number: the greater of both", _data(_reference("StoredCheckpointRequest"))),
            400,
            401,
            413,
            415,
            429,
            500,
            tag="sync",
            security=CLIENT,
            body=_content(_reference("CheckpointRequest")),
        )
    },
    "/write-checkpoint.json": {
        "get": _operation(
            "waitForReplication",
            "Wait, up to 50 s, until replication has passed what is committed now (very old SDKs)",
            _answer("The op id", _data(_reference("PassedCheckpoint"))),
            400,
            401,
            429,
            500,
            tag="sync",
            security=CLIENT,
            deprecated=True,
        )
    },
}
_YAML_OR_JSON: Json = {
    **_content({"type": "string"}, "application/yaml"),
    **_content(_reference("SyncConfigContent")),
}
_SYNC_RULES: Json = {
    "/api/sync-rules/v1/deploy": {
        "post": _operation(
            "deploySyncConfig",
            "Deploy a sync config, where the service's configuration names none",
            _answer("Accepted: it is copied beside what serves", _data(_reference("SlotName"))),
            400,
            401,
            413,
            415,
            422,
            429,
            500,
            tag="sync-rules",
            security=ADMIN,
            body=_YAML_OR_JSON,
        )
    },
    "/api/sync-rules/v1/validate": {
        "post": _operation(
            "describeSyncConfig",
            "Whether a sync config can be used, and what it holds",
            _answer("What it holds, or what is wrong", _reference("DescribedSyncConfig")),
            400,
            401,
            413,
            415,
            429,
            500,
            tag="sync-rules",
            security=ADMIN,
            body=_YAML_OR_JSON,
        )
    },
    "/api/sync-rules/v1/current": {
        "get": _operation(
            "currentSyncConfig",
            "The active sync config, and the one that is to replace it",
            _answer("Both", _data(_reference("CurrentSyncConfigs"))),
            401,
            422,
            429,
            500,
            tag="sync-rules",
            security=ADMIN,
        )
    },
    "/api/sync-rules/v1/reprocess": {
        "post": _operation(
            "reprocessSyncConfig",
            "Copy everything again for the active sync config, beside what serves",
            _answer("Accepted", _data(_reference("SlotName"))),
            400,
            401,
            409,
            413,
            415,
            422,
            429,
            500,
            tag="sync-rules",
            security=ADMIN,
            body=_content({"type": "object"}),
            body_required=False,
        )
    },
}
_ADMIN: Json = {
    "/api/admin/v1/diagnostics": _admin(
        "diagnostics", "How the source and the sync configs stand", _reference("Diagnostics"), body="DiagnosticsRequest"
    ),
    "/api/admin/v1/schema": _admin("sourceSchema", "The tables of the source with their columns", _reference("Schema")),
    "/api/admin/v1/validate": _admin(
        "validateSyncConfig",
        "How a sync config would stand",
        _reference("Status"),
        body="ValidateRequest",
        required=True,
    ),
    "/api/admin/v1/reprocess": _admin(
        "reprocess", "As /api/sync-rules/v1/reprocess", _reference("ReprocessedConnections"), 409, 422
    ),
    "/api/admin/v1/execute-sql": _admin(
        "executeSql",
        "Run one statement on the source in a read-only transaction, where the connection has debug_api",
        _reference("SqlAnswer"),
        body="SqlRequest",
        required=True,
    ),
    "/api/admin/v1/revoke": _admin(
        "revokeUser",
        "End all streams of a user now, and refuse the user's tokens until a time",
        _reference("Revoked"),
        body="RevokeRequest",
        required=True,
    ),
    "/api/admin/v1/connections": _admin(
        "connections",
        "Open streams of this process, and who had streams open on which day",
        _reference("Connections"),
        body="ConnectionsRequest",
    ),
}


def _probe(name: str, summary: str) -> Json:
    state = _reference("ProbeState")
    operation = _operation(name, summary, _answer("Yes", state), 500, tag="probes")
    operation["responses"]["400"] = _answer("No", state)
    operation["responses"]["404"] = {"$ref": "#/components/responses/E404"}
    return {"get": operation}


_PROBES: Json = {
    "/probes/startup": _probe("startup", "Has the process started, and reached the source once?"),
    "/probes/liveness": _probe("liveness", "Has replication shown a sign of life in the last seconds?"),
    "/probes/readiness": _probe("readiness", "Are streams served?"),
    "/openapi.json": {"get": _operation("openapi", "This document", _answer("It", {"type": "object"}), tag="probes")},
}
_ERRORS: dict[int, str] = {
    400: "A field is missing or wrong; `details` is a JSON list of all problems (PSYNC_S2001)",
    401: "The token is missing or refused (PSYNC_S21..)",
    404: "No such route (PSYNC_S2002)",
    409: "Another sync config is being deployed (PSYNC_S4106)",
    413: "The body is too large (PSYNC_S2001)",
    415: "A body of another media type (PSYNC_S2004)",
    422: "Not possible as things are: PSYNC_S4104, PSYNC_S4105, PSYNC_R0001",
    500: "Of ours, of the source or of storage; also: no sync config is active yet (PSYNC_S2302)",
    503: "The service is stopping (PSYNC_S2003)",
}
_RESPONSES: Json = {f"E{status}": _answer(text, _reference("Error")) for status, text in _ERRORS.items()}
_RESPONSES["E429"] = {"description": "Too many requests of this kind at once; try again later. The body is empty."}

OPENAPI: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Syncline sync service",
        "version": __version__,
        "summary": "Sync streams for devices, and administration.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "tags": [
        {"name": "sync", "description": "For devices, with a user's token."},
        {"name": "sync-rules", "description": "Sync configs, with a token of api.tokens."},
        {"name": "admin", "description": "Administration, with a token of api.tokens."},
        {"name": "probes", "description": "For whoever supervises the service."},
    ],
    "paths": _SYNC | _SYNC_RULES | _ADMIN | _PROBES,
    "components": {
        "securitySchemes": {
            "clientToken": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "`Authorization: Bearer <jwt>` or `Token <jwt>`: signed by the app's backend.",
            },
            "adminToken": {
                "type": "http",
                "scheme": "bearer",
                "description": "One of api.tokens of the service's configuration.",
            },
        },
        "responses": _RESPONSES,
        "schemas": SCHEMAS,
    },
}
OPENAPI_BODY = orjson.dumps(OPENAPI, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
