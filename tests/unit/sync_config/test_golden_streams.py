from __future__ import annotations

from pathlib import Path

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.lines import SubscriptionReason
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import EvaluatedRow
from tests.unit.sync_config.resolving import evaluate, resolve

PLAN = compile_sync_config((Path(__file__).parents[2] / "fixtures/sync_config/golden-streams.yaml").read_text())
LIST_1 = "11111111-0000-4000-8000-000000000001"
LIST_2 = "11111111-0000-4000-8000-000000000002"
LIST_3 = "11111111-0000-4000-8000-000000000003"


def list_row(list_id: str, owner: str) -> dict[str, SyncValue]:
    return {"id": list_id, "created_at": "2026-01-01T00:00:00.000000Z", "name": "Groceries", "owner_id": owner}


ROWS = [
    ("lists", list_row(LIST_1, "user1")),
    ("lists", list_row(LIST_2, "user1")),
    ("lists", list_row(LIST_3, "user2")),
]


def test_a_row_has_the_json_of_the_golden_trace() -> None:
    todo: dict[str, SyncValue] = {
        "id": "22222222-0000-4000-8000-000000000002",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "completed_at": None,
        "description": 'unicode: é 漢 😀 "quote" \\ back',
        "completed": 1,
        "created_by": None,
        "completed_by": None,
        "list_id": LIST_1,
    }
    (row,) = evaluate(PLAN, "todos", todo, "1#").rows
    assert row == EvaluatedRow(
        f'1#my_todos|0["{LIST_1}"]',
        "todos",
        "22222222-0000-4000-8000-000000000002",
        '{"id":"22222222-0000-4000-8000-000000000002","created_at":"2026-01-01T00:00:00.000000Z","completed_at":null,'
        '"description":"unicode: é 漢 😀 \\"quote\\" \\\\ back","completed":1,"created_by":null,"completed_by":null,'
        f'"list_id":"{LIST_1}"}}',
    )


def test_expressions_and_constants_are_evaluated_in_select_order() -> None:
    rows = [evaluate(PLAN, "categories", {"id": 3, "name": name}, "1#").rows[0] for name in (None, "alpha")]
    assert rows[0] == EvaluatedRow("1#global_cat|0[]", "categories", "3", '{"id":3,"name_upper":null,"kind":"const"}')
    assert rows[1].data == '{"id":3,"name_upper":"ALPHA","kind":"const"}'


def test_default_streams_resolve_to_the_buckets_of_the_golden_trace() -> None:
    resolved = resolve(PLAN, ROWS, {"sub": "user1"})
    assert {bucket.name: bucket.priority for bucket in resolved.buckets} == {
        '5#my_lists|0["user1"]': 1,
        "5#global_cat|0[]": 2,
        f'5#my_todos|0["{LIST_1}"]': 3,
        f'5#my_todos|0["{LIST_2}"]': 3,
    }
    assert [(s.name, s.is_default) for s in resolved.streams] == [
        ("my_lists", True),
        ("my_todos", True),
        ("global_cat", True),
    ]


def test_a_subscription_shares_the_bucket_of_a_stream_with_the_same_rows() -> None:
    resolved = resolve(
        PLAN,
        ROWS,
        {"sub": "user1"},
        subscriptions=[
            {"stream": "list_todos", "parameters": {"list_id": LIST_1}},
            {"stream": "list_todos", "parameters": {"list_id": LIST_2}, "override_priority": 0},
            {"stream": "list_todos", "parameters": {"list_id": "nope"}},
            {"stream": "missing_stream"},
        ],
    )
    buckets = {bucket.name: (bucket.priority, bucket.subscriptions) for bucket in resolved.buckets}
    default = SubscriptionReason(default=1)
    assert buckets[f'5#my_todos|0["{LIST_1}"]'] == (3, (default, SubscriptionReason(sub=0)))
    assert buckets[f'5#my_todos|0["{LIST_2}"]'] == (0, (default, SubscriptionReason(sub=1)))
    assert len(buckets) == 4
    assert [s.name for s in resolved.streams] == ["my_lists", "my_todos", "list_todos", "global_cat"]
    assert resolved.unknown_streams == ("missing_stream",)


def test_compiling_twice_gives_the_same_names() -> None:
    again = compile_sync_config((Path(__file__).parents[2] / "fixtures/sync_config/golden-streams.yaml").read_text())
    for table, row in ROWS:
        assert evaluate(again, table, row) == evaluate(PLAN, table, row)
