"""Staged uploads over a real Postgres, step by step: each may be cut, repeated, or done by another process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tracemalloc
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import psycopg
import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.backend.http.messages import BackendRequest, BackendResponse
from syncline.backend.persisters.base import WriteContext
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.staged import StagedUploads
from syncline.backend.staged.applying import apply_staged
from syncline.backend.staged.postgres import PostgresStagedStore
from syncline.protocol.crud import CrudOperation, CrudTransaction, UpdateType, content_hash
from syncline.protocol.staged import StagedBegin, StagedState, cut_into_parts, hash_of_part
from syncline.testing.waiting import eventually
from tests.integration.backend.conftest import Uploads, make_backend

ANN = AuthenticatedUser("ann")
BASE = "/api/data/staged"


def transaction(count: int = 10, *, first_id: int = 1, **data: Any) -> CrudTransaction:
    """Rows `r1`, `r2`, … of lists."""
    return CrudTransaction(
        [
            CrudOperation(
                op=UpdateType.PUT,
                table="lists",
                id=f"r{first_id + number}",
                op_data={"name": f"name {number}"} | data,
                client_op_id=first_id + number,
            )
            for number in range(count)
        ],
        7,
    )


def begin_of(whole: CrudTransaction, client_id: str | None = "device") -> StagedBegin:
    ids = [entry.client_op_id for entry in whole.crud if entry.client_op_id is not None]
    return StagedBegin(
        content_hash=content_hash(whole),
        operations=len(whole.crud),
        client_id=client_id,
        first_op_id=min(ids) if client_id else None,
        last_op_id=max(ids) if client_id else None,
        transaction_id=whole.transaction_id,
    )


class Http:
    """The routes, as a face calls them; a token for `user` goes along."""

    def __init__(self, backend: SyncBackend, user: str = "ann") -> None:
        self.backend = backend
        self._token = backend.auth.issue(AuthenticatedUser(user)).token

    async def ask(self, method: str, path: str, body: Any = b"") -> BackendResponse:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        return await self.backend.handle(BackendRequest(method, path, headers=headers, body=raw))

    async def json(self, method: str, path: str, body: Any = b"", *, status: int = 200) -> dict[str, Any]:
        answer = await self.ask(method, path, body)
        assert answer.status == status, (answer.status, answer.body)
        return json.loads(answer.body) if answer.body else {}

    async def begin(self, whole: CrudTransaction, client_id: str | None = "device") -> dict[str, Any]:
        return await self.json("POST", BASE, begin_of(whole, client_id))

    async def verdict(self, upload_id: str) -> dict[str, Any]:
        async def settled() -> dict[str, Any] | None:
            status = await self.json("GET", f"{BASE}/{upload_id}")
            return status if status["state"] != StagedState.APPLYING else None

        status = await eventually(settled, timeout_s=30)
        assert status is not None
        return status


async def stage(
    http: Http, whole: CrudTransaction, *, part_bytes: int = 300, client_id: str | None = "device"
) -> dict[str, Any]:
    """All four steps; the state at the end."""
    begun = await http.begin(whole, client_id)
    parts = list(cut_into_parts(whole.crud, part_bytes))
    for number, part in enumerate(parts):
        await http.json("PUT", f"{BASE}/{begun['id']}/{number}", part, status=204)
    manifest = {"parts": [hash_of_part(part) for part in parts]}
    await http.json("POST", f"{BASE}/{begun['id']}/commit", manifest, status=202)
    return await http.verdict(begun["id"])


@pytest.fixture
def http(uploads: Uploads) -> Http:
    return Http(uploads.backend)


@pytest.fixture
async def staged_of(uploads: Uploads) -> AsyncGenerator[Any]:
    """Makes backends that are other processes over the same database, with limits of their own."""
    made: list[tuple[SyncBackend, PostgresStagedStore]] = []

    async def make(**limits: Any) -> Http:
        persister = PostgresPersister(uploads.database.dsn)
        await persister.staged_store.close()
        of_uploads = {
            name: limits.pop(name) for name in ("part_bytes", "lease_seconds", "at_once_max") if name in limits
        }
        persister.staged_store = PostgresStagedStore(uploads.database.dsn, **limits)
        backend = make_backend(persister)
        backend.staged = StagedUploads(persister.staged_store, persister, backend._writes_of, **of_uploads)
        await backend.open()
        made.append((backend, persister.staged_store))
        return Http(backend)

    yield make
    for backend, _ in made:
        await backend.close()


def rows(uploads: Uploads) -> int:
    return uploads.database.execute("SELECT count(*) FROM lists")[0][0]


def stored_parts(uploads: Uploads) -> int:
    return uploads.database.execute("SELECT count(*) FROM syncline_staged_parts")[0][0]


async def test_a_transaction_comes_in_parts_and_is_applied_whole(uploads: Uploads, http: Http) -> None:
    status = await stage(http, transaction(20))
    assert (status["state"], status["result"]) == ("done", {"status": "success"})
    assert rows(uploads) == 20
    assert uploads.database.execute("SELECT DISTINCT owner_id FROM lists") == [("ann",)]
    assert stored_parts(uploads) == 0


async def test_the_transaction_has_the_identity_that_it_has_in_one_request(uploads: Uploads, http: Http) -> None:
    whole = transaction(5)
    await stage(http, whole)
    body = msgspec.json.encode({"client_id": "device", "transactions": [whole]})
    answer = await uploads.backend.handle_upload(body, ANN)
    assert json.loads(msgspec.json.encode(answer))["results"] == [{"status": "success", "deduplicated": True}]
    other = transaction(6, first_id=50)
    await uploads.backend.handle_upload(msgspec.json.encode({"client_id": "device", "transactions": [other]}), ANN)
    status = await stage(http, other)
    assert status["result"] == {"status": "success", "deduplicated": True}
    forked = await stage(http, transaction(6, first_id=50, name="another content"))
    assert forked["result"]["failed_operation"]["error_code"] == "CLIENT_FORKED"
    assert forked["result"]["requires_client_handling"] is True


async def test_every_step_can_be_repeated_and_goes_on_where_it_was_cut(uploads: Uploads, http: Http) -> None:
    whole = transaction(12)
    parts = list(cut_into_parts(whole.crud, 300))
    hashes = [hash_of_part(part) for part in parts]
    begun = await http.begin(whole)
    assert begun["state"] == "open"
    assert (await http.begin(whole))["id"] == begun["id"]
    path = f"{BASE}/{begun['id']}"
    await http.json("PUT", f"{path}/1", parts[1], status=204)
    await http.json("PUT", f"{path}/1", parts[1], status=204)
    await http.json("PUT", f"{path}/0", parts[3], status=204)  # another cut of an earlier attempt
    missing = await http.json("POST", f"{path}/commit", {"parts": hashes}, status=409)
    assert missing["missing"] == [0, *range(2, len(parts))]
    again = await http.begin(whole)
    assert again["parts"] == {"0": hashes[3], "1": hashes[1]}
    for number in missing["missing"]:
        await http.json("PUT", f"{path}/{number}", parts[number], status=204)
    assert rows(uploads) == 0
    await http.json("POST", f"{path}/commit", {"parts": hashes}, status=202)
    await http.verdict(begun["id"])
    done = await http.json("POST", f"{path}/commit", {"parts": hashes})
    assert done["result"] == {"status": "success"}
    assert (await http.begin(whole))["result"] == {"status": "success"}
    await http.json("PUT", f"{path}/0", parts[0], status=409)
    assert rows(uploads) == 12


async def test_a_refusal_names_the_operation_and_leaves_nothing(uploads: Uploads, http: Http) -> None:
    whole = transaction(20)
    whole.crud[17] = msgspec.structs.replace(whole.crud[17], op_data={"name": "x", "stars": 9})
    status = await stage(http, whole)
    failed = status["result"]["failed_operation"]
    assert (failed["error_code"], failed["operation_index"]) == ("CHECK_VIOLATION", 17)
    assert status["result"]["requires_client_handling"] is False
    assert "dead_lettered" not in status["result"]  # so the device keeps it
    assert rows(uploads) == 0
    assert stored_parts(uploads) == 0
    again = await stage_again(http, whole)
    assert again["result"] == status["result"]


async def stage_again(http: Http, whole: CrudTransaction) -> dict[str, Any]:
    begun = await http.begin(whole)
    assert begun["state"] == "done"
    return begun


async def test_parts_that_are_another_transaction_are_refused_and_the_right_ones_are_not(
    uploads: Uploads, http: Http
) -> None:
    whole = transaction(6)
    begun = await http.begin(whole)
    [part] = cut_into_parts(transaction(5).crud, 10_000)
    await http.json("PUT", f"{BASE}/{begun['id']}/0", part, status=204)
    await http.json("POST", f"{BASE}/{begun['id']}/commit", {"parts": [hash_of_part(part)]}, status=202)
    status = await http.verdict(begun["id"])
    assert status["result"]["failed_operation"]["error_code"] == "VALIDATION_ERROR"
    assert rows(uploads) == 0
    body = msgspec.json.encode({"client_id": "device", "transactions": [whole]})
    await uploads.backend.handle_upload(body, ANN)
    assert rows(uploads) == 6


async def test_clients_without_ids_have_one_effect_too(uploads: Uploads, http: Http) -> None:
    whole = CrudTransaction([msgspec.structs.replace(entry, client_op_id=None) for entry in transaction(5).crud])
    assert (await stage(http, whole, client_id=None))["result"] == {"status": "success"}
    uploads.database.execute("DELETE FROM lists")
    assert (await http.begin(whole, None))["state"] == "done"
    assert rows(uploads) == 0


async def test_what_another_user_has_staged_is_not_there(uploads: Uploads, http: Http) -> None:
    whole = transaction(5)
    begun = await http.begin(whole)
    stranger = Http(uploads.backend, "bob")
    [part] = cut_into_parts(whole.crud, 10_000)
    for method, path, body in (
        ("GET", f"{BASE}/{begun['id']}", b""),
        ("PUT", f"{BASE}/{begun['id']}/0", part),
        ("POST", f"{BASE}/{begun['id']}/commit", {"parts": [hash_of_part(part)]}),
    ):
        assert (await stranger.ask(method, path, body)).status == 404
    assert (await stranger.begin(whole))["id"] != begun["id"]


NO_REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", BASE, b"{}"),
    ("POST", BASE, {"content_hash": "x", "operations": 1}),
    ("POST", BASE, {"content_hash": "0" * 64, "operations": 0}),
    ("POST", BASE, {"content_hash": "0" * 64, "operations": 1, "client_id": ""}),
    ("POST", BASE, {"content_hash": "0" * 64, "operations": 1, "first_op_id": 1}),
    ("POST", BASE, {"content_hash": "0" * 64, "operations": 1, "first_op_id": 2, "last_op_id": 1}),
    ("POST", BASE, {"content_hash": "0" * 64, "operations": 1, "first_op_id": 1, "last_op_id": 2**63}),
    ("PUT", BASE + "/x/0", {"crud": []}),
    ("PUT", BASE + "/x/-1", {"crud": [{"op": "DELETE", "table": "lists", "id": "a"}]}),
    ("PUT", BASE + "/x/²", {"crud": [{"op": "DELETE", "table": "lists", "id": "a"}]}),
    ("PUT", BASE + "/x/9999999", {"crud": [{"op": "DELETE", "table": "lists", "id": "a"}]}),
    ("POST", BASE + "/x/commit", {"parts": []}),
    ("POST", BASE + "/x/commit", {"parts": ["z"]}),
    # One name twice, of which readers could take either.
    ("POST", BASE, b'{"content_hash": "%s", "operations": 1, "operations": 1}' % (b"0" * 64)),
    ("PUT", BASE + "/x/0", b'{"crud": [{"op": "DELETE", "table": "lists", "id": "a", "id": "b"}]}'),
    ("POST", BASE + "/x/commit", b'{"parts": ["%s"], "parts": ["%s"]}' % (b"0" * 64, b"1" * 64)),
]


async def test_what_is_no_request_is_told_so(http: Http) -> None:
    for method, path, body in NO_REQUESTS:
        assert (await http.ask(method, path, body)).status == 400, (method, path, body)


async def test_what_a_process_has_left_behind_another_one_ends(uploads: Uploads, http: Http, staged_of: Any) -> None:
    """The process that got the commit dies at once: the lease ends, and the next question starts the work again."""
    whole = transaction(20)
    begun = await http.begin(whole)
    [part] = cut_into_parts(whole.crud, 100_000)
    await http.json("PUT", f"{BASE}/{begun['id']}/0", part, status=204)
    store = PostgresStagedStore(uploads.database.dsn)
    await store.commit(begun["id"], (hash_of_part(part),))
    assert await store.lease(begun["id"], "dead process", 0.3)
    assert not await store.lease(begun["id"], "another", 10)
    await store.close()
    other = await staged_of()
    assert (await other.verdict(begun["id"]))["result"] == {"status": "success"}
    assert rows(uploads) == 20


async def test_processes_that_apply_at_the_same_time_have_one_effect(uploads: Uploads, staged_of: Any) -> None:
    uploads.database.execute(
        "CREATE TABLE effects (id text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO effects VALUES (NEW.id); RETURN NEW; END $$;"
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note()"
    )
    processes = [await staged_of(lease_seconds=0.001) for _ in range(3)]  # no lease lasts
    whole = transaction(200)
    begun = await processes[0].begin(whole)
    parts = list(cut_into_parts(whole.crud, 4_000))
    for number, part in enumerate(parts):
        await processes[0].json("PUT", f"{BASE}/{begun['id']}/{number}", part, status=204)
    manifest = {"parts": [hash_of_part(part) for part in parts]}
    await asyncio.gather(*(http.ask("POST", f"{BASE}/{begun['id']}/commit", manifest) for http in processes))
    verdicts = await asyncio.gather(*(http.verdict(begun["id"]) for http in processes))
    assert {verdict["result"]["status"] for verdict in verdicts} == {"success"}
    assert uploads.database.execute("SELECT count(*) FROM effects") == [(200,)]


async def test_parts_lost_by_a_crash_of_the_database_open_the_upload_again(uploads: Uploads, http: Http) -> None:
    whole = transaction(20)
    begun = await http.begin(whole)
    parts = list(cut_into_parts(whole.crud, 300))
    path = f"{BASE}/{begun['id']}"
    for number, part in enumerate(parts):
        await http.json("PUT", f"{path}/{number}", part, status=204)
    store = PostgresStagedStore(uploads.database.dsn)
    await store.commit(begun["id"], tuple(map(hash_of_part, parts)))
    await store.close()
    uploads.database.execute("TRUNCATE syncline_staged_parts")  # what recovery does to an unlogged table
    status = await http.verdict(begun["id"])
    assert (status["state"], status["result"]["status"]) == ("open", "retryable_error")
    assert (await stage(http, whole))["result"] == {"status": "success"}
    assert rows(uploads) == 20


async def test_the_limits_of_a_user(uploads: Uploads, staged_of: Any) -> None:
    [part] = cut_into_parts(transaction(8, note="x" * 20).crud, 10_000)
    small = await staged_of(uploads_per_user_max=2, bytes_per_user_max=2 * len(part) - 1, parts_max=3)
    first, second = [await small.begin(transaction(3, first_id=start)) for start in (1, 100)]
    assert (await small.ask("POST", BASE, begin_of(transaction(3, first_id=200)))).status == 429
    await small.json("PUT", f"{BASE}/{first['id']}/0", part, status=204)
    await small.json("PUT", f"{BASE}/{first['id']}/0", part, status=204)  # a repeat takes no more room
    crowded = await small.ask("PUT", f"{BASE}/{second['id']}/0", part)
    assert (crowded.status, "retry-after" in crowded.headers) == (429, True)
    full = await small.json("PUT", f"{BASE}/{first['id']}/1", part, status=413)
    assert full["code"] == "STAGED_FULL"
    assert (
        await small.ask("PUT", f"{BASE}/{second['id']}/3", b'{"crud":[{"op":"DELETE","table":"t","id":"a"}]}')
    ).status == 413
    # One that was left alone gives way to another of the same user, and can be begun again.
    uploads.database.execute(
        f"UPDATE syncline_staged_uploads SET touched_at = now() - interval '11 minutes' WHERE id = '{first['id']}'"
    )
    await small.begin(transaction(3, first_id=200))
    assert (await small.ask("GET", f"{BASE}/{first['id']}")).status == 404
    assert stored_parts(uploads) == 0


async def test_what_nobody_asks_for_any_more_is_dropped(uploads: Uploads, http: Http) -> None:
    whole = transaction(5)
    begun = await http.begin(whole)
    [part] = cut_into_parts(whole.crud, 10_000)
    await http.json("PUT", f"{BASE}/{begun['id']}/0", part, status=204)
    uploads.database.execute("UPDATE syncline_staged_uploads SET touched_at = now() - interval '25 hours'")
    await http.begin(transaction(5, first_id=100))
    assert (await http.ask("GET", f"{BASE}/{begun['id']}")).status == 404
    assert stored_parts(uploads) == 0


async def test_an_error_that_may_pass_opens_it_again_and_many_of_them_refuse_it(uploads: Uploads, http: Http) -> None:
    failures = 0

    async def fail(*_: Any) -> Any:
        nonlocal failures
        failures += 1
        raise KeyError("secret")

    assert uploads.backend.staged is not None
    uploads.backend.staged._prepare = fail
    whole = transaction(3)
    for _ in range(5):
        status = await stage(http, whole)
        assert (status["state"], status["result"]["status"]) == ("open", "retryable_error")
    status = await stage(http, whole)
    assert (status["state"], status["result"]["status"]) == ("done", "fatal_error")
    assert "secret" not in json.dumps(status)
    assert failures == 6


async def test_a_role_that_may_not_make_the_tables_is_told_so(uploads: Uploads) -> None:
    role = f"least_{hashlib.sha256(uploads.database.dsn.encode()).hexdigest()[:12]}"
    uploads.database.execute(
        f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON syncline_uploads TO {role}"
    )
    try:
        store = PostgresStagedStore(uploads.database.dsn.replace("postgres@", f"{role}@"))
        backend = make_backend(uploads.persister)
        backend.staged = StagedUploads(store, uploads.persister, backend._writes_of)
        answer = await Http(backend).ask("POST", BASE, begin_of(transaction(3)))
        await store.close()
        assert answer.status == 501
        assert b"tables are missing" in answer.body
    finally:
        uploads.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_process_holds_a_part_at_a_time_however_large_the_whole_is(uploads: Uploads, http: Http) -> None:
    whole = transaction(300, note="x" * 10_000)
    begun = await http.begin(whole)
    parts = list(cut_into_parts(whole.crud, 200_000))
    for number, part in enumerate(parts):
        await http.json("PUT", f"{BASE}/{begun['id']}/{number}", part, status=204)
    whole_bytes = sum(map(len, parts))
    assert (len(parts), whole_bytes // 1_000_000) == (16, 3)
    manifest = {"parts": [hash_of_part(part) for part in parts]}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await http.json("POST", f"{BASE}/{begun['id']}/commit", manifest, status=202)
        status = await http.verdict(begun["id"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status["result"] == {"status": "success"}
    assert rows(uploads) == 300
    print(f"{whole_bytes} bytes were applied in {peak - before} bytes of memory")
    assert peak - before < 1_500_000


async def test_a_process_applies_so_many_at_a_time_and_the_rest_waits(uploads: Uploads, staged_of: Any) -> None:
    one_by_one = await staged_of(at_once_max=1)
    wholes = [transaction(3, first_id=start) for start in (1, 100, 200)]
    begun = [await one_by_one.begin(whole) for whole in wholes]
    async with await psycopg.AsyncConnection.connect(uploads.database.dsn) as holding:
        await holding.execute("LOCK TABLE lists IN ACCESS EXCLUSIVE MODE")
        for upload, whole in zip(begun, wholes, strict=True):
            [part] = cut_into_parts(whole.crud, 10_000)
            await one_by_one.json("PUT", f"{BASE}/{upload['id']}/0", part, status=204)
            manifest = {"parts": [hash_of_part(part)]}
            await one_by_one.json("POST", f"{BASE}/{upload['id']}/commit", manifest, status=202)
        assert len(one_by_one.backend.staged._running) == 1
        await holding.rollback()
    for upload in begun:
        assert (await one_by_one.verdict(upload["id"]))["result"] == {"status": "success"}
    assert rows(uploads) == 9


async def test_a_backend_that_stops_leaves_the_work_to_another(uploads: Uploads, staged_of: Any) -> None:
    stopping, other = await staged_of(), await staged_of()
    whole = transaction(5)
    begun = await stopping.begin(whole)
    [part] = cut_into_parts(whole.crud, 10_000)
    await stopping.json("PUT", f"{BASE}/{begun['id']}/0", part, status=204)
    async with await psycopg.AsyncConnection.connect(uploads.database.dsn) as holding:
        await holding.execute("LOCK TABLE lists IN ACCESS EXCLUSIVE MODE")
        await stopping.json("POST", f"{BASE}/{begun['id']}/commit", {"parts": [hash_of_part(part)]}, status=202)
        assert len(stopping.backend.staged._running) == 1
        await stopping.backend.staged.close()
        assert (await other.json("GET", f"{BASE}/{begun['id']}"))["state"] == "applying"
        await holding.rollback()
    assert (await other.verdict(begun["id"]))["result"] == {"status": "success"}
    assert rows(uploads) == 5


async def test_a_transaction_that_takes_too_long_is_taken_back(uploads: Uploads, http: Http) -> None:
    whole = transaction(5)
    begun = await http.begin(whole)
    [part] = cut_into_parts(whole.crud, 10_000)
    await http.json("PUT", f"{BASE}/{begun['id']}/0", part, status=204)
    store = uploads.persister.staged_store
    await store.commit(begun["id"], (hash_of_part(part),))
    upload = await store.get(begun["id"], "ann")
    assert upload is not None
    async with await psycopg.AsyncConnection.connect(uploads.database.dsn) as holding:
        await holding.execute("LOCK TABLE lists IN ACCESS EXCLUSIVE MODE")
        applied = await apply_staged(
            upload,
            WriteContext("ann"),
            store=store,
            persister=uploads.persister,
            prepare=uploads.backend._writes_of,
            seconds_max=0.2,
        )
        await holding.rollback()
    assert (applied.done, applied.failed, applied.result.status) == (False, False, "retryable_error")
    assert rows(uploads) == 0
