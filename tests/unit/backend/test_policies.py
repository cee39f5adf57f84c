from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.ownership import RolePermissions, RowSecurity, claim_of, via
from syncline.backend.persisters.base import ParentGuard, Write, WriteContext, WriteRefused
from syncline.backend.policies import TableRules
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudOperation, UpdateType
from tests.unit.backend.asgi import RecordingPersister, make_backend, operation, upload

RECEIVED = datetime(2026, 1, 2, tzinfo=UTC)
CLAIMS = {"org": {"id": 7}, "role": "editor", "https://example.org/team": "blue"}


def write(
    policy: TablePolicy,
    op: str = "PUT",
    data: dict[str, Any] | None = None,
    *,
    claims: dict[str, Any] | None = None,
    client_id: str | None = "phone",
    **others: TablePolicy,
) -> Write:
    entry = CrudOperation(op=UpdateType(op), table="todos", id="t1", op_data=data)
    context = WriteContext("ann", CLAIMS if claims is None else claims, client_id, RECEIVED)
    return TableRules({"todos": policy, **others}).write(3, entry, context)


def refused(policy: TablePolicy, op: str = "PUT", data: dict[str, Any] | None = None, **more: Any) -> str:
    with pytest.raises(WriteRefused) as caught:
        write(policy, op, data, **more)
    assert caught.value.operation_index == 3
    return caught.value.error_code


@pytest.mark.parametrize(
    "wrong",
    [
        {"owner": None, "tenants": {"id": "org"}},
        {"owner": None, "soft_delete": "id"},
        {"owner": None, "device": ""},
        {"owner": "user_id", "tenants": {"user_id": "org"}},
        {"owner": None, "soft_delete": "x", "device": "x"},
        {"owner": "user_id", "put_mode": "replace"},
        {"owner": None, "fields": "a text"},
        {"owner": None, "fields": dict},
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TablePolicy(**wrong)


@pytest.mark.parametrize(("table", "column"), [("", "list_id"), ("lists", ""), ("lists", "id")])
def test_a_parent_needs_a_table_and_a_column(table: str, column: str) -> None:
    with pytest.raises(ConfigError):
        via(table, column)


def test_a_tenant_column_is_filled_from_the_token_and_guarded() -> None:
    made = write(TablePolicy(owner="user_id", tenants={"org_id": "org.id"}), data={"org_id": 8, "name": "x"})
    assert made.data == {"name": "x"}
    assert made.belongs_to == (("user_id", "ann"), ("org_id", "7"))
    changed = write(TablePolicy(owner=None, tenants={"org_id": "org.id"}), "PATCH", {"org_id": 8})
    assert (changed.data, changed.belongs_to, changed.guarded) == ({}, (("org_id", "7"),), True)


@pytest.mark.parametrize("value", [None, "", True, [1, 2], {"id": 1}, 1.5])
def test_a_token_without_a_single_tenant_writes_nothing(value: Any) -> None:
    policy = TablePolicy(owner=None, tenants={"org_id": "org"})
    assert refused(policy, data={"name": "x"}, claims={"org": value}) == "UNAUTHORIZED"
    assert refused(policy, "DELETE", claims={}) == "UNAUTHORIZED"


def test_a_claim_is_found_by_its_name_before_its_path() -> None:
    assert claim_of(CLAIMS, "https://example.org/team") == "blue"
    assert claim_of(CLAIMS, "org.id") == 7
    assert claim_of({"org.id": 1, "org": {"id": 2}}, "org.id") == 1
    assert claim_of(CLAIMS, "role.name") is None
    assert claim_of(CLAIMS, "nothing.there") is None


def test_ownership_goes_through_parents_to_a_row_that_belongs_to_somebody() -> None:
    lists = TablePolicy(owner=via("boards", "board_id"), table="app_lists", tenants={"org_id": "org.id"})
    made = write(
        TablePolicy(owner=via("lists", "list_id")), data={"list_id": "l1"}, lists=lists, boards=TablePolicy(owner="o")
    )
    above = ParentGuard("board_id", "boards", (("o", "ann"),))
    assert made.parent == ParentGuard("list_id", "app_lists", (("org_id", "7"),), above)
    assert (made.owner, made.guarded, made.data) == (None, True, {"list_id": "l1"})


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ({"todos": TablePolicy(owner=via("lists", "list_id"))}, "has no policy"),
        ({"todos": TablePolicy(owner=via("todos", "parent_id"))}, "circle"),
        ({"a": TablePolicy(owner=via("b", "x")), "b": TablePolicy(owner=via("a", "y"))}, "circle"),
        ({"a": TablePolicy(owner=via("b", "x")), "b": TablePolicy(owner=None)}, "belong to nobody"),
    ],
)
def test_a_way_to_the_owner_that_ends_nowhere_keeps_the_backend_from_starting(
    tables: dict[str, TablePolicy], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        make_backend(tables=tables)


def test_a_client_cannot_set_the_mark_of_a_soft_delete() -> None:
    policy = TablePolicy(owner=None, columns=["name"], soft_delete="deleted_at")
    assert write(policy, data={"name": "x", "deleted_at": "2020-01-01"}).data == {"name": "x"}
    assert write(policy, "PATCH", {"deleted_at": None}).data == {}
    assert write(policy, "DELETE").soft_delete == "deleted_at"


@pytest.mark.requirement(159)
def test_the_device_that_wrote_last_is_kept() -> None:
    policy = TablePolicy(owner=None, columns=["name"], device="device_id")
    assert write(policy, data={"name": "x", "device_id": "forged"}).data == {"name": "x", "device_id": "phone"}
    assert write(policy, "PATCH", {"name": "y"}).data == {"name": "y", "device_id": "phone"}
    assert write(policy, "PATCH", {}).data == {}
    assert write(policy, "DELETE").data == {}


def test_a_device_that_the_upload_does_not_name_may_name_itself() -> None:
    policy = TablePolicy(owner=None, columns=["name"], device="device_id")
    assert write(policy, data={"device_id": "mine"}, client_id=None).data == {"device_id": "mine"}


def test_a_put_that_replaces_knows_which_columns() -> None:
    policy = TablePolicy(owner="user_id", columns=["name", "note", "user_id"], put_mode="replace")
    assert write(policy, data={"name": "x"}).replaces == ("name", "note")
    assert write(policy, "PATCH", {"name": "x"}).replaces == ()
    assert write(TablePolicy(owner="user_id", columns=["name"]), data={"name": "x"}).replaces == ()


@pytest.mark.parametrize(
    ("roles", "op", "allowed"),
    [
        ("editor", "PUT", True),
        ("editor", "DELETE", False),
        (["viewer", "admin"], "DELETE", True),
        (["viewer"], "PATCH", False),
        ("unknown", "PUT", False),
        (None, "PUT", False),
        (["editor", ["admin"]], "DELETE", False),
    ],
)
def test_a_role_may_do_what_is_listed_and_nothing_else(roles: Any, op: str, allowed: bool) -> None:
    permissions = RolePermissions(
        "role", {"editor": ["PUT", "PATCH"], "admin": ["PUT", "PATCH", "DELETE"], "viewer": []}
    )
    policy = TablePolicy(owner=None, roles=permissions)
    if allowed:
        assert write(policy, op, {"name": "x"}, claims={"role": roles}).id == "t1"
    else:
        assert refused(policy, op, {"name": "x"}, claims={"role": roles}) == "UNAUTHORIZED"


@pytest.mark.parametrize("allowed", [{"editor": ["UPDATE"]}, {"editor": "PUT"}])
def test_permissions_for_what_is_no_operation_are_refused(allowed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="editor"):
        RolePermissions("role", allowed)


@pytest.mark.parametrize(
    "wrong", [{"user_setting": "role"}, {"user_setting": "app.x'; --"}, {"claims_setting": "a b.c"}, {"role": ""}]
)
def test_row_security_takes_names_only(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        RowSecurity(**wrong)


async def test_a_write_knows_who_writes() -> None:
    persister = RecordingPersister()
    user = AuthenticatedUser("ann", {"role": "editor"})
    body = upload([operation(client_op_id=1, previous_values={"name": "old"}, metadata="m")], client_id="phone")
    await make_backend(persister).handle_upload(body, user)
    [[made]] = persister.applied
    assert (made.context.user_id, made.context.claims, made.context.client_id) == ("ann", {"role": "editor"}, "phone")
    assert made.context.identified
    assert made.context.received_at.tzinfo is UTC
    assert (made.previous_values, made.metadata) == ({"name": "old"}, "m")
    assert "editor" not in repr(made)


async def test_the_claims_are_those_of_the_verified_token() -> None:
    auth = make_backend().auth
    user = await auth.authenticate(f"Bearer {auth.issue(AuthenticatedUser('ann')).token}")
    assert (user.user_id, user.claims["sub"]) == ("ann", "ann")
