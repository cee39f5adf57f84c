from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from syncline.backend import TablePolicy
from tests.integration.backend.conftest import Uploads, make_backend, put

TYPES_SQL = """
CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN small_blob AS bytea CHECK (length(VALUE) < 9);
CREATE DOMAIN smaller_blob AS small_blob;
CREATE DOMAIN tags AS text[];
CREATE TABLE types (
  id uuid PRIMARY KEY,
  bool boolean, i2 smallint, i8 bigint, f8 double precision, num numeric, txt text, fixed char(3), short varchar(3),
  js json, jsb jsonb, doc document, blob bytea, domain_blob smaller_blob, blobs bytea[],
  day date, at timestamptz, local_at timestamp, span interval, feeling mood,
  words text[], numbers integer[], flags boolean[], documents jsonb[], labels tags,
  doubled bigint GENERATED ALWAYS AS (i8 * 2) STORED
);
"""
ID = "6c1b3c9e-0000-4000-8000-000000000001"
INSTANT = datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
BYTES = b"\x00\xfftext"


@pytest.fixture
def typed(uploads: Uploads) -> Uploads:
    uploads.database.execute(TYPES_SQL)
    return Uploads(
        make_backend(uploads.persister, {"types": TablePolicy(owner=None)}), uploads.persister, uploads.database
    )


async def stored(uploads: Uploads, column: str, value: Any) -> Any:
    await uploads.succeed(put(ID, table="types", **{column: value}))
    return uploads.database.execute(f"SELECT {column} FROM types")[0][0]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("bool", 1, True),
        ("bool", "false", False),
        ("i2", 7.0, 7),
        ("i8", 2**53 + 1, 2**53 + 1),
        ("i8", "9007199254740993", 2**53 + 1),
        ("f8", 1.5e300, 1.5e300),
        ("num", "1.10", Decimal("1.10")),
        ("txt", "ünï\n\\x", "ünï\n\\x"),
        ("fixed", "ab", "ab "),
        ("js", '{"a": 1}', {"a": 1}),
        ("jsb", '{"a": [1, null]}', {"a": [1, None]}),
        ("jsb", {"a": 1}, {"a": 1}),
        ("doc", '{"a": 1}', {"a": 1}),
        ("blob", base64.b64encode(BYTES).decode(), BYTES),
        ("domain_blob", base64.b64encode(BYTES).decode(), BYTES),
        ("blobs", '["AP8=", null]', [b"\x00\xff", None]),
        ("day", "2026-01-02", date(2026, 1, 2)),
        ("at", "2023-11-14 22:13:20.500Z", INSTANT),
        ("at", "2023-11-14T22:13:20.500Z", INSTANT),
        ("at", 1_700_000_000.5, INSTANT),
        ("at", 1_700_000_000_500, INSTANT),
        ("local_at", 1_700_000_000_500, INSTANT.replace(tzinfo=None)),
        ("feeling", "fine", "fine"),
        ("words", '["a,b", "c\\"d", null, "NULL", ""]', ["a,b", 'c"d', None, "NULL", ""]),
        ("numbers", [[1, 2.0], [3, 4]], [[1, 2], [3, 4]]),
        ("flags", "[1, false]", [True, False]),
        ("documents", [{"a": [1]}, [2]], [{"a": [1]}, [2]]),
        ("labels", '["x"]', ["x"]),
    ],
)
async def test_a_value_arrives_as_the_type_of_its_column(
    typed: Uploads, column: str, value: Any, expected: Any
) -> None:
    assert await stored(typed, column, value) == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bool", 2),
        ("i8", "1.5"),
        ("short", "long"),
        ("fixed", "long"),
        ("jsb", "not json"),
        ("blob", "not base64!"),
        ("feeling", "angry"),
        ("day", "2026-02-30"),
        ("words", "hello"),
        ("i2", 40_000),
    ],
)
async def test_a_value_that_its_column_cannot_hold_is_invalid(typed: Uploads, column: str, value: Any) -> None:
    assert await typed.code(put(ID, table="types", **{column: value})) == ("INVALID_DATA", 0)


async def test_a_domains_own_check_holds(typed: Uploads) -> None:
    long = base64.b64encode(b"123456789").decode()
    assert await typed.code(put(ID, table="types", domain_blob=long)) == ("CHECK_VIOLATION", 0)


async def test_generated_columns_are_left_to_the_database(typed: Uploads) -> None:
    await typed.succeed(put(ID, table="types", i8=4, doubled=99))
    await typed.succeed(put(ID, table="types", doubled=99))
    assert typed.database.execute("SELECT id, doubled FROM types") == [(UUID(ID), 8)]


async def test_a_column_whose_type_has_changed_is_written_by_its_new_type(typed: Uploads) -> None:
    """Refused by the columns as they were, a device would drop the write."""
    assert await stored(typed, "txt", "plain") == "plain"
    typed.database.execute("UPDATE types SET txt = NULL; ALTER TABLE types ALTER txt TYPE bytea USING txt::bytea")
    assert await stored(typed, "txt", "AP8=") == b"\x00\xff"
    typed.database.execute("ALTER TABLE types ALTER txt TYPE text USING 'x'")
    assert await stored(typed, "txt", "not base64!") == "not base64!"


async def test_a_new_column_is_seen(typed: Uploads) -> None:
    assert await stored(typed, "txt", "x") == "x"
    assert await typed.code(put(ID, table="types", late="1")) == ("SCHEMA_MISMATCH", 0)
    typed.database.execute("ALTER TABLE types ADD late text")
    assert await stored(typed, "late", "1") == "1"


async def test_a_column_that_is_gone_is_a_schema_mismatch(typed: Uploads) -> None:
    assert await stored(typed, "txt", "x") == "x"
    typed.database.execute("ALTER TABLE types DROP txt")
    assert await typed.code(put(ID, table="types", txt="1")) == ("SCHEMA_MISMATCH", 0)
