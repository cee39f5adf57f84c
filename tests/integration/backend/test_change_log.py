"""The log of changes over a real Postgres."""

from __future__ import annotations

from syncline.backend import SyncBackend, TablePolicy
from syncline.backend.conflicts import CHANGES_TABLE_SQL, ChangeLog, VersionColumn
from tests.integration.backend.conftest import Uploads, delete, patch, put


async def test_each_change_is_logged_in_its_transaction_and_a_conflict_does_not_end_it(uploads: Uploads) -> None:
    uploads.database.execute(
        CHANGES_TABLE_SQL + "CREATE TABLE todos (id text PRIMARY KEY, title text, version integer, owner_id text)"
    )
    policy = TablePolicy(owner="owner_id", conflicts=ChangeLog(VersionColumn("version")))
    backend = SyncBackend(persister=uploads.persister, auth=uploads.backend.auth, tables={"todos": policy})
    logged = Uploads(backend, uploads.persister, uploads.database)
    await logged.succeed(put("t1", "todos", title="first", version=1))
    await logged.succeed(
        patch("t1", "todos", title="second", version=2),
        patch("t1", "todos", title="of an old state", version=2),
        patch("gone", "todos", title="x", version=2),
    )
    await logged.succeed(delete("t1", "todos"))
    rows = uploads.database.execute(
        "SELECT op, row_id, new_value, status, error_code FROM field_changes"
        " WHERE field_name IS NULL OR field_name = 'title' ORDER BY new_value COLLATE \"C\" NULLS LAST"
    )
    assert rows == [
        ("put", "t1", '"first"', "applied", None),
        ("patch", "t1", '"of an old state"', "failed", "CONFLICT"),
        ("patch", "t1", '"second"', "applied", None),
        ("patch", "gone", '"x"', "failed", "NO_SUCH_ROW"),
        ("delete", "t1", None, "applied", None),
    ]
    assert uploads.database.execute("SELECT count(*) FROM todos") == [(0,)]
