"""JSON Schemas of a project's files, for editors: service.yaml from the settings' types and comments, sync-config.yaml, cli.yaml."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

__all__ = [
    "SCHEMA_DIALECT",
    "cli_schema",
    "field_comments",
    "schema_text",
    "service_config_schema",
    "sync_config_schema",
]

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PRECISIONS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_NAME_MAX = 100  # characters of a description's line in an editor


def service_config_schema() -> dict[str, Any]:
    """The service's configuration file. Each key has the comment of its field as description."""
    import msgspec

    from syncline.service import settings

    schema: dict[str, Any] = msgspec.json.schema(settings.ServiceSettings)
    definitions: dict[str, dict[str, Any]] = schema["$defs"]
    for name, definition in definitions.items():
        for key, comment in field_comments(getattr(settings, name)).items():
            definition["properties"][key]["description"] = comment
    return {"$schema": SCHEMA_DIALECT, "title": "Syncline service configuration", **schema}


def field_comments(kind: type[Any]) -> dict[str, str]:
    """Trailing comments of a class's fields."""
    return dict(re.findall(r"^    (\w+):.*?  # (.*)$", inspect.getsource(kind), re.MULTILINE))


def sync_config_schema() -> dict[str, Any]:
    """The sync config: streams, and the older bucket definitions (sync config reference, 1)."""
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "Syncline sync config",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "config": _options(),
            "streams": _map("Streams by name: what is synced to whom.", _stream()),
            "with": _map("Named subqueries for all streams.", _SQL),
            "bucket_definitions": _map("Of editions 1 and 2: sync rules.", _bucket_definition()),
            "event_definitions": _map("Events for the service.", _event_definition()),
        },
    }


def cli_schema() -> dict[str, Any]:
    """cli.yaml: which service a project belongs to."""
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "Link of a project to its service",
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["self-hosted", "cloud"], "description": "self-hosted: a service of your own."},
            "api_url": {"type": "string", "description": "Address of the service."},
            "api_key": {"type": "string", "description": "Token for its admin API: !env PS_ADMIN_TOKEN"},
            "plugins": {"type": "object", "description": "Settings of single commands, such as docker."},
        },
    }


def schema_text(schema: dict[str, Any]) -> str:
    """A schema as a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


_SQL = {"type": "string", "description": "A SELECT statement."}
_SQLS = {"type": "array", "items": _SQL, "minItems": 1}


def _map(description: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": values}


def _flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def _closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, **more}


def _options() -> dict[str, Any]:
    return _closed(
        {
            "edition": {"enum": [0, 1, 2, 3], "description": "The language's edition; 3 has streams."},
            "timestamps_iso8601": _flag("Times as 2026-01-02T03:04:05Z. On from edition 2."),
            "versioned_bucket_ids": _flag("Bucket names begin with the version. On from edition 2."),
            "fixed_json_extract": _flag("JSON operators as SQLite has them. On from edition 2."),
            "custom_postgres_types": _flag("Domains and composite types by what they hold. On from edition 2."),
            "unstable_sqlite_expression_engine": _flag("Expressions evaluated by SQLite."),
            "timestamp_max_precision": {"enum": list(_PRECISIONS), "description": "Digits of a second, at most."},
            "storage_version": {"enum": [2, 3], "description": "Without effect here."},
        },
        description="The edition and its options.",
    )


def _priority() -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": 3, "description": "0 is synced first, 3 last."}


def _stream() -> dict[str, Any]:
    properties: dict[str, Any] = {
        "query": _SQL,
        "queries": _SQLS,
        "auto_subscribe": _flag("On every device, without a subscription."),
        "priority": _priority(),
        "with": _map("Named subqueries of this stream.", _SQL),
        "accept_potentially_dangerous_queries": _flag("No warning for parameters that a client chooses."),
    }
    return _closed(properties, oneOf=[{"required": ["query"]}, {"required": ["queries"]}])


def _bucket_definition() -> dict[str, Any]:
    either = {"anyOf": [_SQL, _SQLS]}
    return _closed(
        {
            "parameters": either,
            "data": _SQLS,
            "priority": _priority(),
            "accept_potentially_dangerous_queries": _flag("No warning for parameters that a client chooses."),
        }
    )


def _event_definition() -> dict[str, Any]:
    return _closed({"payloads": _SQLS})
