"""A backend that opens with the first request goes on when its database can be reached, also where it could not be at first."""

from __future__ import annotations

import asyncio
import contextlib
import re

from syncline.backend import AuthenticatedUser
from syncline.backend.background import BackgroundBackend
from syncline.backend.http.messages import BackendRequest
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.backend.conftest import SCHEMA_SQL, make_backend


async def test_a_database_that_comes_later_is_found(postgres_database: ScratchDatabase) -> None:
    postgres_database.execute(SCHEMA_SQL)
    host, port = re.findall(r"@([\d.]+):(\d+)", postgres_database.dsn)[0]
    async with FaultyProxy(host, int(port)) as proxy:
        dsn = postgres_database.dsn.replace(f"{host}:{port}", proxy.url.removeprefix("http://"))
        proxy.refuse = True
        backend = make_backend(PostgresPersister(dsn, transaction_seconds_max=1.0))
        token = {"authorization": f"Bearer {backend.auth.issue(AuthenticatedUser('ann')).token}"}
        with contextlib.closing(BackgroundBackend(backend)) as background:

            async def ask() -> int:
                body = b'{"client_id": "phone"}'
                request = BackendRequest("PUT", "/api/data/checkpoint", headers=token, body=body)
                return (await asyncio.to_thread(background.handle, request)).status

            assert await ask() == 503
            proxy.refuse = False

            async def found() -> bool:
                return await ask() == 200

            await eventually(found, timeout_s=30)
