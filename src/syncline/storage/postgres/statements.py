"""SQL texts with the schema's name in them, and the hashes that stand for names of any length."""

from __future__ import annotations

import re
from hashlib import blake2b

from syncline.errors import ConfigError

__all__ = ["DEFAULT_SCHEMA", "SchemaSql", "is_schema_name", "name_key", "user_key_bytes"]

DEFAULT_SCHEMA = "syncline"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")  # leaves room for what is appended to it in a channel's name


class SchemaSql:
    """Puts the schema's quoted name for `{schema}`: `search_path` is never relied upon. Raises ConfigError for an odd name."""

    def __init__(self, schema: str) -> None:
        if not is_schema_name(schema):
            raise ConfigError(
                f"storage.schema {schema!r} cannot be used.",
                hint="Choose up to 40 lower-case letters, digits and underscores, such as syncline.",
            )
        self.schema = schema
        self._ready: dict[str, bytes] = {}

    @property
    def channel(self) -> str:
        """The channel of the wake-ups; it needs no quotes."""
        return f"{self.schema}_checkpoint"

    def __call__(self, text: str) -> bytes:
        """The statement for the driver."""
        ready = self._ready.get(text)
        if ready is None:
            ready = self._ready[text] = text.replace("{schema}", f'"{self.schema}"').encode()
        return ready


def is_schema_name(name: str) -> bool:
    """Whether a schema of this name can hold a storage."""
    return bool(_SCHEMA_NAME.fullmatch(name)) and not name.startswith("pg_")


def name_key(name: str) -> bytes:
    """16 bytes that stand for the name of a bucket or lookup."""
    return blake2b(name.encode(), digest_size=16).digest()


def user_key_bytes(user_key: str) -> bytes:
    """A user key as stored: a token's `sub` may hold NUL and lone surrogates, which no Postgres text can."""
    return user_key.encode("utf-8", "surrogatepass")
