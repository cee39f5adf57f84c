"""What a user may write. Deny by default: a table without a policy takes no uploads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["TablePolicy"]


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """How uploads to one table are treated.

    `owner` is the column that holds the user: on a PUT it is set from the token, whatever the client sent; PATCH and DELETE reach the
    user's own rows only; a PATCH cannot give a row away. None means that every user may write every row: say so on purpose.
    `columns` limits what clients may write; None allows all columns of the table. `table` is the name in the database where the
    client knows the table by another.
    """

    owner: str | None = None
    columns: Collection[str] | None = None
    table: str | None = None
