"""The client in a FastAPI program: open with the app, handed to routes as a dependency.

`pip install "syncline[fastapi]"`.

>>> app = FastAPI(lifespan=lifespan(lambda: SyncDatabase("app.db", schema=schema), connector))
>>> @app.get("/lists")
... async def lists(db: Database) -> list[dict]:
...     return [row.as_dict() for row in await db.get_all("SELECT * FROM lists")]
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from syncline.client.connector import BackendConnector
from syncline.client.database import SyncDatabase
from syncline.client.errors import DatabaseNotInitialized

__all__ = ["Database", "lifespan", "use_database"]

_STATE = "syncline_database"


def lifespan(
    make: Callable[[], SyncDatabase], connector: BackendConnector | None = None, **connect_options: Any
) -> Callable[[Any], contextlib.AbstractAsyncContextManager[dict[str, Any]]]:
    """The app's `lifespan`: opens the database, connects where a connector is given, and closes it when the app ends.

    For an app with a lifespan of its own: `async with lifespan(...)(app) as state: yield {**state, …}`.
    """

    @contextlib.asynccontextmanager
    async def run(_app: Any) -> AsyncGenerator[dict[str, Any]]:
        async with make() as database:
            if connector is not None:
                await database.connect(connector, **connect_options)
            yield {_STATE: database}

    return run


def use_database(connection: HTTPConnection) -> SyncDatabase:
    """The database of the app, for routes and WebSockets. Raises DatabaseNotInitialized where the app was made without `lifespan`."""
    database = getattr(connection.state, _STATE, None)
    if not isinstance(database, SyncDatabase):
        raise DatabaseNotInitialized(
            "The app provides no database.",
            hint="FastAPI(lifespan=syncline.client.fastapi.lifespan(lambda: SyncDatabase(…)))",
        )
    return database


Database = Annotated[SyncDatabase, Depends(use_database)]
"""A parameter of a route of this type is the database itself."""
