"""Methods of the database for full-text search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import apsw

from syncline.client.database_parts import DatabaseBase
from syncline.client.full_text import TOKENIZER, FullTextIndex, drop_index, match_query, put_index_in_place, search_sql
from syncline.client.local.connection import write_transaction
from syncline.client.rows import Row
from syncline.client.statements import fetch_as, fetch_rows

__all__ = ["SEARCH_LIMIT", "SearchMethods"]

SEARCH_LIMIT = 50  # rows of a search, unless told otherwise

T = TypeVar("T")


class SearchMethods(DatabaseBase):
    """`create_full_text_index` and `search`."""

    async def create_full_text_index(
        self, table: str, columns: Sequence[str], *, tokenizer: str = TOKENIZER, prefixes: Sequence[int] = ()
    ) -> bool:
        """Make columns of a table searchable, and keep them so; says whether something had to be done. Call it after each opening.

        `tokenizer` as in SQLite's FTS5 (`"porter unicode61"`, `"trigram"`). An index of another definition is made anew, and one whose
        table the schema has dropped and brought back. Raises ClientError for a table or column that the schema does not have.
        """
        index = FullTextIndex(table, tuple(columns), tokenizer, tuple(prefixes))

        def put(connection: apsw.Connection) -> bool:
            with write_transaction(connection, local_writes=False):
                return put_index_in_place(connection, self._schema, index)

        return await self._open_parts().writer.call(put)

    async def drop_full_text_index(self, table: str) -> None:
        """Remove the index of a table, where there is one."""

        def drop(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                drop_index(connection, table)

        await self._open_parts().writer.call(drop)

    @overload
    async def search(self, table: str, text: str, *, limit: int = SEARCH_LIMIT, prefix: bool = True) -> list[Row]: ...
    @overload
    async def search(
        self, table: str, text: str, *, row_type: type[T], limit: int = SEARCH_LIMIT, prefix: bool = True
    ) -> list[T]: ...
    async def search(
        self,
        table: str,
        text: str,
        *,
        row_type: type[Any] | None = None,
        limit: int = SEARCH_LIMIT,
        prefix: bool = True,
    ) -> list[Any]:
        """Rows of a table that have all words of `text`, best first; the last word may be a beginning, unless `prefix` is False.

        Results that follow the data: `db.watch(search_sql("lists"), [match_query(text), 50])`, both from `syncline.client.full_text`.
        """
        query = match_query(text, prefix=prefix)
        if not query:
            return []
        sql, bound = search_sql(table), (query, limit)
        if row_type is None:
            return await self._open_parts().readers.call(lambda connection: fetch_rows(connection, sql, bound))
        return await self._open_parts().readers.call(lambda connection: fetch_as(connection, row_type, sql, bound))
