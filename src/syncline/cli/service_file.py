"""Reading a project's service.yaml on a machine that has not all of its variables: a person's, not the service's.

A variable that is not set stands in as a value of the right kind, so that everything else can be checked, and is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from syncline.cli.project import read_yaml

if TYPE_CHECKING:
    from syncline.service.config import ServiceConfig

__all__ = ["LoadedServiceFile", "effective_settings", "load_service_file"]

_REFERENCE = re.compile(r"(?:([\w-]+)\s*:\s*)?!env\s+(\w+)(?:::(\w+))?")
_STAND_INS = {
    "uri": "postgresql://stand-in@stand-in.invalid/stand-in",
    "jwks_uri": "https://stand-in.invalid/jwks",
    "sslmode": "verify-full",
    "cacert": "-----BEGIN STAND-IN-----",
    "client_certificate": "-----BEGIN STAND-IN-----",
    "client_private_key": "-----BEGIN STAND-IN-----",
    "level": "info",
    "format": "text",
}
"""Values that pass the checks of keys which do not take any text."""
_NUMBER_KEYS = re.compile(r"(^|_)(port|timeout|size|seconds|minutes|limit|connections)$")
_SECRET_KEYS = frozenset({"password", "k", "d", "p", "q", "client_private_key", "supabase_jwt_secret", "tokens"})
_URI_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*(@)")
MASK = "***"


@dataclass(frozen=True, slots=True)
class LoadedServiceFile:
    """A checked configuration, and the variables that it asks for and that are not set here."""

    config: ServiceConfig
    unset: tuple[str, ...]
    unset_of_databases: tuple[str, ...]  # those below replication and storage


def load_service_file(path: Path, environment: Mapping[str, str]) -> LoadedServiceFile:
    """Check a service.yaml. Raises ConfigError with everything that is wrong with it."""
    from syncline.service.config import load_config

    stand_ins = _stand_ins(path, environment)
    config = load_config(path=path, environment={**environment, **stand_ins}, working_directory=Path.cwd())
    written = cast("dict[str, object]", read_yaml(path))  # a map: the check would have said so
    asked = set(_references({key: written.get(key) for key in ("replication", "storage")}))
    return LoadedServiceFile(config, tuple(stand_ins), tuple(name for name in stand_ins if name in asked))


def _references(value: object) -> Iterator[str]:
    """Names of the variables that are asked for in a part of a file."""
    if isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _references(item)
    elif isinstance(value, str):
        yield from (name for _, name, _ in _REFERENCE.findall(value))


def _stand_ins(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Values for variables that are not set, by the key before them and the kind that is asked for."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}  # the check itself says so
    found: dict[str, str] = {}
    for line in text.splitlines():
        for key, name, kind in _REFERENCE.findall(line.split("#")[0]):
            if name not in environment and name.startswith("PS_"):
                found[name] = _stand_in(key, kind)
    return found


def _stand_in(key: str, kind: str) -> str:
    if kind == "boolean":
        return "true"
    if kind == "number" or _NUMBER_KEYS.search(key):
        return "30"
    return _STAND_INS.get(key, "stand_in")


def effective_settings(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """All settings with their defaults. References to variables stay as they are written, and secrets are masked.

    Raises ConfigError, CommandFailed.
    """
    import msgspec

    settings: object = msgspec.to_builtins(load_service_file(path, environment).config.settings)
    return cast("dict[str, Any]", _masked(_with_references(settings, read_yaml(path)), ""))


def _with_references(value: object, written: object) -> object:
    """`value` with what the file writes as `!env NAME` put back in its place."""
    if isinstance(written, str) and written.startswith("!env "):
        return written
    kept = value
    if isinstance(value, dict) and isinstance(written, dict):
        places = cast("dict[str, object]", written)
        return {key: _with_references(item, places.get(key)) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list) and isinstance(written, list):
        pairs = zip(cast("list[object]", value), cast("list[object]", written), strict=False)
        return [_with_references(item, place) for item, place in pairs]
    return kept


def _masked(value: object, key: str) -> object:
    if isinstance(value, dict):
        return {name: _masked(item, name) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_masked(item, key) for item in cast("list[object]", value)]
    if isinstance(value, str) and value and not value.startswith("!env "):
        return MASK if key in _SECRET_KEYS else _URI_PASSWORD.sub(rf"\1{MASK}\2", value)
    return value
