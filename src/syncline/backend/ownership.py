"""Whose a row is, and who may write it: through a parent table, by claims of the token, by roles, by the database's own row security.

Facts: docs/reference/write-path.md, 2.3 ("Authorization") and 7.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import WriteRefused
from syncline.errors import ConfigError
from syncline.protocol.crud import UpdateType

__all__ = ["RolePermissions", "RowSecurity", "Via", "claim_of", "tenant_of", "via"]

_SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Via:
    """A row belongs to whoever owns the row of `table` that its `column` names. `table` is a name of `SyncBackend(tables=…)`."""

    table: str
    column: str

    def __post_init__(self) -> None:
        if not self.table or self.column in ("", "id"):
            raise ConfigError(
                "Ownership through a parent needs a table and the column that names its row.",
                hint='TablePolicy(owner=via("lists", "list_id"))',
            )


def via(table: str, column: str) -> Via:
    """Ownership through a parent table: `TablePolicy(owner=via("lists", "list_id"))`. Raises ConfigError."""
    return Via(table, column)


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots into claims that are objects (`app_metadata.role`); None where there is none.

    The whole name comes first: some issuers put addresses, dots and all, into theirs.
    """
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, Any]", value).get(part)
    return value


def tenant_of(claims: Mapping[str, Any], name: str, *, operation_index: int) -> str:
    """The text of a claim that fills a tenant column. Raises WriteRefused (UNAUTHORIZED) where the token has no single value."""
    value = claim_of(claims, name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise WriteRefused(
            "UNAUTHORIZED", f"The token has no single value for {name}.", operation_index=operation_index
        )
    return str(value)


@dataclass(frozen=True, slots=True)
class RolePermissions:
    """What each role may do with a table: `RolePermissions("role", {"editor": ["PUT", "PATCH"], "admin": ["PUT", "PATCH", "DELETE"]})`.

    `claim` holds a role or a list of them, whose permissions add up. A role that is not listed may do nothing. Raises ConfigError.
    """

    claim: str
    allowed: Mapping[str, Collection[str]]

    def __post_init__(self) -> None:
        known = {str(op) for op in UpdateType}
        for role, operations in self.allowed.items():
            unknown = [operations] if isinstance(operations, str) else sorted({*map(str, operations)} - known)
            if unknown:
                raise ConfigError(
                    f"The permissions of the role {role!r} must be a list of operations; got {unknown[0]!r}.",
                    hint=f"Operations: {', '.join(sorted(known))}.",
                )

    def check(self, op: UpdateType, table: str, claims: Mapping[str, Any], *, operation_index: int) -> None:
        """Raise WriteRefused (UNAUTHORIZED) unless one of the user's roles may do this."""
        held = claim_of(claims, self.claim)
        roles: list[Any] = cast("list[Any]", held) if isinstance(held, list) else [held]
        for role in roles:
            if isinstance(role, str) and op in self.allowed.get(role, ()):
                return
        message = f"No role of this user may {op} rows of {table[:NAME_CHARACTERS_SHOWN_MAX]}."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=operation_index)


@dataclass(frozen=True, slots=True)
class RowSecurity:
    """Postgres' row-level security decides, besides the policies. Everything is set for one database transaction only.

    `user_setting` gets the user id and `claims_setting` all claims as JSON, for policies that read `current_setting('app.user_id')`;
    `role` is the role that the transaction switches to (the pool's role must be a member of it). Names come from here only, never from
    a request. Raises ConfigError for names that are none.
    """

    user_setting: str | None = "app.user_id"
    claims_setting: str | None = None
    role: str | None = None

    def __post_init__(self) -> None:
        for setting in (self.user_setting, self.claims_setting):
            if setting is not None and _SETTING.fullmatch(setting) is None:
                raise ConfigError(
                    f"{setting!r} is no name for a setting of the app.", hint="Two names with a dot: app.user_id"
                )
        if self.role == "":
            raise ConfigError("The role of row-level security has no name.", hint='RowSecurity(role="authenticated")')

    @classmethod
    def as_role(cls, role: str, *, claims_setting: str = "request.jwt.claims") -> RowSecurity:
        """The style of PostgREST and Supabase: a role, and the claims as JSON."""
        return cls(user_setting=None, claims_setting=claims_setting, role=role)
