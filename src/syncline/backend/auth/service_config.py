"""The verifier of the sync service's own configuration file: backend and service then trust the same keys (write path reference, 2.3).

Only `client_auth` is read, and for Supabase the host of the source. The rest may name variables that the backend does not have, such
as the password of the source: `!env` is therefore looked up where a value is needed, and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from syncline.auth.addresses import read_address_rules
from syncline.auth.claims import ClaimRules
from syncline.auth.jwks import JwksCache
from syncline.auth.jwks_uri import parse_jwks_uri
from syncline.auth.keys import KeySource, StaticKeys
from syncline.auth.supabase import SUPABASE_RULES, supabase_jwks_uri, supabase_key
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ConfigError

__all__ = ["ClientAuth", "ServiceConfigVerifier", "read_client_auth"]

_VARIABLE = re.compile(r"(PS_[A-Za-z0-9_]*)(?:::(string|boolean|number))?")
_BOOLEANS = {"true": True, "false": False}


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]] = []


class ClientAuth(msgspec.Struct, kw_only=True):
    """`client_auth` of a service's configuration (configuration reference, 2.3), and where the keys of its Supabase project are."""

    jwks_uri: str | list[str] | None = None
    jwks: _KeySet = msgspec.field(default_factory=_KeySet)
    audience: list[str] = []
    supabase: bool = False
    supabase_jwt_secret: str | None = None
    block_local_jwks: bool = False
    jwks_reject_ip_ranges: list[str] = []
    supabase_uri: str | None = None  # not a key of the file: from the source's host

    def uris(self) -> dict[str, ClaimRules | None]:
        """Each JWKS URI once, with the rules of its keys; None: those of the configuration."""
        listed = [self.jwks_uri] if isinstance(self.jwks_uri, str) else self.jwks_uri or []
        supabase: dict[str, ClaimRules | None] = (
            {} if self.supabase_uri is None else {self.supabase_uri: SUPABASE_RULES}
        )
        return dict.fromkeys(listed) | supabase


class ServiceConfigVerifier(TokenVerifier):
    """Accepts exactly the tokens that the service of this configuration accepts. `close` ends fetches that run.

    Raises ConfigError for a key or a range (PSYNC_S2201) or a URI (PSYNC_S3102, PSYNC_S3103) that cannot be used, and where every token
    would be refused, for lack of keys or audience.
    """

    def __init__(self, settings: ClientAuth, *, development: bool = False) -> None:
        static: list[KeySource] = []
        if settings.jwks.keys:
            static.append(StaticKeys.from_jwks(settings.jwks.keys))
        if settings.supabase and settings.supabase_jwt_secret:
            static.append(StaticKeys([supabase_key(settings.supabase_jwt_secret)]))
        uris = settings.uris()
        if not static and not uris:
            raise ConfigError(
                "client_auth has no keys: every upload would be refused.",
                hint="Set client_auth.jwks_uri or client_auth.jwks.keys in the service's configuration.",
            )
        if not settings.audience and not settings.supabase:
            raise ConfigError(
                "client_auth.audience is empty: every upload would be refused.",
                code="PSYNC_S2201",
                hint="Set client_auth.audience to a list with the `aud` of your tokens.",
            )
        self.audiences = tuple(settings.audience)
        """`client_auth.audience`: what tokens for this service are issued for."""
        self._caches = [_cache(uri, rules, settings) for uri, rules in uris.items()]
        super().__init__([*static, *self._caches], settings.audience, development=development)

    async def close(self) -> None:
        """End fetches that run."""
        for cache in self._caches:
            await cache.close()


def _cache(uri: str, rules: ClaimRules | None, settings: ClientAuth) -> JwksCache:
    from syncline.auth.jwks_download import JwksDownload  # an HTTP client: slow to import, and not everybody's

    addresses = read_address_rules(block_local=settings.block_local_jwks, ranges=settings.jwks_reject_ip_ranges)
    return JwksCache(uri, download=JwksDownload(parse_jwks_uri(uri), addresses=addresses), rules=rules)


def read_client_auth(path: Path, *, environment: Mapping[str, str] = os.environ) -> ClientAuth:
    """Read the file (YAML or JSON). Raises ConfigError that names the place, and never a value."""
    document = _load(path)
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path} is not a configuration of the sync service.", hint="It has client_auth, replication, …"
        )
    sections = cast("dict[str, Any]", document)
    resolved = _resolve(sections.get("client_auth") or {}, environment, path)
    try:
        settings = msgspec.convert(resolved, ClientAuth, strict=True)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: client_auth cannot be used: {exc}") from None
    settings.supabase_uri = None
    if settings.supabase:
        settings.supabase_uri = supabase_jwks_uri(_source_host(sections, environment, path))
    return settings


@dataclass(frozen=True, slots=True)
class _Variable:
    """`!env …`, not looked up yet."""

    text: str
    line: int


def _load(path: Path) -> object:
    try:
        import yaml  # the service has it; a backend that reads no file of the service does without
    except ModuleNotFoundError:
        raise ConfigError("PyYAML is needed to read the service's configuration.", hint="pip install pyyaml") from None

    class Loader(yaml.SafeLoader):
        """A loader of its own: the tag is nobody else's."""

    def variable(_loader: yaml.SafeLoader, node: yaml.Node) -> _Variable:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        return _Variable(str(text).strip(), node.start_mark.line + 1)

    Loader.add_constructor("!env", variable)
    try:
        return yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506 - a subclass of SafeLoader
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {type(exc).__name__}.") from None
    except yaml.YAMLError as exc:
        mark = exc.problem_mark if isinstance(exc, yaml.MarkedYAMLError) else None
        place = f"line {mark.line + 1}" if mark else "somewhere"
        raise ConfigError(f"{path} is not valid YAML: {place}.") from None


def _resolve(value: object, environment: Mapping[str, str], path: Path) -> Any:
    if isinstance(value, _Variable):
        return _look_up(value, environment, f"{path}, line {value.line}")
    if isinstance(value, dict):
        return {key: _resolve(item, environment, path) for key, item in cast("dict[Any, object]", value).items()}
    if isinstance(value, list):
        return [_resolve(item, environment, path) for item in cast("list[object]", value)]
    return value


def _look_up(variable: _Variable, environment: Mapping[str, str], place: str) -> str | bool | float:
    """As the service reads it (configuration reference, 1). The value is never told: it may be a secret."""
    match = _VARIABLE.fullmatch(variable.text)
    if match is None:
        raise ConfigError(f"{place}: !env does not name a variable.", hint="Write !env PS_NAME as the whole value.")
    name, kind = match.groups()
    text = environment.get(name)
    if text is None:
        raise ConfigError(f"{place}: the environment variable {name} is not set.", hint=f"export {name}=…")
    try:
        if kind == "boolean":
            return _BOOLEANS[text.lower()]
        return float(text) if kind == "number" else text
    except (KeyError, ValueError):
        raise ConfigError(f"{place}: the environment variable {name} does not hold a {kind}.") from None


def _source_host(sections: dict[str, Any], environment: Mapping[str, str], path: Path) -> str | None:
    """The host of the source database: it names the Supabase project."""
    replication: Any = sections.get("replication")
    connections: Any = cast("dict[str, Any]", replication).get("connections") if isinstance(replication, dict) else None
    source: Any = cast("list[Any]", connections)[0] if isinstance(connections, list) and connections else None
    if not isinstance(source, dict):
        return None
    source = cast("dict[str, Any]", source)
    if source.get("hostname") is not None:
        return str(_resolve(source["hostname"], environment, path))
    try:
        return urlsplit(str(_resolve(source.get("uri") or "", environment, path))).hostname
    except ValueError:
        return None
