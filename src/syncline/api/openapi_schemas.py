"""The schemas of the OpenAPI document: what requests and answers of the HTTP API hold."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS"]

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
BOOLEAN: Json = {"type": "boolean"}
NUMBER_TEXT: Json = {"type": "string", "pattern": "^[0-9]+$"}
TIME: Json = {"type": "string", "format": "date-time"}
SCALAR: Json = {"type": ["string", "number", "boolean", "null"]}


def _object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_SUBSCRIPTION: Json = _object(
    ["stream", "parameters", "override_priority"],
    stream=TEXT,
    parameters={"type": ["object", "null"]},
    override_priority={"type": ["integer", "null"], "minimum": 0, "maximum": 3},
)
_STREAM_REQUEST: Json = _object(
    [],
    buckets=_list(_object(["name"], name=TEXT, after=NUMBER_TEXT)),
    include_checksum=BOOLEAN,
    raw_data=BOOLEAN,
    client_id={"type": ["string", "null"]},
    parameters={"type": ["object", "null"]},
    app_metadata={"type": ["object", "null"], "additionalProperties": TEXT},
    streams=_object([], include_defaults=BOOLEAN, subscriptions=_list(_SUBSCRIPTION) | {"maxItems": 1000}),
)
_FINDING: Json = _object(
    ["level", "message"],
    level={"enum": ["warning", "fatal"]},
    message=TEXT,
    location=_object(["start_offset", "end_offset"], start_offset=WHOLE, end_offset=WHOLE),
    ts=TIME,
)
_TABLE: Json = _object(
    ["schema", "name", "replication_id", "data_queries", "parameter_queries", "errors"],
    schema=TEXT,
    name=TEXT,
    pattern=TEXT,
    replication_id=_list(TEXT),
    data_queries=BOOLEAN,
    parameter_queries=BOOLEAN,
    errors=_list(_reference("Finding")),
    snapshot=_object(["state", "rows", "share"], state=TEXT, rows=WHOLE, share={"type": "number"}),
)
_STATUS_CONNECTION: Json = _object(
    ["id", "tag", "slot_name", "initial_replication_done", "tables"],
    id=TEXT,
    tag=TEXT,
    slot_name=TEXT,
    initial_replication_done=BOOLEAN,
    last_lsn=TEXT,
    last_keepalive_ts=TIME,
    last_checkpoint_ts=TIME,
    replication_lag_bytes=WHOLE,
    wal_status=TEXT,
    safe_wal_size=WHOLE,
    max_slot_wal_keep_size=WHOLE,
    tables=_list(_reference("Table")),
)
_COLUMN: Json = _object(
    ["name", "sqlite_type", "internal_type", "type", "pg_type"],
    name=TEXT,
    sqlite_type=WHOLE,
    internal_type=TEXT,
    type=TEXT,
    pg_type=TEXT,
)
_SCHEMA: Json = _object(
    ["connections", "defaultConnectionTag", "defaultSchema"],
    connections=_list(
        _object(
            ["id", "tag", "schemas"],
            id=TEXT,
            tag=TEXT,
            schemas=_list(
                _object(
                    ["name", "tables"],
                    name=TEXT,
                    tables=_list(_object(["name", "columns"], name=TEXT, columns=_list(_COLUMN))),
                )
            ),
        )
    ),
    defaultConnectionTag=TEXT,
    defaultSchema=TEXT,
)
_SOURCE_TABLE: Json = _object(
    ["schema", "pattern", "wildcard"],
    schema=TEXT,
    pattern=TEXT,
    wildcard=BOOLEAN,
    table=_reference("Table"),
    tables=_list(_reference("Table")),
)
_DESCRIBED: Json = {
    "description": "Of a config that can be used what it holds, of another one what is wrong.",
    **_object(
        ["valid"],
        valid=BOOLEAN,
        errors=_list(TEXT),
        bucket_definitions=_list(TEXT),
        source_tables=_list(_SOURCE_TABLE),
        data_tables={"type": "object", "additionalProperties": _list(_object(["query"], query=TEXT))},
    ),
}
_CURRENT: Json = {
    "allOf": [_reference("DescribedSyncConfig"), _object(["slot_name", "content"], slot_name=TEXT, content=TEXT)]
}
_OPEN_STREAM: Json = _object(
    ["user_id", "client_id", "user_agent", "transport", "connected_at", "operations_sent", "bytes_sent"],
    user_id=TEXT,
    client_id=TEXT,
    user_agent=TEXT,
    transport={"enum": ["http", "websocket"]},
    connected_at=TIME,
    token_expires_at=TIME,
    operations_sent=WHOLE,
    bytes_sent=WHOLE,
)
_CONNECTION_DAY: Json = _object(
    ["day", "user_id", "client_id", "user_agent", "connected_at", "disconnected_at", "connections"],
    day={"type": "string", "format": "date"},
    user_id=TEXT,
    client_id=TEXT,
    user_agent=TEXT,
    connected_at=TIME,
    disconnected_at={"type": ["string", "null"], "format": "date-time"},
    token_expires_at=TIME,
    connections=WHOLE,
    operations_sent=WHOLE,
    bytes_sent=WHOLE,
)

SCHEMAS: Json = {
    "Error": _object(
        ["error"],
        error=_object(
            ["code", "status", "description", "name"],
            code=TEXT,
            status=WHOLE,
            description=TEXT,
            name=TEXT,
            details=TEXT,
            severity=TEXT,
        ),
    ),
    "StreamRequest": _STREAM_REQUEST,
    "CheckpointRequest": _object(
        ["client_id", "checkpoint_request_id"],
        client_id={"type": "string", "maxLength": 1024},
        checkpoint_request_id={
            "anyOf": [
                {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"},
                {"type": "integer", "minimum": 1, "maximum": 2**53 - 1},
            ]
        },
    ),
    "StoredCheckpointRequest": _object(["checkpoint_request_id"], checkpoint_request_id=NUMBER_TEXT),
    "WriteCheckpoint": _object(["write_checkpoint"], write_checkpoint=NUMBER_TEXT),
    "PassedCheckpoint": _object(["checkpoint"], checkpoint=NUMBER_TEXT),
    "SyncConfigContent": _object(["content"], content=TEXT),
    "SlotName": _object(["slot_name"], slot_name=TEXT),
    "DescribedSyncConfig": _DESCRIBED,
    "CurrentSyncConfig": _CURRENT,
    "CurrentSyncConfigs": _object(
        ["current", "next"],
        current=_reference("CurrentSyncConfig"),
        next={"anyOf": [_reference("CurrentSyncConfig"), {"type": "null"}]},
    ),
    "Finding": _FINDING,
    "Table": _TABLE,
    "Status": _object(
        ["connections", "errors"],
        content=TEXT,
        connections=_list(_STATUS_CONNECTION),
        errors=_list(_reference("Finding")),
    ),
    "DiagnosticsRequest": _object([], sync_rules_content=BOOLEAN),
    "Diagnostics": _object(
        ["connections"],
        connections=_list(
            _object(
                ["id", "postgres_uri", "connected", "errors"],
                id=TEXT,
                postgres_uri=TEXT,
                connected=BOOLEAN,
                errors=_list(_reference("Finding")),
            )
        ),
        active_sync_rules=_reference("Status"),
        deploying_sync_rules=_reference("Status"),
    ),
    "Schema": _SCHEMA,
    "ValidateRequest": _object(["sync_rules"], sync_rules=TEXT),
    "ReprocessedConnections": _object(
        ["connections"], connections=_list(_object(["id", "tag", "slot_name"], id=TEXT, tag=TEXT, slot_name=TEXT))
    ),
    "SqlRequest": _object(
        ["sql"],
        connection_id=TEXT,
        sql=_object(
            ["query"],
            query={"type": "string", "maxLength": 100_000},
            args=_list(SCALAR) | {"maxItems": 1000},
        ),
    ),
    "SqlAnswer": _object(
        ["success", "results"],
        success=BOOLEAN,
        results=_object(["columns", "rows"], columns=_list(TEXT), rows=_list(_list(SCALAR))),
        error=TEXT,
    ),
    "RevokeRequest": _object(
        ["user_id"],
        user_id=TEXT,
        until={
            "description": "ISO time or seconds since 1970, at most ten years ahead; by default all of today's tokens expire first.",
            "type": ["string", "number", "null"],
        },
    ),
    "Revoked": _object(["user_id", "until", "streams_ended"], user_id=TEXT, until=TIME, streams_ended=WHOLE),
    "ConnectionsRequest": _object([], user_id={"type": ["string", "null"]}),
    "Connections": _object(["open", "days"], open=_list(_OPEN_STREAM), days=_list(_CONNECTION_DAY)),
    "ProbeState": _object(["ready", "started", "touched_at"], ready=BOOLEAN, started=BOOLEAN, touched_at=TIME),
}
