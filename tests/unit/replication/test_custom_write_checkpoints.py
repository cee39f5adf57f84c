from __future__ import annotations

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.custom_write_checkpoints import CustomCheckpointFeed, RowFeed
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import TablePattern

CONFIG = """
bucket_definitions:
  all:
    data: [SELECT * FROM lists]
event_definitions:
  {name}:
    payloads:
      - SELECT user_id, client_id, checkpoint FROM checkpoints WHERE valid = 1
"""
COLUMNS = ("id", "user_id", "client_id", "checkpoint", "valid")


def feed_of(name: str = "write_checkpoints") -> CustomCheckpointFeed:
    return CustomCheckpointFeed(compile_sync_config(CONFIG.replace("{name}", name)).events)


@pytest.fixture
def feed() -> RowFeed:
    found = feed_of().of_table("public", "checkpoints", COLUMNS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("user_id", "client_id", "checkpoint", "expected"),
    [
        ("u", "c", 7, ("u/c", 7)),
        ("u", None, 7, ("u", 7)),
        ("u", "", 7, ("u", 7)),
        (5, "c", "12", ("5/c", 12)),
        ("u", "c", 2**63 - 1, ("u/c", 2**63 - 1)),
        ("u", "c", 0, ("u/c", 0)),
        ("u", "c", 2**63, None),
        ("u", "c", -1, None),
        ("u", "c", 1.5, None),
        ("u", "c", "²", None),
        ("u", "c", None, None),
        (None, "c", 7, None),
        (b"u", "c", 7, None),
        ("u", 1.5, 7, None),
    ],
)
def test_a_row_gives_its_user_s_write_checkpoint(
    feed: RowFeed, user_id: SyncValue, client_id: SyncValue, checkpoint: SyncValue, expected: tuple[str, int] | None
) -> None:
    assert feed(("r", user_id, client_id, checkpoint, 1)) == expected
    assert feed(("r", user_id, client_id, checkpoint, 0)) is None  # the query leaves it out


def test_only_events_about_checkpoints_count() -> None:
    for name in ("write_checkpoints", "checkpoint_requests"):
        assert feed_of(name)
        assert feed_of(name).table_patterns == (TablePattern("public", "checkpoints"),)
    assert not feed_of("something_else")
    assert feed_of("something_else").of_table("public", "checkpoints", COLUMNS) is None
    assert feed_of().of_table("public", "lists", COLUMNS) is None
