"""What a user may write. Deny by default: a table without a policy takes no uploads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from syncline.errors import ConfigError

__all__ = ["TablePolicy"]


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """How uploads to one table are treated.

    `owner` is the column that holds the user: on a PUT it is set from the token, whatever the client sent; PATCH and DELETE reach the
    user's own rows only; a PATCH cannot give a row away. None means that every user may write every row: say so on purpose.
    A row whose owner is NULL belongs to nobody: no upload reaches it. `columns` limits what clients may write; None allows all columns
    of the table. `table` is the name in the database where the client knows the table by another. Raises ConfigError for what cannot
    be meant.
    """

    owner: str | None
    columns: Collection[str] | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        if self.owner in ("", "id"):
            raise ConfigError(
                f"{self.owner!r} cannot be the owner column of a table.", hint='TablePolicy(owner="owner_id")'
            )
        if isinstance(self.columns, str):
            raise ConfigError(
                "`columns` is one text; it must be a collection of names.", hint='columns=["name", "done"]'
            )
