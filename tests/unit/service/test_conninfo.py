"""From addresses to connection strings: TLS files, names of certificates, and addresses that are refused."""

from __future__ import annotations

import contextlib
import socket
import stat
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from syncline.auth.addresses import read_address_rules
from syncline.errors import ConfigError
from syncline.service.addresses import DatabaseAddress
from syncline.service.conninfo import conninfo, system_certificates


def address(host: str = "db.example", /, **overrides: object) -> DatabaseAddress:
    fields: dict[str, object] = {
        "host": host, "port": 5432, "user": "app", "password": "p w'", "database": "d", "sslmode": "disable",
        "cacert": None, "connect_timeout_s": 7,
    }  # fmt: skip
    return DatabaseAddress(**(fields | overrides))  # pyright: ignore[reportArgumentType]  # fields by name


def rejecting(*ranges: str) -> dict[str, object]:
    return {"allowed": read_address_rules(block_local=False, ranges=ranges)}


def parts(where: DatabaseAddress) -> dict[str, object]:
    with contextlib.ExitStack() as closing:
        return dict(conninfo_to_dict(conninfo(where, closing)))


def test_without_tls_nothing_is_looked_up_and_no_certificate_is_named() -> None:
    assert parts(address()) == {
        "host": "db.example", "port": "5432", "user": "app", "password": "p w'", "dbname": "d", "sslmode": "disable",
        "connect_timeout": "7",
    }  # fmt: skip


@pytest.mark.requirement(222)
def test_certificates_of_the_configuration_are_private_files_while_the_service_runs() -> None:
    texts = {"cacert": "-----BEGIN A", "client_certificate": "-----BEGIN B", "client_private_key": "-----BEGIN C\n"}
    with contextlib.ExitStack() as closing:
        found = conninfo_to_dict(conninfo(address(sslmode="verify-ca", **texts), closing))
        files = [Path(str(found[name])) for name in ("sslrootcert", "sslcert", "sslkey")]
        assert [path.read_text() for path in files] == ["-----BEGIN A\n", "-----BEGIN B\n", "-----BEGIN C\n"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert not any(path.exists() for path in files)


@pytest.mark.requirement(222)
def test_without_cacert_the_authorities_of_the_system_are_trusted(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("x")
    assert system_certificates({"SSL_CERT_FILE": str(bundle)}) == str(bundle)
    named = system_certificates({})
    assert named == "system" or Path(named).is_file()
    assert parts(address(sslmode="verify-full"))["sslrootcert"] == system_certificates()


def test_the_name_of_the_certificate_may_be_another_than_the_host_s() -> None:
    found = parts(address("127.0.0.1", sslmode="verify-full", tls_servername="db.internal"))
    assert (found["host"], found["hostaddr"]) == ("db.internal", "127.0.0.1")


@pytest.mark.parametrize("ranges", [("local",), ("127.0.0.0/8", "::1/128")])
def test_a_host_in_a_rejected_range_is_refused_by_its_resolved_address(ranges: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="reject_ip_ranges does not allow") as refused:
        parts(address("localhost", **rejecting(*ranges)))
    assert refused.value.error_code == "PSYNC_S1109"


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, *, type: int) -> list[object]:  # noqa: A002 - its name there
        assert (host, port, type) == ("db.example", 5432, socket.SOCK_STREAM)
        return [(0, 0, 0, "", (ip, port)) for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = parts(address(**rejecting("10.0.0.0/8")))
    assert (found["host"], found["hostaddr"]) == ("db.example,db.example", "192.0.2.1,192.0.2.2")


def test_a_name_that_cannot_be_looked_up_is_refused_where_its_address_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_keywords: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert parts(address())["host"] == "db.example"
    with pytest.raises(ConfigError, match="cannot be looked up"):
        parts(address(**rejecting("local")))
