"""The dialects through the routes of the toolkit: what reaches the database's side, and status and body of every answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette

from syncline.backend.limits import CLIENT_ID_CHARACTERS_MAX, DELETE_BODY_BYTES_MAX, RETRY_AFTER_MS
from syncline.backend.persisters.base import CLIENT_FORKED, RetryLater, WriteRefused
from tests.unit.backend.asgi import Answer, RecordingPersister, ask, bearer, make_app

REFUSED = WriteRefused("CHECK_VIOLATION", "no", operation_index=0)
ROW = {"op": "PUT", "table": "lists", "id": "a", "data": {"name": "one"}}
BATCH = {"batch": [ROW]}
LISTED = {"transactions": [{"op_id": "crud:1", "ops": [ROW]}]}
CHANGES = {"changes": {"lists": [{"type": "PUT", "id": "a", "data": {"name": "one"}}]}}
OPERATIONS = {"operations": [{"op": "PUT", "table": "lists", "id": "a", "opData": {"name": "one"}}]}
ONE = {"table": "lists", "data": {"id": "a", "name": "one"}}
NOT_REST: dict[str, tuple[str, str, dict[str, Any]]] = {
    "transactions": ("PUT", "/api/powersync/upload", LISTED),
    "changes": ("POST", "/api/powersync/upload", CHANGES),
    "operations": ("POST", "/api/powersync/upload", OPERATIONS),
    "batch": ("POST", "/api/data", BATCH),
    "demo row": ("PUT", "/api/data", ONE),
    "django row": ("PUT", "/api/upload_data/", ONE),
}
ALL = NOT_REST | {"rest": ("PUT", "/api/data/lists/a", {"name": "one"})}


@pytest.fixture
def persister() -> RecordingPersister:
    return RecordingPersister()


@pytest.fixture
def app(persister: RecordingPersister) -> Starlette:
    return make_app(persister)


async def send(app: Starlette, method: str, path: str, value: Any = None, **headers: str) -> Answer:
    body = b"" if value is None else json.dumps(value).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return await ask(app, method, path, headers=bearer("ann") | named, body=body)


@pytest.mark.requirement(124, 125, 126)
@pytest.mark.parametrize("name", ALL)
async def test_a_write_arrives_with_the_owner_of_its_token(
    app: Starlette, persister: RecordingPersister, name: str
) -> None:
    answer = await send(app, *ALL[name])
    assert answer.status == (204 if name == "rest" else 200)
    assert answer.body == (b"" if name == "rest" else b'{"success":true}')
    [[write]] = persister.applied
    assert (write.op, write.table, write.id, write.data, write.owner) == (
        "PUT",
        "lists",
        "a",
        {"name": "one"},
        ("owner_id", "ann"),
    )


@pytest.mark.requirement(156)
@pytest.mark.parametrize("name", ALL)
async def test_nobody_writes_without_a_token(app: Starlette, persister: RecordingPersister, name: str) -> None:
    method, path, value = ALL[name]
    answer = await ask(app, method, path, body=json.dumps(value).encode())
    assert (answer.status, answer.json()["code"][:9]) == (401, "PSYNC_S21")
    assert persister.applied == []


@pytest.mark.parametrize("name", ALL)
async def test_a_body_that_means_nothing_is_a_400_with_words(
    app: Starlette, persister: RecordingPersister, name: str
) -> None:
    method, path, _ = ALL[name]
    answer = await ask(app, method, path, headers=bearer("ann"), body=b'["no object"]')
    assert (answer.status, bool(answer.json()["message"])) == (400, True)
    assert persister.applied == []


@pytest.mark.requirement(153)
@pytest.mark.parametrize("name", NOT_REST)
async def test_a_refusal_for_good_never_blocks_a_device_of_these_dialects(
    app: Starlette, persister: RecordingPersister, name: str
) -> None:
    persister.failures["a"] = REFUSED
    answer = await send(app, *NOT_REST[name])
    assert answer.status == 200
    told = answer.json()
    assert (told["success"], told["error"], told["error_code"]) == (False, "no", "CHECK_VIOLATION")
    assert [each["operation_index"] for each in told["rejected"]] == [0]


async def test_a_refused_row_by_its_address_is_a_4xx(app: Starlette, persister: RecordingPersister) -> None:
    persister.failures |= {"a": REFUSED, "b": WriteRefused("UNIQUE_VIOLATION", "taken", operation_index=0)}
    for row_id, status in (("a", 422), ("b", 409)):
        answer = await send(app, "PUT", f"/api/data/lists/{row_id}", {"name": "one"})
        assert (answer.status, bool(answer.json()["message"])) == (status, True)
    assert (await send(app, "PUT", "/api/data/users/u1", {})).status == 422


@pytest.mark.parametrize("name", ALL)
async def test_what_failed_for_now_is_a_503_that_says_when_to_come_back(
    app: Starlette, persister: RecordingPersister, name: str
) -> None:
    persister.failures["a"] = RetryLater("The database is away.")
    answer = await send(app, *ALL[name])
    assert (answer.status, answer.headers["retry-after"]) == (503, str(RETRY_AFTER_MS // 1000))
    assert answer.json()["error_code"] == "RETRY_LATER"


@pytest.mark.parametrize("name", ALL)
async def test_a_forked_device_keeps_its_writes(app: Starlette, persister: RecordingPersister, name: str) -> None:
    persister.failures["a"] = WriteRefused(CLIENT_FORKED, "a copy")
    answer = await send(app, *ALL[name])
    assert (answer.status, answer.json()["error_code"]) == (503, CLIENT_FORKED)


async def test_what_stands_behind_a_refused_transaction_of_a_list_is_applied(
    app: Starlette, persister: RecordingPersister
) -> None:
    """The device completes the whole list at a 200: with `on_fatal="stop"`, as the write API has it, `c` would be lost."""
    persister.failures["b"] = REFUSED
    listed = [{"op_id": f"crud:{number}", "ops": [ROW | {"id": row_id}]} for number, row_id in enumerate("abc")]
    answer = await send(app, "PUT", "/api/powersync/upload", {"transactions": listed})
    assert answer.status == 200
    assert [(each["index"], each["op_id"]) for each in answer.json()["rejected"]] == [(1, "crud:1")]
    assert [write.id for [write] in persister.applied] == ["a", "c"]


async def test_nothing_behind_what_failed_for_now_is_attempted(app: Starlette, persister: RecordingPersister) -> None:
    persister.failures["b"] = RetryLater("busy")
    listed = [{"op_id": "", "ops": [ROW | {"id": row_id}]} for row_id in "abc"]
    assert (await send(app, "PUT", "/api/powersync/upload", {"transactions": listed})).status == 503
    assert [write.id for [write] in persister.applied] == ["a"]


@pytest.mark.parametrize("name", NOT_REST)
async def test_an_identity_is_accepted_in_every_body(app: Starlette, persister: RecordingPersister, name: str) -> None:
    method, path, value = NOT_REST[name]
    value = json.loads(json.dumps(value).replace('"id": "a"', '"id": "a", "client_op_id": 41'))
    if name in ("demo row", "django row"):
        value = {"table": "lists", "data": {"id": "a", "name": "one"}, "client_op_id": 41}
    answer = await send(app, method, path, value | {"client_id": "phone"})
    assert answer.status == 200
    [identity] = persister.identities
    assert identity is not None
    assert (identity.user_id, identity.client_id, identity.first_crud_id, identity.last_crud_id) == (
        "ann",
        "phone",
        41,
        41,
    )


async def test_a_row_by_its_address_is_identified_by_headers(app: Starlette, persister: RecordingPersister) -> None:
    headers = {"syncline_client_id": "phone", "syncline_client_op_id": "41"}
    assert (await send(app, "PATCH", "/api/data/lists/a", {"name": "x"}, **headers)).status == 204
    [identity] = persister.identities
    assert identity is not None
    assert (identity.client_id, identity.first_crud_id) == ("phone", 41)
    too_long = headers | {"syncline_client_id": "x" * (CLIENT_ID_CHARACTERS_MAX + 1)}
    assert (await send(app, "PATCH", "/api/data/lists/a", {"name": "x"}, **too_long)).status == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/data", "/api/upload_data/"])
async def test_demo_connectors_send_single_rows_by_method(
    app: Starlette, persister: RecordingPersister, method: str, path: str
) -> None:
    assert (await send(app, method, path, ONE)).json() == {"success": True}
    [[write]] = persister.applied
    assert (write.op, write.id, write.data) == (method, "a", {} if method == "DELETE" else {"name": "one"})


@pytest.mark.parametrize(
    ("path", "row_id"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("é 漢?", "é 漢?"),
        ("..", ".."),
        ("%2F", "%2F"),
        ("checkpoint", "checkpoint"),
    ],
)
async def test_a_row_s_id_may_hold_any_character(
    app: Starlette, persister: RecordingPersister, path: str, row_id: str
) -> None:
    """The path of the scope has been decoded once by the server."""
    assert (await send(app, "DELETE", f"/api/data/lists/{path}")).status == 204
    assert [write.id for [write] in persister.applied] == [row_id]


async def test_an_id_that_a_router_would_shorten_reaches_no_other_row(
    app: Starlette, persister: RecordingPersister
) -> None:
    assert (await send(app, "DELETE", "/api/data/lists/a\n")).status == 400
    assert persister.applied == []


async def test_the_checkpoint_is_no_row_of_a_demo(app: Starlette) -> None:
    answer = await send(app, "PUT", "/api/data/checkpoint", {"client_id": "phone", "user_id": "ann"})
    assert answer.json() == {"checkpoint": "1"}


async def test_one_address_serves_the_write_api_and_the_batch_of_the_demos(app: Starlette) -> None:
    crud = [{"op": "PUT", "table": "lists", "id": "a", "op_data": {"name": "one"}}]
    assert (await send(app, "POST", "/api/data", {"transactions": [{"crud": crud}]})).json() == {
        "results": [{"status": "success"}],
        "protocol_version": 1,
    }
    assert (await send(app, "POST", "/api/data", {"crud": crud})).json() == {"status": "success"}
    assert (await send(app, "POST", "/api/data", BATCH)).json() == {"success": True}
    both = await send(app, "POST", "/api/data", BATCH | {"crud": crud})
    assert (both.status, "it must have one" in both.json()["message"]) == (400, True)


async def test_a_delete_with_a_body_has_its_limit_too(app: Starlette, persister: RecordingPersister) -> None:
    def sized(size: int) -> bytes:
        body = json.dumps(ONE).encode()
        return body + b" " * (size - len(body))

    for size, status in ((DELETE_BODY_BYTES_MAX, 200), (DELETE_BODY_BYTES_MAX + 1, 413)):
        answer = await ask(app, "DELETE", "/api/data", headers=bearer("ann"), body=sized(size))
        assert answer.status == status
    assert len(persister.applied) == 1
