"""What a configuration holds beside its settings: shapes of the vendor's cloud, keys in the wrong place, keys that nobody knows.

A file written for the reference or its cloud is taken as it is where that is safe; what has no effect here is named once.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from syncline.errors import ConfigError
from syncline.service.settings import ServiceSettings

__all__ = ["notes_of", "refuse_misplaced", "without_secret_shapes"]

CLOUD_KEYS = frozenset({"_type", "name", "region", "replication.connections.name", "client_auth.additional_audiences"})
_VENDOR_KEYS = {
    "client_auth.allow_temporary_tokens": "is a switch of PowerSync Cloud: sign development tokens yourself instead",
    "telemetry.internal_service_endpoint": "names a service of the vendor: nothing is sent there",
    "client_auth.allow_local_jwks": "is not needed: local addresses are allowed unless jwks_reject_ip_ranges says otherwise",
}
_CONNECTION_KEYS = (
    "connections",
    "connection",
    "type",
    "uri",
    "hostname",
    "database",
    "slot_name_prefix",
    "postgresql",
)
_NESTED = "replication:\n  connections:\n    - type: postgresql\n      uri: !env PS_SOURCE_URI"
_HOMES = {
    "jwks_uri": "client_auth",
    "jwks": "client_auth",
    "audience": "client_auth",
    "supabase": "client_auth",
    "tokens": "api",
    "path": "sync_config",
    "content": "sync_config",
    "streams": "the sync config, a file of its own that sync_config.path names",
    "bucket_definitions": "the sync config, a file of its own that sync_config.path names",
    "prometheus_port": "telemetry",
    "probes": "healthcheck",
    "logging": "system",
    "level": "system.logging",
}


def refuse_misplaced(document: dict[str, Any], name: str) -> None:
    """Raise ConfigError for the well-known mistakes, before the general check answers with something less helpful."""
    replication = document.get("replication")
    if isinstance(replication, list):
        raise ConfigError(f"{name}: replication is a list; it is a map with the key connections.", hint=_NESTED)
    nested = isinstance(replication, dict) and "connections" in replication
    found = [key for key in _CONNECTION_KEYS if key in document]
    if isinstance(replication, dict) and not nested:
        found += [f"replication.{key}" for key in (*_CONNECTION_KEYS, "name") if key in replication]
    if found and not nested:
        raise ConfigError(
            f"{name}: No connection found in config: `{found[0]}` stands in the wrong place.",
            hint=f"Connections belong under replication.connections:\n{_NESTED}",
        )
    if "sync_config" in document and "sync_rules" in document:
        raise ConfigError(
            f"{name}: both sync_config and sync_rules are present.",
            hint="Keep sync_config: sync_rules is its old name.",
        )


def without_secret_shapes(value: Any, name: str, path: str = "") -> Any:
    """The document with `{secret: x}` replaced by x, as the cloud writes passwords. Raises ConfigError for `secret_ref`."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if "secret_ref" in items:
            raise ConfigError(
                f"{name}: {path} is a secret_ref, which names a secret that only PowerSync Cloud stores.",
                hint=f"{path.rpartition('.')[2]}: !env PS_NAME_OF_A_VARIABLE",
            )
        if path and items.keys() == {"secret"}:
            return items["secret"]
        return {
            key: without_secret_shapes(item, name, f"{path}.{key}" if path else str(key)) for key, item in items.items()
        }
    if isinstance(value, list):
        return [without_secret_shapes(item, name, f"{path}[{n}]") for n, item in enumerate(cast("list[Any]", value))]
    return value


def notes_of(document: dict[str, Any]) -> list[str]:
    """One sentence for each thing that has no effect or an old name. Holds names of keys, never values."""
    notes: list[str] = []
    cloud: list[str] = []
    unknown: list[str] = []
    for path, siblings in _unknown_keys(document, ServiceSettings, ""):
        if path == "_type" and document[path] == "self-hosted":
            continue  # what the official command line writes into such a file
        if path in CLOUD_KEYS:
            cloud.append(path)
        elif path in _VENDOR_KEYS:
            notes.append(f"{path} {_VENDOR_KEYS[path]}.")
        else:
            unknown.append(f"{path}{_guess(path, siblings)}")
    if cloud:
        notes.append(f"Only for PowerSync Cloud, and ignored here: {', '.join(cloud)}.")
    if unknown:
        notes.append(f"Not known, and without effect: {', '.join(unknown)}.")
    if "sync_rules" in document:
        notes.append("sync_rules is the old name of sync_config.")
    client_auth = document.get("client_auth")
    if isinstance(client_auth, dict) and "block_local_jwks" in client_auth:
        notes.append("client_auth.block_local_jwks is deprecated: write jwks_reject_ip_ranges: [local].")
    return notes


def _guess(path: str, siblings: list[str]) -> str:
    """Where the key may belong: what it resembles in its own place, or the section that has it."""
    key = path.rpartition(".")[2]
    if key == path and key in _HOMES:
        return f" (it belongs into {_HOMES[key]})"
    near = difflib.get_close_matches(key, siblings, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _unknown_keys(value: Any, kind: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    """Keys that the settings do not have, with those that they do have in that place."""
    kind = _inner(kind)
    if isinstance(value, list) and get_origin(kind) is list:
        seen: set[str] = set()
        for item in cast("list[Any]", value):
            for found in _unknown_keys(item, get_args(kind)[0], path):
                if found[0] not in seen:
                    seen.add(found[0])
                    yield found
    elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        for key, item in cast("dict[Any, Any]", value).items():
            place = f"{path}.{key}" if path else str(key)
            if key in hints:
                yield from _unknown_keys(item, hints[key], place)
            else:
                yield place, list(hints)


def _inner(kind: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(kind) in (Union, types.UnionType):
        structs = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
        return structs[0] if structs else kind
    return kind
