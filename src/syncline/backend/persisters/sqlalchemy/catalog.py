"""The tables that writes have named so far: read once, and again when a refusal may come from a changed table."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.persisters.base import ParentGuard, Write, WriteRefused
from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.backend.persisters.sqlalchemy.tables import Table

__all__ = ["Catalog", "Parents", "parent_guards"]

Parents = dict[str, Table]
"""The tables by which a row is the user's, by name."""


class Catalog:
    """What is known of the database's tables, for all transactions of a persister. `fresh` names tables read for the upload at hand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables: dict[str, Table] = {}

    def forget(self) -> None:
        """Read all tables anew when they are needed next."""
        self._tables.clear()

    async def table_of(self, connection: AsyncConnection, write: Write, fresh: set[str]) -> Table:
        """The table of a write, with all columns that its policy needs. Raises WriteRefused for what the database has not."""
        needed = {"id", *write.replaces, *(name for name, _ in write.belongs_to)}
        needed |= {write.soft_delete} if write.soft_delete is not None else set()
        needed |= {write.parent.column} if write.parent is not None else set()
        return await self._known(connection, write.table, needed, fresh, operation_index=write.index)

    async def parents_of(self, connection: AsyncConnection, write: Write, fresh: set[str]) -> Parents:
        """The tables by which the row is the user's. Raises WriteRefused for what the database has not."""
        return {
            guard.table: await self._known(
                connection, guard.table, _needed_of_parent(guard), fresh, operation_index=write.index
            )
            for guard in parent_guards(write.parent)
        }

    async def _known(
        self, connection: AsyncConnection, name: str, needed: set[str], fresh: set[str], *, operation_index: int
    ) -> Table:
        table = self._tables.get(name)
        if table is None:
            table = await self._database.read_table(connection, name)
            fresh.add(name)
            if table is None:
                raise WriteRefused(
                    "SCHEMA_MISMATCH", f"The table {name} does not exist.", operation_index=operation_index
                )
            self._tables[name] = table
        missing = ", ".join(sorted(needed - table.columns.keys()))
        if missing:
            message = f"The table {name} has no column {missing}."
            raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=operation_index)
        return table


def parent_guards(guard: ParentGuard | None) -> list[ParentGuard]:
    """A guard and those above it."""
    return [] if guard is None else [guard, *parent_guards(guard.parent)]


def _needed_of_parent(guard: ParentGuard) -> set[str]:
    above = {guard.parent.column} if guard.parent is not None else set[str]()
    return {"id", *(name for name, _ in guard.belongs_to)} | above
