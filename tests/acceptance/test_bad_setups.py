"""Whatever is set up wrongly gets a clear error that says what to do, and nothing crashes."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from pathlib import Path

import jwt
import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET, ServiceProcess, free_port, token
from tests.acceptance.conftest import PUBLICATION, SOURCE_SQL, SYNC_CONFIG, TokenOnly

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])


def ask(service: ServiceProcess, bearer: str | None) -> tuple[int, str]:
    """Status and code of a refused stream request."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    headers = {"Authorization": f"Token {bearer}"} if bearer else {}
    connection.request("POST", "/sync/stream", body="{}", headers=headers)
    response = connection.getresponse()
    status = response.status
    code = json.loads(response.read())["error"]["code"] if status != 200 else ""
    connection.close()
    return status, code


def signed(**claims: object) -> str:
    return jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": KEY_ID})


@pytest.mark.requirement(108, 109, 111)
def test_each_bad_token_gets_its_code(service: ServiceProcess) -> None:
    now_s = int(time.time())
    good = {"sub": "u1", "aud": AUDIENCE, "iat": now_s, "exp": now_s + 60}
    assert ask(service, None) == (401, "PSYNC_S2106")
    assert ask(service, "not-a-token") == (401, "PSYNC_S2101")
    assert ask(service, jwt.encode(good, b"x" * 32, algorithm="HS256", headers={"kid": KEY_ID})) == (401, "PSYNC_S2101")
    assert ask(service, signed(**good | {"exp": now_s - 3600, "iat": now_s - 7200})) == (401, "PSYNC_S2103")
    assert ask(service, signed(**good | {"exp": now_s + 90_000})) == (401, "PSYNC_S2104")
    assert ask(service, signed(**good | {"aud": "https://other"})) == (401, "PSYNC_S2105")
    assert 'received="https://other"' in service.log  # the log names what was received and what is accepted
    assert AUDIENCE in service.log
    assert ask(service, signed(**good)) == (200, "")
    assert "x" * 32 not in service.log
    assert service.running


@pytest.mark.requirement(107)
async def test_a_client_with_the_wrong_audience_is_told_the_code(service: ServiceProcess, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(service.base_url, token("u1", audience="nope")))
        status = await db.wait_for_status(lambda status: status.download_error is not None, timeout=10)
    assert "PSYNC_S2105" in str(status.download_error)


async def test_a_wrong_url_is_told_and_the_client_goes_on_trying(service: ServiceProcess, tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(f"http://127.0.0.1:{free_port()}", token("u1")), retry_delay_s=0.1)
        status = await db.wait_for_status(lambda status: status.download_error is not None, timeout=10)
        assert "127.0.0.1" in str(status.download_error)
        await db.connect(TokenOnly(f"{service.base_url}/wrong", token("u1")), retry_delay_s=0.1)
        status = await db.wait_for_status(lambda status: "404" in str(status.download_error), timeout=10)
        assert "sync service" in str(status.download_error)
        await db.connect(TokenOnly(service.base_url, token("u1")), retry_delay_s=0.1)
        await db.wait_for_first_sync(timeout=10)


async def test_an_unknown_stream_is_absent_from_the_answer_and_both_sides_say_so(
    service: ServiceProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(service.base_url, token("u1")))
        await db.sync_stream("nowhere", {"id": 1}).subscribe()
        await db.wait_for_first_sync(timeout=10)
        status = await db.wait_for_status(lambda s: any(stream.unknown for stream in s.streams), timeout=10)
    assert [stream.name for stream in status.streams if stream.unknown] == ["nowhere"]
    service.wait_log("nowhere")
    assert any("nowhere" in record.getMessage() for record in caplog.records)


def test_a_broken_sync_config_ends_the_start_with_every_problem(source: ScratchDatabase, tmp_path: Path) -> None:
    broken = SYNC_CONFIG.replace("SELECT *", "SELEC *") + "  other:\n    querry: SELECT 1\n"
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=broken)
    service.start(wait_ready=False)
    assert service.wait() == 1
    assert "line 6" in service.log
    assert "querry" in service.log
    assert "^" in service.log
    assert "Traceback" not in service.log


def test_a_file_for_mongodb_storage_is_answered_with_the_lines_to_write(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    storage = {"type": "mongodb", "uri": "mongodb://localhost/x"}
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage)
    service.start(wait_ready=False)
    assert service.wait() == 150
    assert "type: sqlite" in service.log
    assert "Traceback" not in service.log


@pytest.mark.requirement(175)
def test_a_missing_publication_is_told_with_the_sql_and_heals_without_a_restart(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(SOURCE_SQL)
    service = ServiceProcess(tmp_path / "service", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG)
    service.start(wait_ready=False)
    try:
        service.wait_log("PSYNC_S1141")
        assert "CREATE PUBLICATION powersync" in service.log
        assert ask(service, token("u1")) == (500, "PSYNC_S2302")
        postgres_database.execute(PUBLICATION)
        service.wait_ready()
        assert ask(service, token("u1")) == (200, "")
    finally:
        service.stop()
    assert "Traceback" not in service.log


def test_a_source_without_logical_wal_is_told_what_to_set(tmp_path: Path) -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        service = ServiceProcess(tmp_path / "service", dsn=server.dsn(), sync_config=SYNC_CONFIG)
        service.start(wait_ready=False)
        try:
            service.wait_log("ALTER SYSTEM SET wal_level = 'logical'")
            assert service.running
        finally:
            service.stop()
    assert "Traceback" not in service.log


@pytest.mark.requirement(223, missing="JWKS")
def test_a_source_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    service = ServiceProcess(
        tmp_path / "service", dsn=f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x", sync_config=SYNC_CONFIG
    )
    service.start(wait_ready=False)
    try:
        service.wait_log("PSYNC_S1120")
        assert service.running
    finally:
        assert service.stop() == 0
    assert "topsecret" not in service.log
    assert "Traceback" not in service.log


def test_a_port_that_is_taken_is_told(service: ServiceProcess, source: ScratchDatabase, tmp_path: Path) -> None:
    second = ServiceProcess(tmp_path / "second", dsn=source.dsn, sync_config=SYNC_CONFIG, port=service.port)
    second.start(wait_ready=False)
    assert second.wait() == 150
    assert f"127.0.0.1:{service.port}" in second.log


def test_a_second_service_on_the_same_storage_is_refused(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    storage = {"type": "sqlite", "path": str(service.storage)}
    second = ServiceProcess(tmp_path / "second", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage)
    second.start(wait_ready=False)
    assert second.wait() == 150
    assert "PSYNC_S1003" in second.log


@pytest.mark.requirement(104, missing="only RS256 and HS256 end to end")
async def test_a_token_signed_with_rs256_is_accepted_through_jwks(source: ScratchDatabase, tmp_path: Path) -> None:
    from aiohttp import web

    from syncline.auth.signer import TokenSigner

    signer = TokenSigner.generate()

    async def jwks(_request: web.Request) -> web.Response:
        return web.json_response(signer.jwks())

    app = web.Application()
    app.router.add_get("/jwks", jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    keys = {"jwks_uri": f"http://127.0.0.1:{port}/jwks", "audience": [AUDIENCE]}
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, client_auth=keys)
    await asyncio.to_thread(service.start)
    try:
        issued = signer.issue("u1", audience=AUDIENCE, now_s=time.time())
        assert await asyncio.to_thread(ask, service, issued.token) == (200, "")
        assert await asyncio.to_thread(ask, service, token("u1")) == (401, "PSYNC_S2101")
    finally:
        await asyncio.to_thread(service.stop)
        await runner.cleanup()
