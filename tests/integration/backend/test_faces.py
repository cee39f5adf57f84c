"""One contract for all faces: what a client asks of one framework, it gets of every other. Over HTTP and a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy
from syncline.backend.http.request_limits import RequestLimits
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.support.backend_faces import FACES, LOGIN, Ask
from tests.unit.backend.asgi import operation, upload

BODY_BYTES_MAX = 5_000
SCHEMA_SQL = "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text NOT NULL)"
AUTH = BackendAuth(
    TokenSigner.from_secret(b"0" * 32, kid="k"), audience="tests", service_url="http://127.0.0.1:8080", lifetime_s=3600
)
BEARER = {"authorization": f"Bearer {AUTH.issue(AuthenticatedUser('ann')).token}", "content-type": "application/json"}


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    """One database for all faces."""
    database = postgres_server.create()
    database.execute(SCHEMA_SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module", params=FACES)
def ask(request: pytest.FixtureRequest, database: ScratchDatabase) -> Generator[Ask]:
    """One face, served for the whole module."""
    backend = SyncBackend(
        persister=PostgresPersister(database.dsn),
        auth=AUTH,
        tables={"lists": TablePolicy(owner="owner_id")},
        limits=RequestLimits(body_bytes=BODY_BYTES_MAX),
    )
    with FACES[request.param](backend) as asking:
        yield asking


def rows(database: ScratchDatabase) -> list[tuple[object, ...]]:
    return database.execute("SELECT id, name, owner_id FROM lists ORDER BY id")


@pytest.fixture(autouse=True)
def _empty(database: ScratchDatabase) -> None:
    database.execute("DELETE FROM lists")


@pytest.mark.requirement(151, 154)
def test_an_upload_is_committed_when_its_answer_comes(ask: Ask, database: ScratchDatabase) -> None:
    body = upload([operation(row_id="l1", op_data={"name": "Milk", "owner_id": "bob"})])
    answer = ask("POST", "/api/data", BEARER, body)
    assert (answer.status, answer.json()["results"]) == (200, [{"status": "success"}])
    assert answer.headers["content-type"] == "application/json"
    assert rows(database) == [("l1", "Milk", "ann")]


def test_the_login_of_the_app_gets_a_token_that_uploads(ask: Ask, database: ScratchDatabase) -> None:
    assert ask("GET", "/api/auth/token", {}, b"").status == 401
    given = ask("GET", "/api/auth/token?user_id=eve", {LOGIN: "kim"}, b"")
    assert (given.status, given.headers["cache-control"]) == (200, "no-store")
    headers = BEARER | {"authorization": f"Bearer {given.json()['token']}"}
    assert ask("POST", "/api/data", headers, upload([operation(row_id="l1")])).status == 200
    assert rows(database) == [("l1", None, "kim")]
    assert ask("GET", "/api/powersync/config", {LOGIN: "kim"}, b"").json()["userId"] == "kim"


@pytest.mark.requirement(156)
def test_who_has_no_token_gets_nothing(ask: Ask, database: ScratchDatabase) -> None:
    answer = ask("POST", "/api/data", {"content-type": "application/json"}, upload([operation()]))
    assert (answer.status, answer.json()["code"]) == (401, "PSYNC_S2106")
    assert ask("POST", "/api/data", BEARER | {"authorization": "Bearer x"}, upload([operation()])).status == 401
    assert rows(database) == []


def test_a_body_above_the_limit_is_refused_however_it_comes(ask: Ask, database: ScratchDatabase) -> None:
    """A face stops reading: a body without a length is counted as it arrives."""
    full = upload([operation(row_id="l1", op_data={"name": "x" * BODY_BYTES_MAX})])
    assert ask("POST", "/api/data", BEARER, full).status == 413
    fitting = upload([operation(row_id="l1")]).ljust(BODY_BYTES_MAX)
    assert ask("POST", "/api/data", BEARER, fitting).status == 200
    assert rows(database) == [("l1", None, "ann")]


@pytest.mark.parametrize("ask", sorted(set(FACES) - {"django over wsgi"}), indirect=True)  # its server reads no chunks
def test_a_body_without_a_length_is_counted_as_it_arrives(ask: Ask, database: ScratchDatabase) -> None:
    body = upload([operation(row_id="l1", op_data={"name": "x" * BODY_BYTES_MAX})])
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert ask("POST", "/api/data", BEARER, parts).status == 413
    assert ask("POST", "/api/data", BEARER, [b" ", upload([operation(row_id="l2")])]).status == 200
    assert rows(database) == [("l2", None, "ann")]


def test_a_compressed_body_is_not_accepted(ask: Ask, database: ScratchDatabase) -> None:
    headers = BEARER | {"content-encoding": "gzip"}
    assert ask("POST", "/api/data", headers, upload([operation()])).status == 415
    assert rows(database) == []


def test_other_paths_and_methods_are_not_served(ask: Ask) -> None:
    assert ask("GET", "/api/nothing", BEARER, b"").status == 404
    answer = ask("POST", "/api/auth/jwks", BEARER, b"{}")
    assert (answer.status, answer.headers["allow"].replace(", HEAD", "").replace("HEAD, ", "")) == (405, "GET")


def test_a_path_may_hold_an_id_with_any_letters(ask: Ask, database: ScratchDatabase) -> None:
    assert ask("PUT", "/api/data/lists/a%20%C3%A4%2Fb", BEARER, json.dumps({"name": "n"}).encode()).status < 300
    assert rows(database) == [("a ä/b", "n", "ann")]


def test_keys_are_for_everybody(ask: Ask) -> None:
    answer = ask("GET", "/api/auth/jwks", {}, b"")
    assert (answer.status, answer.json()) == (200, {"keys": []})


def test_uploads_at_the_same_time_use_one_backend(ask: Ask, database: ScratchDatabase) -> None:
    """The pool of connections lives in one event loop, whatever threads and loops the requests come from."""

    def one(number: int) -> int:
        return ask("POST", "/api/data", BEARER, upload([operation(row_id=f"l{number}")])).status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(one, range(40))) == {200}
    assert len(rows(database)) == 40
