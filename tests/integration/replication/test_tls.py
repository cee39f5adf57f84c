"""`sslmode` and `cacert`, for the source and for storage: encrypted where asked for, and refused with what to do where it does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.errors import Retry, SourceNotReady, StorageUnavailable, SynclineError
from syncline.replication.postgres.source import PostgresSource
from syncline.service.addresses import DatabaseAddress
from syncline.service.conninfo import conninfo
from syncline.storage.postgres import PostgresStorage
from syncline.testing.postgres import ScratchDatabase
from tests.support.tls_server import CertificateAuthority, postgres_with_tls

APPLICATION = "syncline/test"
RIGHT, OTHER = CertificateAuthority.new(), CertificateAuthority.new("Another authority")


@pytest.fixture(scope="module")
def server() -> Generator[EmbeddedPostgres]:
    """A server with TLS, whose certificate is for localhost; a publication, and a role that needs TLS."""
    with postgres_with_tls(RIGHT) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
            connection.execute("CREATE ROLE tls_only LOGIN SUPERUSER; CREATE ROLE by_certificate LOGIN SUPERUSER")
        yield server


def address(
    port: int, sslmode: str, cacert: str | None = None, *, host: str = "localhost", user: str = "postgres"
) -> DatabaseAddress:
    """An address as the configuration gives it."""
    return DatabaseAddress(host, port, user, "", "postgres", sslmode, cacert, 10)


@asynccontextmanager
async def conninfo_of(where: DatabaseAddress) -> AsyncGenerator[str]:
    """The connection string that the service makes of it."""
    async with AsyncExitStack() as closing:
        yield conninfo(where, closing)


async def open_source(text: str) -> None:
    """Connect as replication does, stream included."""
    source = PostgresSource(text, application_name=APPLICATION)
    try:
        await source.check()
        await source.create_slot("tls")
        stream = source.stream("tls", (), "")
        first = asyncio.ensure_future(anext(aiter(stream)))
        await source.emit_marker()
        await first
        await stream.aclose()
        await source.drop_slot("tls")
    finally:
        await source.close()


async def open_storage(text: str) -> None:
    """Connect as storage does, to write and to read."""
    storage = PostgresStorage(text)
    writer = storage.open_writer()
    writer.close()
    reader = storage.open_reader()
    await reader.active_version()
    await reader.close()


async def open_both(where: DatabaseAddress) -> None:
    """Connect as the service does to its source and to its storage."""
    async with conninfo_of(where) as text:
        await open_source(text)
        await open_storage(text)


@pytest.mark.requirement(222)
@pytest.mark.parametrize(
    ("sslmode", "cacert", "host"),
    [
        ("disable", None, "127.0.0.1"),
        ("verify-ca", RIGHT.pem, "127.0.0.1"),  # the certificate is for localhost: this mode does not look at the name
        ("verify-ca", RIGHT.pem, "localhost"),
        ("verify-full", RIGHT.pem, "localhost"),
    ],
)
async def test_each_mode_connects_to_the_source_and_to_storage(
    server: EmbeddedPostgres, sslmode: str, cacert: str | None, host: str
) -> None:
    await open_both(address(server.port, sslmode, cacert, host=host))
    if sslmode != "disable":  # the server itself says whether it was encrypted: it lets this role in over TLS only
        await open_both(address(server.port, sslmode, cacert, host=host, user="tls_only"))


async def test_a_server_reached_under_another_name_is_checked_for_the_one_in_its_certificate(
    server: EmbeddedPostgres,
) -> None:
    where = address(server.port, "verify-full", RIGHT.pem, host="127.0.0.1")
    await open_both(replace(where, tls_servername="localhost"))


async def test_a_certificate_of_ours_is_shown_to_the_server(server: EmbeddedPostgres) -> None:
    where = address(server.port, "verify-full", RIGHT.pem, user="by_certificate")
    certificate, key = (pem.decode() for pem in RIGHT.issue("by_certificate"))
    await open_both(replace(where, client_certificate=certificate, client_private_key=key))
    async with conninfo_of(where) as without:
        with pytest.raises(SourceNotReady) as raised:
            await open_source(without)
    assert_clear(raised.value, "valid client certificate", "client_private_key")


@pytest.mark.requirement(222)
@pytest.mark.parametrize(
    ("sslmode", "cacert", "host", "user", "told", "advice"),
    [
        ("verify-ca", OTHER.pem, "localhost", "postgres", "certificate verify failed", "cacert"),
        ("verify-full", OTHER.pem, "localhost", "postgres", "certificate verify failed", "cacert"),
        ("verify-full", None, "localhost", "postgres", "certificate verify failed", "cacert"),
        ("verify-full", RIGHT.pem, "127.0.0.1", "postgres", 'host name "127.0.0.1"', "verify-ca"),
        ("verify-full", "no certificate", "localhost", "postgres", "could not read root certificate", "PEM"),
        ("disable", None, "127.0.0.1", "tls_only", "no encryption", "verify-full"),
    ],
    ids=["ca-other", "full-other", "full-system", "full-name", "no-certificate", "disable-refused"],
)
async def test_what_does_not_fit_is_refused_with_what_to_do(
    server: EmbeddedPostgres, sslmode: str, cacert: str | None, host: str, user: str, told: str, advice: str
) -> None:
    where = address(server.port, sslmode, cacert, host=host, user=user)
    async with conninfo_of(where) as text:
        with pytest.raises(SourceNotReady) as of_source:
            await open_source(text)
        with pytest.raises(StorageUnavailable) as of_storage:
            await open_storage(text)
    assert of_source.value.retry is Retry.OPERATOR
    for error in (of_source.value, of_storage.value):
        assert_clear(error, told, advice)


@pytest.mark.requirement(222)
@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
async def test_a_server_without_tls_is_never_spoken_to_in_the_clear(
    postgres_database: ScratchDatabase, sslmode: str
) -> None:
    port = int(postgres_database.dsn.rpartition(":")[2].partition("/")[0])
    async with conninfo_of(address(port, sslmode, RIGHT.pem)) as text:
        with pytest.raises(SourceNotReady) as of_source:
            await open_source(text)
        with pytest.raises(StorageUnavailable) as of_storage:
            await open_storage(text)
    for error in (of_source.value, of_storage.value):
        assert_clear(error, "server does not support SSL", "sslmode: disable")


def assert_clear(error: SynclineError, told: str, advice: str) -> None:
    """It says what happened and what to do, and no certificate."""
    assert told in error.message
    assert advice in error.hint
    assert "BEGIN" not in error.message
