"""`syncline doctor`: every cause that it knows is produced for real, one at a time, and named by it first."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
import yaml

from syncline.cli.doctor.checks import CHECKS
from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK
from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET, ServiceProcess, free_port, token
from tests.acceptance.conftest import PUBLICATION, SOURCE_SQL, SYNC_CONFIG
from tests.acceptance.doctor_stack import ADMIN_TOKEN, Diagnosed, diagnosed, project, spoiling
from tests.support.command_line import run_command_line

API = {"tokens": [ADMIN_TOKEN]}


@pytest.fixture(scope="module")
def healthy_source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(f"{SOURCE_SQL}; {PUBLICATION}")
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def healthy(healthy_source: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    """A stack that works; nothing of it is ever changed."""
    folder = tmp_path_factory.mktemp("healthy") / "service"
    with ServiceProcess(folder, dsn=healthy_source.dsn, sync_config=SYNC_CONFIG, api=API) as process:
        yield process


@pytest.fixture
def broken_source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A source that is set up, for one test to break."""
    postgres_database.execute(f"{SOURCE_SQL}; {PUBLICATION}")
    return postgres_database


def source_section(dsn: str) -> dict[str, object]:
    return {"connections": [{"type": "postgresql", "uri": dsn, "sslmode": "disable"}]}


def of_source(folder: Path, healthy: ServiceProcess, dsn: str) -> Diagnosed:
    """What doctor says of another source, with the healthy stack's service."""
    return diagnosed(project(folder, healthy, replication=source_section(dsn)))


@contextmanager
def role(database: ScratchDatabase, options: str) -> Generator[str]:
    """A role that may read the tables, by its DSN."""
    name = f"doctor_{uuid.uuid4().hex[:8]}"
    database.execute(f"CREATE ROLE {name} LOGIN {options}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    try:
        yield re.sub(r"//[^@]+@", f"//{name}@", database.dsn)
    finally:
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def signed(**claims: object) -> str:
    now_s = int(time.time())
    payload = {"sub": "u1", "aud": AUDIENCE, "iat": now_s, "exp": now_s + 600, **claims}
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, SECRET, algorithm="HS256", headers={"kid": KEY_ID})


# -- a healthy stack


@pytest.mark.requirement(189, 209)
def test_a_healthy_stack_passes_every_check_and_prints_each(healthy: ServiceProcess) -> None:
    found = diagnosed(healthy.folder)
    assert found.code == EXIT_OK
    not_ok = {name: found.outcome(name) for name in found.checks if found.outcome(name) != "ok"}
    assert not_ok == {"idle-stream": "skipped: --keepalive was not given: it takes 20 seconds"}
    told = run_command_line(healthy.folder, "doctor", "-c", "service.yaml", "--token", token("u1"))
    assert told.code == EXIT_OK
    assert told.out.rstrip().endswith("Nothing is wrong with what was looked at; 1 skipped.")


def test_what_cannot_be_looked_at_is_skipped_with_the_reason(healthy: ServiceProcess, tmp_path: Path) -> None:
    found = diagnosed(tmp_path, "--api-url", healthy.base_url, bearer="")
    assert (found.first, found.code) == (None, EXIT_OK)
    assert "there is no powersync/service.yaml here" in found.outcome("config")
    assert found.outcome("wal-level") == found.outcome("config")  # the reason goes down to what hangs on it
    assert "no --token was given" in found.outcome("token")
    assert "PS_ADMIN_TOKEN" in found.outcome("admin-api")
    assert found.outcome("endpoint") == found.outcome("cors") == "ok"
    unset = project(tmp_path / "unset", healthy)
    text = (unset / "service.yaml").read_text()
    (unset / "service.yaml").write_text(re.sub(r"uri: .*", "uri: !env PS_SOURCE_OF_NOBODY", text))
    assert diagnosed(unset).outcome("publication") == "skipped: PS_SOURCE_OF_NOBODY not set here"


# -- the configuration and the source


def test_a_configuration_that_cannot_be_used(healthy: ServiceProcess, tmp_path: Path) -> None:
    found = diagnosed(project(tmp_path, healthy, port="many"))
    assert (found.first, found.code) == ("config", EXIT_FAILED)
    assert "port must be a number" in found.problem
    assert found.outcome("source") == "skipped: config has failed"
    assert found.outcome("endpoint").startswith("skipped: nothing names the endpoint")


def test_a_source_that_is_not_there(healthy: ServiceProcess, tmp_path: Path) -> None:
    found = of_source(tmp_path, healthy, f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x")
    assert found.first == "source"
    assert "topsecret" not in str(found.checks)
    assert found.outcome("row-security") == "skipped: source has failed"


@pytest.mark.requirement(176, 189)
def test_a_source_without_a_logical_log_and_one_without_room_for_a_slot(
    healthy: ServiceProcess, tmp_path: Path
) -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica", "max_slot_wal_keep_size": "10GB"}) as server:
        ScratchDatabase(server.dsn(), "postgres").execute(f"{SOURCE_SQL}; {PUBLICATION}")
        found = of_source(tmp_path, healthy, server.dsn())
    assert found.first == "wal-level"
    assert "wal_level is replica" in found.problem
    assert "ALTER SYSTEM SET wal_level = 'logical';" in found.fix
    assert "restart" in found.fix
    assert found.outcome("slot") == "skipped: wal-level has failed"


def test_a_role_that_may_not_replicate(broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path) -> None:
    with role(broken_source, "BYPASSRLS") as dsn:
        found = of_source(tmp_path, healthy, dsn)
    assert found.first == "rights"
    assert re.search(r"ALTER ROLE doctor_\w+ WITH REPLICATION;", found.fix)
    with role(broken_source, "REPLICATION BYPASSRLS") as dsn:
        broken_source.execute(f"REVOKE SELECT ON lists FROM {urlsplit(dsn).username}")
        found = of_source(tmp_path, healthy, dsn)
        assert found.first == "rights"
        broken_source.execute(found.fix)
        assert of_source(tmp_path, healthy, dsn).outcome("rights") == "ok"


@pytest.mark.requirement(189, 245)
def test_a_publication_that_is_missing_or_lacks_a_table(
    broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path
) -> None:
    broken_source.execute("DROP PUBLICATION powersync")
    found = of_source(tmp_path, healthy, broken_source.dsn)
    assert (found.first, "PSYNC_S1141" in found.problem) == ("publication", True)
    assert found.fix == "CREATE PUBLICATION powersync FOR ALL TABLES;"
    broken_source.execute("CREATE TABLE other (id text PRIMARY KEY); CREATE PUBLICATION powersync FOR TABLE other")
    found = of_source(tmp_path, healthy, broken_source.dsn)
    assert found.first == "publication"
    assert found.fix == 'ALTER PUBLICATION powersync ADD TABLE "public"."lists";'
    broken_source.execute(found.fix)
    assert of_source(tmp_path, healthy, broken_source.dsn).outcome("publication") == "ok"


@pytest.mark.requirement(189)
def test_rows_that_row_level_security_hides(
    broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path
) -> None:
    broken_source.execute("ALTER TABLE lists ENABLE ROW LEVEL SECURITY")
    with role(broken_source, "REPLICATION") as dsn:
        # A table that nobody syncs is nobody's trouble, though the role may not even read it.
        broken_source.execute("CREATE TABLE internal (id text); ALTER TABLE internal ENABLE ROW LEVEL SECURITY")
        found = of_source(tmp_path, healthy, dsn)
        assert found.first == "row-security"
        assert "public.lists" in found.problem
        assert "internal" not in found.problem
        assert re.search(r"ALTER ROLE doctor_\w+ BYPASSRLS;", found.fix)
        assert found.outcome("rights") == "ok"
        broken_source.execute(found.fix)
        assert of_source(tmp_path, healthy, dsn).outcome("row-security") == "ok"


def test_a_table_without_a_replica_identity(
    broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path
) -> None:
    broken_source.execute("ALTER TABLE lists DROP CONSTRAINT lists_pkey")
    found = of_source(tmp_path, healthy, broken_source.dsn)
    assert found.first == "replica-identity"
    assert 'ALTER TABLE "public"."lists" REPLICA IDENTITY FULL;' in found.fix
    broken_source.execute(found.fix.splitlines()[-1])
    assert of_source(tmp_path, healthy, broken_source.dsn).outcome("replica-identity") == "ok"


def test_a_source_whose_clock_is_wrong(broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path) -> None:
    """The database's own functions are put behind one that is three hours late."""
    broken_source.execute(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS 'SELECT pg_catalog.clock_timestamp() - interval ''3 hours''';"
        f"ALTER DATABASE {broken_source.name} SET search_path = public, pg_catalog"
    )
    found = of_source(tmp_path, healthy, broken_source.dsn)
    assert found.first == "source-clock"
    assert re.search(r"source is (3 hours|2 hours 59 minutes) behind this machine's", found.problem)


# -- storage and slots


def test_a_storage_that_cannot_be_used(healthy: ServiceProcess, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = project(tmp_path, healthy, storage={"type": "sqlite", "path": "file/storage"})
    assert diagnosed(folder).first == "storage"
    damaged = project(tmp_path / "damaged", healthy)
    (damaged / "storage").mkdir()
    (damaged / "storage/storage.db").write_bytes(b"no database" * 200)
    assert diagnosed(damaged).first == "storage"
    nobody = f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x"
    away = project(tmp_path, healthy, storage={"type": "postgresql", "uri": nobody, "sslmode": "disable"})
    found = diagnosed(away)
    assert found.first == "storage"
    assert "topsecret" not in str(found.checks)


@pytest.mark.requirement(189)
def test_slots_that_are_all_taken_and_one_that_is_lost(healthy: ServiceProcess, tmp_path: Path) -> None:
    settings = {"max_replication_slots": "1", "max_slot_wal_keep_size": "1MB", "wal_keep_size": "0"}
    with EmbeddedPostgres(settings=settings) as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(f"{SOURCE_SQL}; {PUBLICATION}")
        database.execute("SELECT pg_create_logical_replication_slot('powersync_1_abcd', 'pgoutput')")
        found = of_source(tmp_path, healthy, server.dsn())
        assert found.first == "slot"
        assert "All 1 replication slots" in found.problem
        assert "powersync_1_abcd is another sync service's" in found.checks["slot"]["notes"][0]
        assert database.execute("SELECT slot_name FROM pg_replication_slots") == [("powersync_1_abcd",)]
        database.execute("SELECT pg_drop_replication_slot('powersync_1_abcd')")
        database.execute("SELECT pg_create_logical_replication_slot('syncline_1', 'pgoutput')")
        for _ in range(3):
            database.execute("SELECT pg_logical_emit_message(false, 'x', 'x')")
            database.execute("SELECT pg_switch_wal()")
        database.execute("CHECKPOINT")
        found = of_source(tmp_path, healthy, server.dsn())
    assert found.first == "slot"
    assert "PSYNC_S1146" in found.problem


@pytest.mark.requirement(189)
def test_a_service_that_does_not_run_a_slot_that_nobody_reads_and_one_that_was_dropped(
    broken_source: ScratchDatabase, healthy: ServiceProcess, tmp_path: Path
) -> None:
    service = ServiceProcess(tmp_path / "own", dsn=broken_source.dsn, sync_config=SYNC_CONFIG, api=API)
    with service:
        pass
    stopped = diagnosed(service.folder)
    assert stopped.first == "service"
    assert "syncline start -c service.yaml" in stopped.fix
    assert stopped.outcome("slot-read") == "skipped: service has failed"
    unread = diagnosed(service.folder, "--api-url", healthy.base_url)
    assert unread.first == "slot-read"
    [(slot,)] = broken_source.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active"
    )
    assert slot in unread.problem
    broken_source.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    dropped = diagnosed(service.folder)
    assert dropped.first == "slot"
    assert f"{slot}, which storage builds on, is not there" in dropped.problem


# -- the sync config and the service


def test_a_sync_config_that_cannot_be_used_or_reads_no_table(healthy: ServiceProcess, tmp_path: Path) -> None:
    folder = project(tmp_path, healthy)
    (folder / "sync-config.yaml").write_text(SYNC_CONFIG.replace("SELECT *", "SELEC *"))
    broken = diagnosed(folder)
    assert broken.first == "sync-config"
    assert "Line 6" in broken.problem
    (folder / "sync-config.yaml").write_text(SYNC_CONFIG.replace("FROM lists", "FROM listen"))
    nowhere = diagnosed(folder)
    assert nowhere.first == "sync-config"
    assert "public.listen" in nowhere.problem


def test_an_address_that_is_no_sync_service(healthy: ServiceProcess) -> None:
    with spoiling("no-service", healthy) as backend:
        found = diagnosed(healthy.folder, "--api-url", backend.url)
        assert found.first == "service"
        assert "is no sync service" in found.problem
        found = diagnosed(healthy.folder, "--endpoint", backend.url)
        assert found.first == "endpoint"
        assert "not of the app's backend" in found.fix
    assert diagnosed(healthy.folder, "--endpoint", f"http://127.0.0.1:{free_port()}").first == "endpoint"
    assert diagnosed(healthy.folder, "--endpoint", "http://name.invalid").first == "endpoint"
    for text in ("sync.example.com", "http://127.0.0.1:many", "ftp://127.0.0.1"):
        assert "this is no address" in diagnosed(healthy.folder, "--endpoint", text).problem
    secure = healthy.base_url.replace("http:", "https:")
    assert "TLS failed" in diagnosed(healthy.folder, "--endpoint", secure).problem


def test_an_address_where_something_else_than_http_answers(
    healthy: ServiceProcess, healthy_source: ScratchDatabase
) -> None:
    port = urlsplit(healthy_source.dsn).port
    found = diagnosed(healthy.folder, "--api-url", f"http://127.0.0.1:{port}")
    assert found.first == "service"
    assert "cannot be reached" in found.problem


def test_nothing_to_look_at_is_a_failure(tmp_path: Path) -> None:
    done = run_command_line(tmp_path, "doctor")
    assert done.code == EXIT_FAILED
    assert "There is nothing to look at" in done.err


def test_people_are_told_the_first_cause_last(healthy: ServiceProcess) -> None:
    done = run_command_line(healthy.folder, "doctor", "-c", "service.yaml", "--token", token("u1", audience="nope"))
    assert done.code == EXIT_FAILED
    assert "✗ The token is for this service [token-audience]" in done.out
    assert "First cause: token-audience" in done.out.split("\n\n")[-1]


def test_a_service_that_waits_for_a_sync_config(broken_source: ScratchDatabase, tmp_path: Path) -> None:
    """Its readiness probe says no; without probes, the admin API does."""
    for cause, healthcheck in {"probes": "{}", "first-copy": "{probes: {use_filesystem: true}}"}.items():
        service = ServiceProcess(tmp_path / cause, dsn=broken_source.dsn, sync_config=SYNC_CONFIG, api=API)
        written = yaml.safe_load((service.folder / "service.yaml").read_text())
        del written["sync_config"]
        (service.folder / "service.yaml").write_text(f"{yaml.safe_dump(written)}healthcheck: {healthcheck}\n")
        service.start(wait_ready=False)
        try:
            service.wait_log("waiting for one to be deployed")
            service.wait_log(f":{service.port}")
            found = diagnosed(service.folder)
        finally:
            service.stop()
        assert found.first == cause, found.problem


def test_a_token_for_the_admin_api_that_is_none(healthy: ServiceProcess, tmp_path: Path) -> None:
    found = diagnosed(tmp_path, "--api-url", healthy.base_url, PS_ADMIN_TOKEN="none-of-theirs")
    assert found.first == "admin-api"
    assert "none of the service's api.tokens" in found.fix
    assert "none-of-theirs" not in str(found.checks)


def test_an_error_that_the_service_reports(broken_source: ScratchDatabase, tmp_path: Path) -> None:
    """Without the configuration the source cannot be asked: the service tells what is wrong with it."""
    with ServiceProcess(tmp_path / "own", dsn=broken_source.dsn, sync_config=SYNC_CONFIG, api=API) as service:
        broken_source.execute("DROP PUBLICATION powersync")
        found = diagnosed(tmp_path, "--api-url", service.base_url, PS_ADMIN_TOKEN=ADMIN_TOKEN)
    assert found.first == "replication"
    assert "PSYNC_S1141" in found.problem


# -- keys, clocks, tokens


@pytest.mark.requirement(114, 189)
def test_keys_that_cannot_be_fetched_and_an_audience_that_is_not_set(healthy: ServiceProcess, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/jwks"
    unreachable = diagnosed(project(tmp_path, healthy, client_auth={"jwks_uri": nobody, "audience": [AUDIENCE]}))
    assert unreachable.first == "keys"
    assert nobody in unreachable.problem
    assert "host.docker.internal" in unreachable.fix
    assert unreachable.outcome("token-signature") == "skipped: keys has failed"
    keyless = diagnosed(project(tmp_path, healthy, client_auth={"audience": [AUDIENCE]}))
    assert keyless.first == "keys"
    no_audience = diagnosed(project(tmp_path, healthy, client_auth={"jwks_uri": nobody}))
    assert (no_audience.first, "audience" in no_audience.fix) == ("keys", True)


def test_a_service_whose_clock_is_wrong(healthy: ServiceProcess) -> None:
    with spoiling("clock", healthy, date_s=time.time() + 2 * 3600) as proxy:
        found = diagnosed(healthy.folder, "--api-url", proxy.url)
    assert found.first == "service-clock"
    assert re.search(r"is (2 hours|1 hour 59 minutes) ahead of", found.problem)


@pytest.mark.requirement(107, 189)
def test_a_token_for_another_audience_names_both(healthy: ServiceProcess) -> None:
    found = diagnosed(healthy.folder, bearer=token("u1", audience="https://sync.example.com:8443"))
    assert found.first == "token-audience"
    assert "PSYNC_S2105" in found.problem
    assert "https://sync.example.com:8443" in found.problem
    assert AUDIENCE in found.problem
    assert found.outcome("token-signature") == "ok"
    assert "PSYNC_S2105" in found.checks["stream"]["problem"]  # the service itself says the same


def test_other_tokens_that_the_service_refuses(healthy: ServiceProcess) -> None:
    now_s = int(time.time())
    other_key = jwt.encode({"sub": "u1", "aud": AUDIENCE, "iat": now_s, "exp": now_s + 60}, b"x" * 32, "HS256")
    causes = {
        "not-a-token": "token",
        other_key: "token-signature",
        signed(sub=None): "token-claims",
        signed(exp=now_s - 3600, iat=now_s - 7200): "token-times",
        signed(exp=now_s + 2 * 86_400): "token-times",
        signed(iat=now_s + 3600, exp=now_s + 7200): "token-times",
    }
    for bearer, cause in causes.items():
        found = diagnosed(healthy.folder, bearer=bearer)
        assert (found.first, found.code) == (cause, EXIT_FAILED), found.problem
        assert found.outcome("stream") == "failed"


# -- what stands before the service


@pytest.mark.requirement(189)
def test_a_proxy_that_holds_lines_back(healthy: ServiceProcess) -> None:
    with spoiling("buffers", healthy) as proxy:
        found = diagnosed(healthy.folder, "--endpoint", proxy.url, "--wait", "3")
    assert found.first == "stream"
    assert "a proxy before it holds lines back" in found.problem
    assert "proxy_buffering off;" in found.fix
    assert found.outcome("web-socket") == found.outcome("cors") == "ok"


def test_a_proxy_that_ends_silent_streams(healthy: ServiceProcess) -> None:
    with spoiling("cuts-idle", healthy) as proxy:
        found = diagnosed(healthy.folder, "--endpoint", proxy.url, "--keepalive")
    assert found.first == "idle-stream"
    assert "was ended after" in found.problem
    assert "proxy_read_timeout" in found.fix


@pytest.mark.parametrize(
    ("kind", "cause", "says"),
    [
        ("no-upgrade", "web-socket", "HTTP"),
        ("no-preflight", "cors", "HTTP 405"),
        ("twice", "cors", "comes twice"),
    ],
)
def test_a_proxy_that_spoils_what_comes_through(healthy: ServiceProcess, kind: str, cause: str, says: str) -> None:
    with spoiling(kind, healthy) as proxy:
        found = diagnosed(healthy.folder, "--endpoint", proxy.url)
    assert found.first == cause
    assert says in found.problem


def test_every_check_is_the_first_cause_of_some_test() -> None:
    """Where a name stands beside `outcome` it is looked at only: those do not count."""
    text = re.sub(r"outcome\([^)]*\)", "", Path(__file__).read_text("utf-8"))
    assert [check.name for check in CHECKS if f'"{check.name}"' not in text] == []
