"""Row-level security: who asks, told to Postgres for the length of one transaction (write path reference, 2.3, "Authorization")."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg import sql

from syncline.backend.ownership import RowSecurity
from syncline.backend.persisters.base import WriteContext

__all__ = ["enter_row_security", "settings_of"]

_SET = "SELECT set_config(%s, %s, true)"


async def enter_row_security(
    connection: psycopg.AsyncConnection[Any], security: RowSecurity, context: WriteContext
) -> None:
    """Set the app's settings and the role, which ends with the transaction; safe behind poolers that share by transaction.

    The role comes last: what it may not do, the pool's role has done before. Raises psycopg.Error.
    """
    if security.user_setting is not None:
        await connection.execute(_SET, (security.user_setting, context.user_id))
    if security.claims_setting is not None:
        claims = json.dumps({**context.claims, "sub": context.user_id})
        await connection.execute(_SET, (security.claims_setting, claims))
    if security.role is not None:
        await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(security.role)))


def settings_of(security: RowSecurity, context: WriteContext) -> list[tuple[str, str]]:
    """The same as settings for `set_config(name, value, true)`, in order: what a pipeline sends."""
    settings: list[tuple[str, str]] = []
    if security.user_setting is not None:
        settings.append((security.user_setting, context.user_id))
    if security.claims_setting is not None:
        settings.append((security.claims_setting, json.dumps({**context.claims, "sub": context.user_id})))
    if security.role is not None:
        settings.append(("role", security.role))
    return settings
