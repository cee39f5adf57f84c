"""What somebody with a good token, a stolen upload or a forged one may try, over HTTP and a real Postgres.

After each attack: no row of anybody else has changed, the answer holds neither a value of a row nor anything of another user, and there is
exactly one clear code. What a token's owner may do under their own name is done under their own name, whatever the body says.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from syncline.testing.postgres import PostgresServer
from tests.integration.backend.attack_target import (
    ANNS_SECRET,
    BOBS_SECRET,
    Target,
    entry,
    nothing_told,
    serving_target,
    token,
)


@pytest.fixture(scope="module")
def target(postgres_server: PostgresServer) -> Generator[Target]:
    with serving_target(postgres_server) as target:
        yield target


@pytest.fixture(autouse=True)
def _as_before(target: Target) -> Generator[None]:
    """Rows that Ann wrote under her own name go again."""
    yield
    target.forget()


# Rows of others.


def test_a_forged_owner_is_overwritten(target: Target) -> None:
    for owner in ("bob", None, ["bob"], {"x": "bob"}, "ann' OR '1'='1"):
        assert target.verdict(entry(row_id="new", table="notes", name="n", owner_id=owner)) == "success"
        assert target.database.execute("SELECT owner_id FROM notes WHERE id = 'new'") == [("ann",)]


@pytest.mark.parametrize("table", ["lists", "notes"])
def test_the_id_of_another_s_row_gives_nothing_away(target: Target, table: str) -> None:
    with target.unchanged():
        assert target.verdict(entry(row_id="bobs", table=table, name="mine")) == "UNAUTHORIZED"
        for op in ("PATCH", "DELETE"):
            taken = target.verdict(entry(op, "bobs", table, name="mine"))
            free = target.verdict(entry(op, "nobodys", table, name="mine"))
            assert (taken, free) == ("success", "success")  # the same, whether the id is taken or not


def test_a_row_cannot_be_given_away(target: Target) -> None:
    with target.unchanged():
        assert target.verdict(entry("PATCH", "anns", "notes", owner_id="bob")) == "success"


def test_one_bad_write_takes_the_good_ones_of_its_transaction_with_it(target: Target) -> None:
    with target.unchanged():
        crud = [entry(row_id="new", name="n"), entry(row_id="bobs", name="mine")]
        assert target.verdict(*crud) == "UNAUTHORIZED"


@pytest.mark.parametrize(("org", "code"), [("b", "UNAUTHORIZED"), (None, "UNAUTHORIZED"), ("", "UNAUTHORIZED")])
def test_another_tenant_is_out_of_reach(target: Target, org: str | None, code: str) -> None:
    """A token of Ann's for another tenant does not reach her rows in the first, and one without a tenant reaches nothing."""
    with target.unchanged():
        assert target.verdict(entry(row_id="anns", name="n", org_id="a"), bearer=token(org=org)) == code
        patched = target.verdict(entry("PATCH", "anns", name="n", org_id="a"), bearer=token(org=org))
        assert patched == ("success" if org == "b" else "UNAUTHORIZED")


def test_columns_that_the_server_keeps_are_not_the_client_s(target: Target) -> None:
    """Mass assignment: owner, tenant, soft delete and device are the server's, whatever the body says."""
    data = {"name": "n", "owner_id": "bob", "org_id": "b", "deleted_at": "2020-01-01", "device_id": "bobs phone"}
    for op in ("PUT", "PATCH"):
        assert target.verdict(entry(op, "new", **data), client_id="anns phone") == "success"
        kept = "SELECT owner_id, org_id, deleted_at, device_id, level FROM lists WHERE id = 'new'"
        assert target.database.execute(kept) == [("ann", "a", None, "anns phone", 0)]
    with target.unchanged():
        assert target.verdict(entry("PATCH", "new", level=9)) == "SCHEMA_MISMATCH"


def test_an_id_inside_the_data_counts_for_nothing(target: Target) -> None:
    assert target.verdict(entry(row_id="new", table="notes", id="bobs", name="n")) == "success"
    assert target.verdict(entry("PATCH", "new", "notes", id="bobs", name="m")) == "success"
    found = target.database.execute("SELECT id, name, owner_id FROM notes ORDER BY id")
    assert found == [("anns", ANNS_SECRET, "ann"), ("bobs", BOBS_SECRET, "bob"), ("new", "m", "ann")]


def test_another_user_s_upload_sent_again_is_judged_by_who_sends_it(target: Target) -> None:
    """The user is part of an upload's identity: a replay gets neither Bob's verdict nor his rights."""
    bobs = {"op": "PATCH", "table": "lists", "id": "bobs", "op_data": {"note": "mine"}, "client_op_id": 1}
    assert target.verdict(bobs, bearer=token("bob", org="b"), client_id="bobs phone") == "success"
    with target.unchanged():
        taken = bobs | {"op": "PUT"}
        assert target.verdict(taken, client_id="bobs phone") == "UNAUTHORIZED"
        body = json.dumps({"client_id": "bobs phone", "transactions": [{"crud": [bobs]}]}).encode()
        [result] = target.send(body).json()["results"]
        assert "deduplicated" not in result or result["status"] == "fatal_error"
    anns = {"op": "PUT", "table": "lists", "id": "new", "op_data": {"name": "n"}, "client_op_id": 2}
    assert target.verdict(anns, client_id="bobs phone") == "success"
    assert target.database.execute("SELECT owner_id FROM lists WHERE id = 'new'") == [("ann",)]
    assert target.verdict(bobs | {"client_op_id": 2}, bearer=token("bob", org="b"), client_id="bobs phone") == "success"


def test_a_checkpoint_and_a_letter_are_those_of_the_token(target: Target) -> None:
    body = json.dumps({"client_id": "phone", "user_id": "bob"}).encode()
    head = {"authorization": f"Bearer {token('bob', org='b')}"}
    assert target.ask("PUT", "/api/data/checkpoint", head, body).json() == {"checkpoint": "1"}
    head = {"authorization": f"Bearer {token()}"}
    assert target.ask("PUT", "/api/data/checkpoint", head, body).json() == {"checkpoint": "1"}
    for strange in (b'{"client_id": "a\\u0000b"}', b'{"client_id": 5}', b'{"client_id": "a", "client_id": "b"}', b"[]"):
        assert target.ask("PUT", "/api/data/checkpoint", head, strange).status == 400
    letters = target.ask("GET", "/api/dead-letters?user_id=bob", head, b"")
    assert letters.status == 403
    own = target.ask("GET", "/api/dead-letters", head, b"")
    assert own.status == 200
    assert {letter["user_id"] for letter in own.json()["letters"]} <= {"ann"}
    assert BOBS_SECRET.encode() not in own.body


# The same through every door.

ROW = {"id": "bobs", "name": "mine", "owner_id": "ann"}
DOORS: dict[str, tuple[str, str, Any]] = {
    "the first form": ("POST", "/api/data", {"crud": [{"op": "PUT", "table": "notes", "id": "bobs", "op_data": ROW}]}),
    "a batch": ("POST", "/api/data", {"batch": [{"op": "PUT", "table": "notes", "id": "bobs", "data": ROW}]}),
    "a row of a demo": ("PUT", "/api/data", {"table": "notes", "data": ROW}),
    "a row of the Django demo": ("PUT", "/api/upload_data/", {"table": "notes", "data": ROW}),
    "REST": ("PUT", "/api/data/notes/bobs", ROW),
    "a transaction list": (
        "PUT",
        "/api/powersync/upload",
        {"transactions": [{"op_id": "1", "ops": [{"op": "PUT", "table": "notes", "id": "bobs", "data": ROW}]}]},
    ),
    "table batches": (
        "POST",
        "/api/powersync/upload",
        {"changes": {"notes": [{"type": "PUT", "id": "bobs", "data": ROW}]}},
    ),
    "operations": (
        "POST",
        "/api/powersync/upload",
        {"operations": [{"op": "PUT", "table": "notes", "id": "bobs", "opData": ROW}]},
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_dialect_is_a_way_around_the_policies(target: Target, door: str) -> None:
    method, path, body = DOORS[door]
    head = {"authorization": f"Bearer {token()}", "content-type": "application/json"}
    with target.unchanged():
        answer = target.ask(method, path, head, json.dumps(body).encode())
        assert answer.status in (200, 422)
        assert b"UNAUTHORIZED" in answer.body
        nothing_told(answer)
        assert target.ask(method, path, {"content-type": "application/json"}, json.dumps(body).encode()).status == 401


def test_letters_and_staged_uploads_of_others_are_not_there(target: Target) -> None:
    bob = {"authorization": f"Bearer {token('bob', org='b')}", "content-type": "application/json"}
    ann = {"authorization": f"Bearer {token()}", "content-type": "application/json"}
    target.verdict(entry(row_id="anns", table="notes", name=BOBS_SECRET), bearer=token("bob", org="b"))
    letter = target.ask("GET", "/api/dead-letters", bob, b"").json()["letters"][-1]["id"]
    begin = json.dumps({"content_hash": "0" * 64, "operations": 1}).encode()
    begun = target.ask("POST", "/api/data/staged", bob, begin)
    assert begun.status == 200, begun.body
    staged = begun.json()["id"]
    part = json.dumps({"crud": [entry(row_id="new", name="n")]}).encode()
    asked = [
        ("GET", f"/api/dead-letters/{letter}", b""),
        ("POST", f"/api/dead-letters/{letter}/retry", b""),
        ("POST", f"/api/dead-letters/{letter}/discard", b""),
        ("GET", f"/api/data/staged/{staged}", b""),
        ("PUT", f"/api/data/staged/{staged}/0", part),
        ("POST", f"/api/data/staged/{staged}/commit", json.dumps({"parts": ["0" * 64]}).encode()),
    ]
    with target.unchanged():
        for method, path, body in asked:
            answer = target.ask(method, path, ann, body)
            assert (method, path, answer.status) == (method, path, 404)
            nothing_told(answer)
    assert target.ask("GET", f"/api/dead-letters/{letter}", bob, b"").json()["state"] == "open"


# Names.

STRANGE_NAMES = [
    "secrets",
    "syncline_uploads",
    "public.lists",
    '"lists"',
    'lists"',
    "lists; DROP TABLE notes; --",
    "lists' OR '1'='1",
    "pg_catalog.pg_authid",
    "Lists",
    "lists ",
    "lists\u200b",  # a space without width
    "l\u0456sts",  # a Cyrillic letter
    "\uff4cists",  # a full-width letter
    "../lists",
    "%s",
    "lists\x00",
    "",
    "x" * 20_000,
]


@pytest.mark.parametrize("table", STRANGE_NAMES, ids=lambda name: ascii(name[:30]))
def test_only_the_named_tables_take_uploads(target: Target, table: str) -> None:
    with target.unchanged():
        for op in ("PUT", "PATCH", "DELETE"):
            assert target.verdict(entry(op, "s", table, name="n")) == "SCHEMA_MISMATCH"


STRANGE_COLUMNS = [
    "name') ; DROP TABLE notes; --",
    'name" = 1, "owner_id',
    'name") VALUES (1); --',
    "owner_id = 'kim', name",
    "Name",
    "name\u200b",
    "n\u0430me",
    "owner\u005fid ",
    "%s",
    "%(name)s",
    "notes.name",
    "",
    "x" * 20_000,
    "name\x00",
]


@pytest.mark.parametrize("column", STRANGE_COLUMNS, ids=lambda name: ascii(name[:30]))
@pytest.mark.parametrize("table", ["lists", "notes"])
def test_only_columns_of_the_table_are_written(target: Target, table: str, column: str) -> None:
    """With a list of columns and without one."""
    with target.unchanged():
        assert target.verdict(entry("PUT", "new", table, **{column: "n"})) == "SCHEMA_MISMATCH"
        assert target.verdict(entry("PATCH", "anns", table, **{column: "n"})) == "SCHEMA_MISMATCH"


@pytest.mark.parametrize("column", ["ctid", "xmin", "tableoid"])
def test_system_columns_are_no_columns(target: Target, column: str) -> None:
    with target.unchanged():
        assert target.verdict(entry("PATCH", "anns", "notes", **{column: "1"})) == "SCHEMA_MISMATCH"


@pytest.mark.parametrize("text", ["'); DROP TABLE notes; --", "$1", "%s", "\\'; --", '"', "\u202eevil", "{}"])
def test_values_and_ids_are_never_sql(target: Target, text: str) -> None:
    assert target.verdict(entry("PUT", f"new{text}", "notes", name=text)) == "success"
    assert target.database.execute("SELECT id, name FROM notes WHERE id LIKE 'new%'") == [(f"new{text}", text)]
    assert target.verdict(entry("DELETE", f"new{text}", "notes")) == "success"


def test_a_zero_character_is_refused(target: Target) -> None:
    with target.unchanged():
        assert target.verdict(entry("PUT", "new", "notes", name="a\x00b")) == "INVALID_DATA"
        assert target.verdict(entry("PUT", "new\x00", "notes", name="a")) == "INVALID_DATA"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/data/secrets/s"),
        ("DELETE", "/api/data/secrets/s"),
        ("PATCH", "/api/data/public.lists/bobs"),
        ("PUT", "/api/data/lists/bobs"),
        ("PUT", "/api/data/lists%22/new"),
        ("PUT", "/api/data/..%2Fsecrets/s"),
    ],
)
def test_the_address_of_a_row_reaches_no_further(target: Target, method: str, path: str) -> None:
    with target.unchanged():
        head = {"authorization": f"Bearer {token()}"}
        answer = target.ask(method, path, head, b'{"name": "n"}')
        assert answer.status in (400, 404, 422)
        assert answer.json()["message"]
        nothing_told(answer)


def test_a_path_inside_an_id_is_an_id(target: Target) -> None:
    head = {"authorization": f"Bearer {token()}"}
    assert target.ask("PUT", "/api/data/notes/new/../../secrets/s", head, b'{"name": "n"}').status == 204
    assert target.database.execute("SELECT id FROM notes WHERE name = 'n'") == [("new/../../secrets/s",)]
