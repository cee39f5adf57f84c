"""Current rows: reading them for changes at hand, and writing what became of them.

The writer is alone, so what it has read of a row stays true until it writes the row. That spares most of the writing: an update that
leaves a row where it stands changes nothing here, and a row that nobody had to look up is new (COPY, without looking for it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from syncline.storage.model import CurrentRow
from syncline.storage.postgres.encoding import decode_row, encode_row
from syncline.storage.postgres.transactions import WriteConnection, WriteTransaction

__all__ = ["CurrentRows"]

KNOWN_BYTES_MAX = 16_000_000  # bytes of contents that were read and not yet written

_READ = "SELECT row_key, content FROM {schema}.current_row WHERE table_id = %b AND row_key = ANY (%b)"
_PAGE = """
SELECT row_key, content FROM {schema}.current_row WHERE table_id = %b AND row_key > %b ORDER BY row_key LIMIT %b
"""
_COPY = "COPY {schema}.current_row (table_id, row_key, content) FROM STDIN (FORMAT binary)"
_UPSERT = """
INSERT INTO {schema}.current_row AS r (table_id, row_key, content)
SELECT * FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[])
    ON CONFLICT (table_id, row_key) DO UPDATE SET content = excluded.content
"""
_DELETE = """
DELETE FROM {schema}.current_row r USING unnest(%b::bigint[], %b::bytea[]) AS g (table_id, row_key)
 WHERE r.table_id = g.table_id AND r.row_key = g.row_key
"""

Place = tuple[int, bytes]
_NewRow = tuple[int, bytes, bytes]


class CurrentRows:
    """The table `current_row`, as the writer uses it."""

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection
        self._known: dict[Place, bytes | None] = {}  # contents as stored; None where there is no row
        self._known_bytes = 0

    def read(self, table_id: int, keys: Collection[bytes]) -> dict[bytes, CurrentRow]:
        """What is remembered of these rows."""
        if not keys:
            return {}
        rows = self._connection.read(_READ, (table_id, sorted(keys)))
        if self._known_bytes > KNOWN_BYTES_MAX:
            self.forget()
        self._known |= {(table_id, key): None for key in keys}
        self._known |= {(table_id, key): content for key, content in rows}
        self._known_bytes += sum(len(content) for _, content in rows) + 64 * len(keys)
        return {key: decode_row(content) for key, content in rows}

    def page(self, table_id: int, *, after: bytes, limit: int) -> list[tuple[bytes, CurrentRow]]:
        """The next rows of a table by key."""
        return [(key, decode_row(content)) for key, content in self._connection.read(_PAGE, (table_id, after, limit))]

    def forget(self) -> None:
        """What was read may no longer be so, or takes too much memory."""
        self._known.clear()
        self._known_bytes = 0

    def written(self, rows: Mapping[Place, CurrentRow | None]) -> None:
        """These rows were committed: what was read of them is of no use any more."""
        for place in rows:
            content = self._known.pop(place, None)
            self._known_bytes -= 64 + (len(content) if content else 0)
        if not self._known:
            self._known_bytes = 0

    def write(self, transaction: WriteTransaction, rows: Mapping[Place, CurrentRow | None], *, trust: bool) -> None:
        """Write rows. With `trust`, rows that nobody looked up are taken for new: psycopg's UniqueViolation says where that was wrong."""
        new: list[_NewRow] = []
        changed: list[_NewRow] = []
        gone: list[Place] = []
        known = self._known
        for place, row in rows.items():
            if row is None:
                gone.append(place)
                continue
            content = encode_row(row)
            stored = known.get(place)
            if stored is None:
                new.append((*place, content))
            elif stored != content:
                changed.append((*place, content))
        if gone:
            gone.sort()
            transaction.execute(_DELETE, ([table_id for table_id, _ in gone], [key for _, key in gone]))
        if trust:
            _copy(transaction, new)
        else:
            changed += new
        if changed:
            changed.sort()
            columns: tuple[list[int], list[bytes], list[bytes]] = (
                [table_id for table_id, _, _ in changed],
                [key for _, key, _ in changed],
                [content for _, _, content in changed],
            )
            transaction.execute(_UPSERT, columns)


def _copy(transaction: WriteTransaction, new: list[_NewRow]) -> None:
    if not new:
        return
    new.sort()  # neighbours go to the same page of the index
    with transaction.connection.cursor().copy(transaction.sql(_COPY)) as copy:
        copy.set_types(("int8", "bytea", "bytea"))
        for row in new:
            copy.write_row(row)
