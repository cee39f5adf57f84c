"""SQLite, for small backends, and for tests of large ones."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL

from syncline.backend.dead_letters.letters import DeadLetterLimits
from syncline.backend.limits import POOL_CONNECTIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.persisters.sqlalchemy.persister import SQLAlchemyPersister

__all__ = ["SQLitePersister"]


class SQLitePersister(SQLAlchemyPersister):
    """Writes to a file: `SQLitePersister("app.db")`. Needs the extra `sqlite`.

    The file is in WAL mode, commits are on disk before they are answered, foreign keys hold. One writer at a time: other processes are
    waited for, SQLITE_BUSY_SECONDS_MAX at most.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        transaction_seconds_max: float = TRANSACTION_SECONDS_MAX,
        dead_letter_limits: DeadLetterLimits | None = None,
    ) -> None:
        url = URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)
        super().__init__(
            url,
            connections_max=connections_max,
            transaction_seconds_max=transaction_seconds_max,
            dead_letter_limits=dead_letter_limits,
        )
