"""What is told of a sync config and the columns that a backend fills."""

from __future__ import annotations

import pytest

from syncline.sync_config import compile_sync_config
from syncline.sync_config.advice import AdviceKind, advise, owner_columns

CONFIG = """
config: {edition: 3}
streams:
  mine:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  tenant:
    query: SELECT * FROM orders WHERE org = auth.parameter('org_id') AND region = subscription.parameter('region')
  items:
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
  everyone:
    query: SELECT * FROM categories
  chosen:
    query: SELECT * FROM pages WHERE id = subscription.parameter('page')
"""


def test_owner_columns_are_those_compared_with_a_claim() -> None:
    found = owner_columns(compile_sync_config(CONFIG))
    assert [(owner.stream, owner.table.name, owner.column, owner.parameter) for owner in found] == [
        ("mine", "lists", "owner_id", "sub"),
        ("tenant", "orders", "org", "org_id"),
    ]


@pytest.mark.requirement(138)
def test_an_owner_column_that_the_backend_does_not_fill_is_told() -> None:
    advice = advise(compile_sync_config(CONFIG), {"lists": [], "public.orders": ["org"], "pages": []})
    assert [(one.kind, one.table.name, one.column) for one in advice] == [
        (AdviceKind.OWNER_NOT_INJECTED, "lists", "owner_id")
    ]
    assert "disappears" in str(advice[0])


def test_tables_that_cannot_be_written_need_no_injection() -> None:
    assert advise(compile_sync_config(CONFIG), {}) == ()


@pytest.mark.requirement(158)
def test_a_table_found_only_through_other_tables_should_have_an_owner_column() -> None:
    advice = advise(compile_sync_config(CONFIG), {"todos": ["list_id"], "categories": []})
    assert [(one.kind, one.table.name, one.stream) for one in advice] == [
        (AdviceKind.NO_OWNER_COLUMN, "todos", "items")
    ]


def test_columns_that_are_filled_give_no_advice() -> None:
    assert advise(compile_sync_config(CONFIG), {"lists": ["owner_id"], "orders": {"org"}}) == ()
