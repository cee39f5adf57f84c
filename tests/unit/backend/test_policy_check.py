from __future__ import annotations

import pytest

from syncline.backend import TablePolicy
from syncline.backend.ownership import via
from syncline.backend.policy_check import OwnerFilter, PolicyProblem, SyncedTable, check_policies, synced_tables
from syncline.sync_config import compile_sync_config

CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT id, name FROM lists WHERE owner_id = auth.user_id()
  todos:
    auto_subscribe: true
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
  notes:
    auto_subscribe: true
    query: SELECT id, body FROM org_notes AS notes WHERE org = auth.parameter('org_id') AND author = auth.user_id()
  tasks:
    auto_subscribe: true
    query: SELECT * FROM tasks WHERE owner_id = auth.user_id() OR assignee = auth.user_id()
"""
SYNCED = synced_tables(compile_sync_config(CONFIG))
GOOD = {
    "lists": TablePolicy(owner="owner_id", columns=["name"]),
    "todos": TablePolicy(owner=via("lists", "list_id")),
    "notes": TablePolicy(owner="author", tenants={"org": "org_id"}, table="org_notes", columns=["body"]),
    "tasks": TablePolicy(owner="owner_id"),
}


def findings(**changes: TablePolicy | None) -> list[tuple[str, str, str]]:
    policies = {name: policy for name, policy in {**GOOD, **changes}.items() if policy is not None}
    return [(finding.problem, finding.table, finding.column) for finding in check_policies(policies, SYNCED)]


@pytest.mark.requirement(138)
def test_policies_that_agree_with_the_config_have_no_findings() -> None:
    assert findings() == []


def test_what_a_config_says_of_its_tables() -> None:
    assert SYNCED[0] == SyncedTable(
        "lists", "lists", frozenset({"id", "name"}), (OwnerFilter("owner_id", "sub"),), "lists"
    )
    [notes] = [entry for entry in SYNCED if entry.table == "notes"]
    assert notes.source == "org_notes"
    assert set(notes.owner_filters) == {OwnerFilter("org", "org_id"), OwnerFilter("author", "sub")}
    assert {entry.owner_filters for entry in SYNCED if entry.table == "tasks"} == {
        (OwnerFilter("owner_id", "sub"),),
        (OwnerFilter("assignee", "sub"),),
    }


def test_a_synced_table_without_a_policy_is_read_only() -> None:
    assert findings(todos=None) == [(PolicyProblem.READ_ONLY_TABLE, "todos", "")]


def test_a_writable_table_that_no_stream_syncs_is_invisible() -> None:
    assert findings(audit=TablePolicy(owner="user_id")) == [(PolicyProblem.INVISIBLE_TABLE, "audit", "")]


def test_columns_are_compared_both_ways() -> None:
    assert findings(lists=TablePolicy(owner="owner_id", columns=["colour"])) == [
        (PolicyProblem.READ_ONLY_COLUMN, "lists", "name"),
        (PolicyProblem.INVISIBLE_COLUMN, "lists", "colour"),
    ]


@pytest.mark.requirement(138)
@pytest.mark.parametrize("owner", [None, "created_by", via("notes", "name")])
def test_an_owner_filter_without_injection_is_found(owner: str | None) -> None:
    changed = TablePolicy(owner=owner, columns=["name"])
    assert findings(lists=changed) == [(PolicyProblem.OWNER_NOT_INJECTED, "lists", "owner_id")]
    [finding] = check_policies({**GOOD, "lists": changed}, SYNCED)
    assert 'owner="owner_id"' in finding.hint
    assert str(finding).startswith("lists: stream")


@pytest.mark.parametrize("tenants", [{}, {"org": "another_claim"}])
def test_a_tenant_filter_needs_its_claim(tenants: dict[str, str]) -> None:
    changed = TablePolicy(owner="author", tenants=tenants, columns=["body", *({"org"} - tenants.keys())])
    found = findings(notes=changed)
    assert (PolicyProblem.OWNER_NOT_INJECTED, "notes", "org") in found


def test_a_row_that_comes_back_by_one_way_need_not_by_the_other() -> None:
    assert findings(tasks=TablePolicy(owner="assignee")) == []
    assert findings(tasks=TablePolicy(owner=None)) == [
        (PolicyProblem.OWNER_NOT_INJECTED, "tasks", "owner_id"),
        (PolicyProblem.OWNER_NOT_INJECTED, "tasks", "assignee"),
    ]
