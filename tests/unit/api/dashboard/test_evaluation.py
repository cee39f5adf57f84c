"""What a config gives to users over rows, and what another config would change."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.api.dashboard.evaluation import compared, evaluated
from syncline.api.dashboard.limits import ROWS_NAMED_MAX
from syncline.protocol.bucket_names import SyncValue
from syncline.replication.row_reading import TableRows
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import ConnectionData

CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner = auth.user_id()
  todos:
    auto_subscribe: true
    query: SELECT * FROM todos WHERE list IN (SELECT id FROM lists WHERE owner = auth.user_id())
"""


def table(name: str, columns: str, *rows: tuple[SyncValue, ...]) -> TableRows:
    return TableRows("public", name, tuple(columns.split()), rows)


LISTS = table("lists", "id owner", ("l1", "u1"), ("l2", "u1"), ("l3", "u2"))
TODOS = table("todos", "id list done", ("t1", "l1", 0), ("t2", "l2", 1), ("t3", "l3", 0))


def difference(active: str | None, following: str, user: str = "u1", **limits: int) -> dict[str, Any]:
    bounds = {"buckets_max": 1000, "parameter_results_max": 1000} | limits
    old = None if active is None else evaluated(compile_sync_config(active), [LISTS, TODOS])
    new = evaluated(compile_sync_config(following), [LISTS, TODOS])
    return compared(old, new, ConnectionData({"sub": user}), **bounds)


@pytest.mark.requirement(191)
def test_rows_that_leave_come_and_change_are_told_apart() -> None:
    following = CONFIG.replace("FROM todos WHERE list", "FROM todos WHERE done = 0 AND list").replace(
        "SELECT * FROM lists WHERE owner =", "SELECT *, 1 AS new FROM lists WHERE 'x' ="
    )
    found = difference(CONFIG, following.replace("'x' =", "owner ="))
    assert found["active"] == {"buckets": 3, "rows": 4, "tables": {"lists": 2, "todos": 2}, "refused": ""}
    assert found["leaving"] == {"count": 1, "tables": {"todos": 1}, "rows": [{"table": "todos", "id": "t2"}]}
    assert found["changed"]["tables"] == {"lists": 2}
    assert found["arriving"]["count"] == 0
    back = difference(following.replace("'x' =", "owner ="), CONFIG)
    assert back["arriving"]["rows"] == [{"table": "todos", "id": "t2"}]
    same = difference(CONFIG, CONFIG)
    assert same["leaving"]["count"] == same["arriving"]["count"] == same["changed"]["count"] == 0


def test_without_an_active_config_everything_comes() -> None:
    found = difference(None, CONFIG, "u2")
    assert found["active"] is None
    assert found["arriving"]["tables"] == {"lists": 1, "todos": 1}


def test_a_user_whom_the_service_would_refuse_is_told() -> None:
    found = difference(CONFIG, CONFIG, buckets_max=2)
    assert "2" in found["next"]["refused"]
    assert found["next"]["rows"] == found["leaving"]["count"] == 0


def test_all_rows_are_counted_and_the_first_are_named() -> None:
    many = table("lists", "id owner", *[(f"l{n:04}", "u1") for n in range(ROWS_NAMED_MAX + 5)])
    new = evaluated(compile_sync_config(CONFIG), [many])
    found = compared(None, new, ConnectionData({"sub": "u1"}), buckets_max=9999, parameter_results_max=9999)
    assert found["arriving"]["count"] == ROWS_NAMED_MAX + 5
    assert len(found["arriving"]["rows"]) == ROWS_NAMED_MAX
