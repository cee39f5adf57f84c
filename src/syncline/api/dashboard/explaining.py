"""Why is this row on this device? The row as the source has it now, the user as storage resolves them, both explained together."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from syncline.api.admin.bodies import text_field
from syncline.api.admin.deployments import Deployments
from syncline.api.admin.sync_rules import DEFAULT_SCHEMA
from syncline.api.dashboard.configs import connection_of
from syncline.errors import NoActiveSyncConfig, RequestInvalid
from syncline.replication.row_reading import RowSource
from syncline.storage.base import StorageReader
from syncline.sync.limits import StreamLimits
from syncline.sync_config import CompiledPlan
from syncline.sync_config.explain import (
    ConnectionExplanation,
    ConnectionQuery,
    SourceTableName,
    explain_connection,
    explain_row,
    explain_visibility,
)
from syncline.sync_config.plan import ConnectionData, ResolvedBuckets

__all__ = ["NAME_CHARACTERS_MAX", "Explaining"]

NAME_CHARACTERS_MAX = 1000  # characters of a table's name, a row's id, a column


class Explaining:
    """Answers `explain`."""

    def __init__(
        self, *, reader: StorageReader, deployments: Deployments, rows: RowSource, limits: StreamLimits
    ) -> None:
        self._reader = reader
        self._deployments = deployments
        self._rows = rows
        self._limits = limits

    async def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Whether `user` has the row `id` of `table`, and why: as text, and whether the row is there at all.

        Raises RequestInvalid, RowRefused, NoActiveSyncConfig, and SourceError where the source cannot be asked.
        """
        schema, table = _table_of(_name(fields, "table"))
        row_id, column = _name(fields, "id"), _name(fields, "column") if fields.get("column") else ""
        user = connection_of(fields.get("user"), "user")
        version = await self._reader.active_version()
        if version is None:
            raise NoActiveSyncConfig("No sync config is active yet.")
        plan = await self._deployments.compile(version.sync_config)
        found = await self._rows.row(schema, table, row_id, plan.value_format, column=column)
        connection = await self._connection(plan, version.number, version.bucket_prefix, user)
        answer: dict[str, Any] = {"table": f"{schema}.{table}", "id": row_id, "user_id": user.user_id}
        if found is None:
            return answer | {"found": False, "visible": False, "answer": "The source has no such row.", "row": ""}
        values = dict(zip(found.columns, found.rows[0], strict=True))
        row = explain_row(plan, SourceTableName(schema, table), values, version.bucket_prefix)
        visibility = explain_visibility(row, connection)
        return answer | {
            "found": True,
            "visible": bool(visibility.ways),
            "answer": str(visibility),
            "row": str(row),
            "user": str(connection),
        }

    async def _connection(
        self, plan: CompiledPlan, version: int, prefix: str, user: ConnectionData
    ) -> ConnectionExplanation:
        """The user's buckets at the newest checkpoint. Raises LimitExceeded far beyond what the service allows."""
        limits = self._limits
        query = explain_connection(
            plan,
            user,
            None,
            prefix,
            buckets_max=limits.buckets_max,
            parameter_results_max=limits.parameter_results_max,
        )
        explained: list[ConnectionExplanation] = []
        if await self._reader.view(version, _kept(query, explained)) is None:
            raise NoActiveSyncConfig("The sync config is being replaced; ask again.")
        return explained[0]


def _kept(
    query: ConnectionQuery, explained: list[ConnectionExplanation]
) -> Generator[Sequence[str], Mapping[str, Sequence[str]], ResolvedBuckets]:
    """The query as storage drives it: its lookups are what counts, its result is kept in `explained`."""
    explained.append((yield from query))
    return ResolvedBuckets((), (), frozenset())


def _table_of(text: str) -> tuple[str, str]:
    schema, dot, name = text.partition(".")
    return (schema, name) if dot else (DEFAULT_SCHEMA, schema)


def _name(fields: dict[str, Any], field: str) -> str:
    text = text_field(fields, field)
    if not text or len(text) > NAME_CHARACTERS_MAX or "\0" in text:
        raise RequestInvalid([f"{field} must be a text of 1 to {NAME_CHARACTERS_MAX} characters"])
    return text
