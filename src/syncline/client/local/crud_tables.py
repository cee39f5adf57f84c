"""The virtual tables `powersync_crud` and `powersync_crud_`: what an app's own triggers insert into (client SQLite reference, 5)."""

from __future__ import annotations

import json
from typing import Any

import apsw

from syncline.client.local.gate import CLOSE_GATE, MARK_ROW, QUEUE_ENTRY
from syncline.client.local.local_connection import LocalConnection

__all__ = ["IGNORE_EMPTY_UPDATE", "register_crud_tables"]

IGNORE_EMPTY_UPDATE = 16  # bit of the column `options`: drop a PATCH that changes nothing

_SIMPLE = "CREATE TABLE x(op TEXT, id TEXT, type TEXT, data TEXT, old_values TEXT, metadata TEXT, options INT HIDDEN)"
_MANUAL = "CREATE TABLE x(data TEXT, options INT HIDDEN)"


def register_crud_tables(connection: LocalConnection) -> None:
    """Make both known to a connection. They need no row in `sqlite_master`, and can only be inserted into."""
    for name, kind in (("powersync_crud", _SimpleTable), ("powersync_crud_", _ManualTable)):
        connection.create_module(
            name,
            _Module(kind),  # pyright: ignore[reportArgumentType] - only what an eponymous table is asked for
            use_bestindex_object=True,
            eponymous=True,
            eponymous_only=True,
            read_only=False,
        )


class _CrudTable:
    """What SQLite asks of a table; reading is refused."""

    declaration = ""

    def __init__(self, connection: apsw.Connection) -> None:
        assert isinstance(connection, LocalConnection)
        self._connection = connection

    def BestIndexObject(self, _index: object) -> bool:  # noqa: N802 - names of apsw's protocol
        raise apsw.SQLError("powersync_crud can only be inserted into")

    def UpdateInsertRow(self, _rowid: int | None, fields: tuple[Any, ...]) -> int:  # noqa: N802 - apsw names it so
        if not self._connection.in_sync:
            self.insert(fields)
        return 0

    def insert(self, fields: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def UpdateDeleteRow(self, _rowid: int) -> None:  # noqa: N802 - apsw names it so
        raise apsw.SQLError("powersync_crud can only be inserted into")

    def UpdateChangeRow(self, _row: int, _new: int, _fields: tuple[Any, ...]) -> None:  # noqa: N802 - apsw names it so
        raise apsw.SQLError("powersync_crud can only be inserted into")

    def Disconnect(self) -> None:  # noqa: N802 - apsw names it so
        """Nothing to give back."""

    def Begin(self) -> None:  # noqa: N802 - apsw names it so
        """Part of the surrounding transaction, like the tables that are written to."""

    Commit = Rollback = Sync = Begin


class _SimpleTable(_CrudTable):
    """One local change: queued, its row marked for the next apply, the gate closed."""

    declaration = _SIMPLE

    def insert(self, fields: tuple[Any, ...]) -> None:
        op, row_id, row_type, data, old, metadata, options = fields
        if op is None or row_id is None or row_type is None:
            raise apsw.ConstraintError("powersync_crud: op, id and type are required")
        if op == "PATCH" and data == "{}" and (options or 0) & IGNORE_EMPTY_UPDATE:
            return
        entry = f'{{"op":{_text(op)},"id":{_text(row_id)},"type":{_text(row_type)}'
        if data is not None:
            entry += f',"data":{data}'
        if old is not None:
            entry += f',"old":{old}'
        if metadata is not None:
            entry += f',"metadata":{_text(metadata)}'
        self._connection.execute(QUEUE_ENTRY, (entry + "}",))
        self._connection.execute(MARK_ROW, (str(row_type), str(row_id)))
        for statement in CLOSE_GATE:
            self._connection.execute(statement)


class _ManualTable(_CrudTable):
    """An entry as it is, for rows that are not kept: neither mark nor gate."""

    declaration = _MANUAL

    def insert(self, fields: tuple[Any, ...]) -> None:
        self._connection.execute(QUEUE_ENTRY, (fields[0],))


class _Module:
    def __init__(self, kind: type[_CrudTable]) -> None:
        self._kind = kind

    def Connect(  # noqa: N802 - apsw names it so
        self, connection: apsw.Connection, *_: object
    ) -> tuple[str, _CrudTable]:
        return self._kind.declaration, self._kind(connection)

    Create = Connect


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
