"""Over random rows: a connection sees exactly the rows that the query gives for its user, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config import compile_sync_config
from tests.unit.sync_config.resolving import evaluate, resolve

PLAN = compile_sync_config(
    """
config: {edition: 3}
streams:
  todos:
    auto_subscribe: true
    query: >
      SELECT * FROM todos WHERE NOT archived AND (assignee = auth.user_id() OR list_id IN
      (SELECT list_id FROM members WHERE user_id = auth.user_id() AND role = 'reader'))
"""
)
USERS: list[SyncValue] = ["a", "b", "A", "1", 1, None]
users = st.sampled_from(USERS)
lists = st.sampled_from(["x", "y", "z", None])
Row = tuple[str, dict[str, SyncValue]]


@pytest.mark.requirement(172)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(lists, users, st.sampled_from([0, 1, None])), max_size=6),
    st.lists(st.tuples(lists, users, st.sampled_from(["reader", "none"])), max_size=6),
)
def test_a_user_sees_exactly_its_own_rows(
    todos: list[tuple[str | None, SyncValue, int | None]], members: list[tuple[str | None, SyncValue, str]]
) -> None:
    todo_rows: list[Row] = [
        ("todos", {"id": str(i), "list_id": list_id, "assignee": user, "archived": archived})
        for i, (list_id, user, archived) in enumerate(todos)
    ]
    member_rows: list[Row] = [
        ("members", {"list_id": list_id, "user_id": user, "role": role}) for list_id, user, role in members
    ]
    for user in ("a", "b", "1"):
        mine = {list_id for list_id, member, role in members if member == user and role == "reader" and list_id}
        expected = {
            str(i)
            for i, (list_id, assignee, archived) in enumerate(todos)
            if not archived and (assignee == user or list_id in mine)
        }
        buckets = {bucket.name for bucket in resolve(PLAN, member_rows, {"sub": user}).buckets}
        seen = {row.object_id for t, r in todo_rows for row in evaluate(PLAN, t, r).rows if row.bucket in buckets}
        assert seen == expected
