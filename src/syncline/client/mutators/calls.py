"""A call of a mutator in the file: one entry of the upload queue, and rows as the optimistic part has left them.

The optimistic part writes through the app's views like any code, so every row that it touches is marked for the next checkpoint, and the
gate closes: until the server has spoken its rows stay, then they are replaced by the server's, or go with a refusal. What must not happen
is that these writes are uploaded beside the call. So the entries that they have put into the queue are taken out again, in the same local
transaction, and the call's own entry takes their place. Marks and gate stay. A killed process leaves all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from syncline.client.ids import new_id
from syncline.client.local.sql_text import quote_identifier
from syncline.client.schema import Column, Schema, Table
from syncline.client.statements import ThreadTransaction
from syncline.errors import ClientError
from syncline.protocol.mutations import ARGUMENTS_COLUMN, MUTATIONS_TABLE, NAME_COLUMN

__all__ = ["mutations_table", "record_call", "view_of_calls"]

_SAVEPOINT = "syncline_mutator"


def mutations_table(name: str = MUTATIONS_TABLE) -> Table:
    """The insert-only table of calls, for the app's schema. An official SDK declares the same one: text columns `name` and `args`."""
    return Table(name, [Column.text(NAME_COLUMN), Column.text(ARGUMENTS_COLUMN)], insert_only=True)


def view_of_calls(schema: Schema, name: str = MUTATIONS_TABLE) -> str:
    """The name by which SQL inserts calls. Raises ClientError for a schema without the table."""
    table = schema.table(name)
    if table is None or not table.insert_only or not {NAME_COLUMN, ARGUMENTS_COLUMN} <= {c.name for c in table.columns}:
        raise ClientError(
            f"The schema has no insert-only table {name!r} for calls of mutators.",
            hint="Add `mutations_table()` of syncline.client.mutators to its tables.",
        )
    return table.view_name


def record_call(
    transaction: ThreadTransaction,
    *,
    view: str,
    name: str,
    arguments: str,
    optimistic: Callable[[ThreadTransaction], object] | None,
) -> str:
    """Run the optimistic part and queue the call, inside the caller's write transaction; returns the id of the call.

    Where the optimistic part raises, what it has written is undone, nothing is queued, and its exception goes on.
    """
    connection = transaction.connection
    if optimistic is not None:
        [(newest,)] = connection.execute("SELECT ifnull(max(id), 0) FROM ps_crud").fetchall()
        connection.execute(f"SAVEPOINT {_SAVEPOINT}").fetchall()
        try:
            optimistic(transaction)
            connection.execute("DELETE FROM ps_crud WHERE id > ?", (newest,)).fetchall()
        except BaseException:
            if connection.in_transaction:
                connection.execute(f"ROLLBACK TO {_SAVEPOINT}").fetchall()
                connection.execute(f"RELEASE {_SAVEPOINT}").fetchall()
            raise
        connection.execute(f"RELEASE {_SAVEPOINT}").fetchall()
    call_id = new_id()
    columns = f"id, {quote_identifier(NAME_COLUMN)}, {quote_identifier(ARGUMENTS_COLUMN)}"
    transaction.execute(
        f"INSERT INTO {quote_identifier(view)}({columns}) VALUES (?, ?, ?)",  # noqa: S608 - quoted names
        [call_id, name, arguments],
    )
    return call_id
