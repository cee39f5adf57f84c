"""Reading what administrators send: fields of a JSON object, or a sync config as YAML (protocol reference, 7.3)."""

from __future__ import annotations

from typing import Any

from syncline.api.answers import Receive, Scope
from syncline.api.requests import media_type, query_fields, read_body, read_fields
from syncline.errors import RequestInvalid

__all__ = ["YAML_TYPE", "boolean_field", "read_sync_config", "text_field"]

YAML_TYPE = "application/yaml"


async def read_sync_config(scope: Scope, receive: Receive) -> str:
    """The sync config of a request: the body itself as YAML, or the field `content` of a JSON object.

    Raises RequestInvalid, MediaTypeUnsupported, BodyTooLarge.
    """
    if media_type(scope) == YAML_TYPE:
        query_fields(scope)
        try:
            return (await read_body(receive)).decode()
        except UnicodeDecodeError as exc:
            raise RequestInvalid(["the body is not UTF-8"]) from exc
    return text_field(await read_fields(scope, receive), "content")


def text_field(fields: dict[str, Any], name: str) -> str:
    """A field that must be there. Raises RequestInvalid."""
    if name not in fields:
        raise RequestInvalid([f"{name} is missing"])
    value = fields[name]
    if not isinstance(value, str):
        raise RequestInvalid([f"{name} must be a text"])
    return value


def boolean_field(fields: dict[str, Any], name: str) -> bool:
    """A field that may be absent, which counts as no. Query strings write true or false. Raises RequestInvalid."""
    value = fields.get(name, False)
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise RequestInvalid([f"{name} must be true or false"])
    return value
