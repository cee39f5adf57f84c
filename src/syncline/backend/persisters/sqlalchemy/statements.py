"""The statements of writes, and the conditions that a row must meet to be the user's: owner, tenants, a parent row.

Names are quoted by SQLAlchemy, values are parameters: nothing of a client's becomes SQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from syncline.backend.persisters.base import ParentGuard, Write
from syncline.backend.persisters.sqlalchemy.catalog import Parents
from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.backend.persisters.sqlalchemy.databases.base import Expression, refused
from syncline.backend.persisters.sqlalchemy.tables import Column, ColumnKind, Table, known_column

__all__ = ["Statements"]

_ONE = sa.literal_column("1", sa.Integer)


class Statements:
    """The statements of one write. Methods raise WriteRefused for unknown columns (SCHEMA_MISMATCH) and wrong values (INVALID_DATA)."""

    def __init__(self, database: Database, write: Write, table: Table, parents: Parents) -> None:
        self._database = database
        self._write = write
        self.table = table
        self._parents = parents

    def values(self) -> dict[str, Expression]:
        """What the write sends, without generated columns."""
        columns = ((known_column(self._write, self.table, name), value) for name, value in self._write.data.items())
        return {column.name: self._expression(column, value) for column, value in columns if not column.generated}

    def inserted(self) -> dict[str, Expression]:
        """A whole new row: what is sent, the id, and whose it is."""
        whose = {name: self._expression(self.table.columns[name], value) for name, value in self._write.belongs_to}
        return self.values() | {"id": self._expression(self.table.columns["id"], self._write.id)} | whose

    def replacing(self) -> sa.Update | None:
        """What a PUT does to a row that is there: columns that it replaces but does not list become their defaults."""
        values = self.values()
        columns = self.table.columns
        for name in self._write.replaces:
            if name not in values and not columns[name].generated:
                values[name] = self._database.default(columns[name])
        if self._write.soft_delete is not None:
            values[self._write.soft_delete] = self._unmarked(columns[self._write.soft_delete])
        return self._update(values, [self.own_row()]) if values else None

    def changing(self) -> sa.Update | None:
        """A PATCH; None where it changes nothing."""
        values = self.values()
        return self._update(values, [self.own_row(), *self.live()]) if values else None

    def deleting(self) -> sa.Update | sa.Delete:
        """A DELETE, or the mark in its place."""
        if self._write.soft_delete is None:
            return self.table.clause.delete().where(self.own_row())
        column = self.table.columns[self._write.soft_delete]
        mark = True if column.kind is ColumnKind.BOOLEAN else self._write.context.received_at.isoformat()
        return self._update({column.name: self._expression(column, mark)}, [self.own_row(), *self.live()])

    def whose_row(self) -> sa.Select[Any]:
        """One number for the row under the write's id: 1 for the user's, 0 for another's; nothing where there is none."""
        own = sa.case((self._all([*self._whose()]), 1), else_=0)
        return sa.select(own).select_from(self.table.clause).where(self.by_id())

    def current(self, columns: Iterable[Column]) -> sa.Select[Any]:
        """The user's row, locked: whether it is not marked as deleted (1 or 0), then the columns."""
        live = sa.case((self._all(self.live()), 1), else_=0)
        wanted = [self._database.selected(self.table.clause.c[column.name], column) for column in columns]
        return sa.select(live, *wanted).select_from(self.table.clause).where(self.own_row()).with_for_update()

    def parent(self, guard: ParentGuard, named: Any) -> sa.Select[Any]:
        """Finds the parent row `named` if it is the user's, and keeps it from being deleted before the transaction ends."""
        table = self._parents[guard.table]
        row = table.named("syncline parent 0")
        by_id = self._equal(row.c["id"], table.columns["id"], named)
        found = sa.select(_ONE).select_from(row)
        found = found.where(by_id, *self._of_parent(row, guard, depth=0))
        return found.with_for_update(read=True, key_share=True, of=row)

    def own_row(self) -> Expression:
        """The row under the write's id, if it is the user's."""
        return self._all([self.by_id(), *self._whose()])

    def by_id(self) -> Expression:
        """The row under the write's id, whoever's it is."""
        return self._equal(self.table.clause.c["id"], self.table.columns["id"], self._write.id)

    def live(self) -> list[Expression]:
        """That the row is not marked as deleted, where the table marks."""
        if self._write.soft_delete is None:
            return []
        column = self.table.columns[self._write.soft_delete]
        element = self.table.clause.c[column.name]
        if column.kind is not ColumnKind.BOOLEAN:
            return [element.is_(None)]
        return [sa.or_(element.is_(None), element == self._expression(column, value=False))]

    def _update(self, values: dict[str, Expression], conditions: list[Expression]) -> sa.Update:
        return self.table.clause.update().values(values).where(*conditions)

    def _unmarked(self, column: Column) -> Expression:
        return self._expression(column, value=False) if column.kind is ColumnKind.BOOLEAN else sa.null()

    def _whose(self) -> list[Expression]:
        """What makes a row of the table the user's; nothing where every row is everybody's."""
        row = self.table.clause
        conditions = [
            self._equal(row.c[name], self.table.columns[name], value) for name, value in self._write.belongs_to
        ]
        if self._write.parent is not None:
            conditions.append(self._has_parent(row, self._write.parent, depth=0))
        return conditions

    def _has_parent(self, row: sa.FromClause, guard: ParentGuard, *, depth: int) -> Expression:
        above = self._parents[guard.table].named(f"syncline parent {depth}")
        linked = above.c["id"] == row.c[guard.column]
        found = sa.select(_ONE).select_from(above)
        return found.where(linked, *self._of_parent(above, guard, depth=depth)).correlate(row).exists()

    def _of_parent(self, row: sa.FromClause, guard: ParentGuard, *, depth: int) -> list[Expression]:
        columns = self._parents[guard.table].columns
        conditions = [self._equal(row.c[name], columns[name], value) for name, value in guard.belongs_to]
        if guard.parent is not None:
            conditions.append(self._has_parent(row, guard.parent, depth=depth + 1))
        return conditions

    def _equal(self, element: Expression, column: Column, value: Any) -> Expression:
        try:
            return self._database.equal(element, column, value)
        except (ValueError, OverflowError, RecursionError) as exc:
            raise refused(column, operation_index=self._write.index) from exc

    def _expression(self, column: Column, value: Any) -> Expression:
        if value is None:
            return sa.null()
        try:
            return self._database.expression(column, value)
        except (ValueError, OverflowError, RecursionError) as exc:
            raise refused(column, operation_index=self._write.index) from exc

    def _all(self, conditions: list[Expression]) -> Expression:
        return sa.and_(*conditions) if conditions else _ONE == _ONE
