"""The code of docs/howto/mutators.md and docs/howto/large-uploads.md runs as it stands there, and does what the pages say."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.client import SyncDatabase
from syncline.testing.postgres import ScratchDatabase

HOWTO = Path(__file__).parents[3] / "docs/howto"
SQL = """
CREATE TABLE events (id text PRIMARY KEY, name text, free integer NOT NULL);
CREATE TABLE bookings (id text PRIMARY KEY, event_id text, seats integer, user_id text);
INSERT INTO events VALUES ('e1', 'Concert', 3);
"""


def run_page(name: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All names of a page, after its blocks have run."""
    found: list[str] = re.findall(r"```python\n(.*?)```", (HOWTO / name).read_text("utf-8"), re.DOTALL)
    assert len(found) == blocks
    page = types.ModuleType(name.partition(".")[0].replace("-", "_"))  # annotations are looked up in their module
    monkeypatch.setitem(sys.modules, page.__name__, page)
    for number, block in enumerate(found):
        exec(compile(block, f"{name}, block {number + 1}", "exec", dont_inherit=True), page.__dict__)
    return page.__dict__


@pytest.mark.requirement(150)
async def test_the_page_on_mutators(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_database.execute(SQL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    names = run_page("mutators.md", 2, monkeypatch)
    backend: SyncBackend = names["backend"]
    await backend.open()
    try:
        async with SyncDatabase(tmp_path / "app.db", schema=names["schema"]) as db:
            names["register_mutators"](db)
            booking_id = await names["book"](db, "e1")
            assert [tuple(row) for row in await db.get_all("SELECT * FROM bookings")] == [(booking_id, "e1", 1)]
            [transaction] = await db.get_crud_transactions(5)
            [entry] = transaction.crud
        crud = {"op": entry.op, "table": entry.table, "id": entry.id, "op_data": entry.op_data}
        arguments = json.dumps({"event_id": "e1", "booking_id": "b2", "seats": 3})
        sold_out = crud | {"id": "other", "op_data": {"name": "take_seat", "args": arguments}}
        negative = sold_out | {"op_data": {"name": "take_seat", "args": arguments.replace("3", "-3")}}
        for each, code in ((crud, None), (crud, None), (sold_out, "SOLD_OUT"), (negative, "VALIDATION_ERROR")):
            body = json.dumps({"transactions": [{"crud": [each]}]}).encode()
            answer = msgspec.to_builtins(await backend.handle_upload(body, AuthenticatedUser("ann")))
            failed = answer["results"][0].get("failed_operation")
            assert (failed and failed["error_code"]) == code
    finally:
        await backend.close()
    assert postgres_database.execute("SELECT free FROM events") == [(2,)]
    assert postgres_database.execute("SELECT * FROM bookings") == [(booking_id, "e1", 1, "ann")]


def test_the_page_on_large_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    names = run_page("large-uploads.md", 2, monkeypatch)
    assert names["backend"].staged is not None
    assert names["connector"]._uploader._staged_above_bytes == 500_000
