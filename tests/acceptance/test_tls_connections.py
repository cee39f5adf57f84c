"""`sslmode` and `cacert` in the configuration: every connection of the service is encrypted, or it says what is wrong."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.acceptance.conftest import PUBLICATION, SOURCE_SQL, SYNC_CONFIG
from tests.acceptance.devices import connected_device, shows
from tests.support.tls_server import CertificateAuthority, postgres_with_tls

RIGHT, OTHER = CertificateAuthority.new(), CertificateAuthority.new("Another authority")
IN_THE_CLEAR = """
SELECT a.application_name FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
 WHERE a.application_name LIKE 'syncline%' AND s.ssl IS NOT TRUE
"""
ENCRYPTED = """
SELECT DISTINCT a.datname FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
 WHERE a.application_name LIKE 'syncline%' AND s.ssl AND s.version LIKE 'TLSv1%' ORDER BY 1
"""


@pytest.fixture(scope="module")
def server() -> Generator[EmbeddedPostgres]:
    """Source and storage on a server whose certificate is for localhost."""
    with postgres_with_tls(RIGHT) as server:
        ScratchDatabase(server.dsn(), "postgres").execute(f"{SOURCE_SQL}; {PUBLICATION}")
        ScratchDatabase(server.dsn(), "postgres").execute("CREATE DATABASE buckets")
        yield server


def configured(folder: Path, server: EmbeddedPostgres, *, source_ca: str, storage_ca: str) -> ServiceProcess:
    """A service that checks both certificates and the name in them."""

    def database(name: str, cacert: str) -> dict[str, object]:
        address = f"postgresql://postgres@localhost:{server.port}/{name}"
        return {"type": "postgresql", "uri": address, "sslmode": "verify-full", "cacert": cacert}

    return ServiceProcess(
        folder,
        dsn="",
        sync_config=SYNC_CONFIG,
        replication={"connections": [database("postgres", source_ca)]},
        storage=database("buckets", storage_ca),
    )


@pytest.mark.requirement(222)
async def test_every_connection_of_the_service_is_encrypted(server: EmbeddedPostgres, tmp_path: Path) -> None:
    source = ScratchDatabase(server.dsn(), "postgres")
    source.execute("INSERT INTO lists VALUES ('l1', 'copied', 'u1')")
    with configured(tmp_path / "service", server, source_ca=RIGHT.pem, storage_ca=RIGHT.pem) as service:
        async with connected_device(service, tmp_path / "client.db") as db:
            await shows(db, source)
            source.execute("INSERT INTO lists VALUES ('l2', 'streamed', 'u1')")
            await shows(db, source)
            assert source.execute(IN_THE_CLEAR) == []
            assert source.execute(ENCRYPTED) == [("buckets",), ("postgres",)]
            [(walsenders,)] = source.execute(
                "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl"
            )
            assert walsenders == 1


@pytest.mark.requirement(222)
def test_a_storage_whose_authority_is_unknown_ends_the_start(server: EmbeddedPostgres, tmp_path: Path) -> None:
    service = configured(tmp_path / "service", server, source_ca=RIGHT.pem, storage_ca=OTHER.pem)
    service.start(wait_ready=False)
    assert service.wait() != 0
    assert "certificate verify failed" in service.log
    assert "into cacert" in service.log
    assert "Traceback" not in service.log


@pytest.mark.requirement(222)
def test_a_source_whose_authority_is_unknown_is_told_and_tried_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    service = configured(tmp_path / "service", server, source_ca=OTHER.pem, storage_ca=RIGHT.pem)
    service.start(wait_ready=False)
    try:
        service.wait_log("certificate verify failed")
        service.wait_log("into cacert")
        assert service.running
    finally:
        service.stop()
    assert "Traceback" not in service.log
