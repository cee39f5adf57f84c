"""Event definitions: payload queries, and what they make of rows (sync config reference, 9)."""

from __future__ import annotations

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.evaluation.event_payloads import payload_function
from syncline.sync_config.plan import TablePattern

CONFIG = """
config: {edition: 3}
streams: {s: {query: SELECT * FROM t}}
event_definitions:
  write_checkpoints:
    payloads:
      - SELECT user_id, client_id, checkpoint + 1 AS checkpoint FROM checkpoints WHERE checkpoint > 1
      - SELECT *, _table_suffix AS month FROM "log_%"
"""


def test_payload_queries_stand_in_the_plan() -> None:
    (event,) = compile_sync_config(CONFIG).events
    assert event.name == "write_checkpoints"
    assert [payload.pattern for payload in event.payloads] == [
        TablePattern("public", "checkpoints"),
        TablePattern("public", "log_%"),
    ]


def test_a_row_becomes_its_payload() -> None:
    (event,) = compile_sync_config(CONFIG).events
    columns = ("id", "user_id", "checkpoint")
    payload = payload_function(event.payloads[0], "public", "checkpoints", columns)
    assert payload is not None
    assert payload((7, "u1", 5)) == {"user_id": "u1", "checkpoint": 6}
    assert payload((8, "u1", 1)) is None
    assert payload_function(event.payloads[0], "public", "other", columns) is None
    by_month = payload_function(event.payloads[1], "public", "log_may", ("id", "_hidden"))
    assert by_month is not None
    assert by_month((1, 2)) == {"id": 1, "month": "may"}


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT a.x FROM a JOIN b ON a.x = b.x", "single_table_only"),
        ("NOT SQL", "sql_syntax"),
        ("SELECT x FROM t WHERE x = bucket.y", "unknown_reference"),
        ("SELECT request.user_id() AS x FROM t", "unknown_function"),
    ],
)
def test_what_is_no_payload_query_is_refused(query: str, kind: str) -> None:
    config = CONFIG + f"      - {query}\n"
    with pytest.raises(SyncConfigError) as raised:
        compile_sync_config(config)
    assert [(problem.kind, problem.line) for problem in raised.value.problems] == [(kind, 9)]
