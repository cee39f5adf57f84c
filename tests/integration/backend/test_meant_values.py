"""Never silent corruption: whatever JSON value goes to whatever column, it arrives as it was meant, or the refusal names the column.

What is meant is said here once more, independently of the code: `MEANT` gives for a column the value that must be stored, `REFUSED`, or
`ANY` for texts that are Postgres' own literals, whose meaning is the database's.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncline.backend import TablePolicy
from tests.integration.backend.conftest import Uploads, make_backend, put
from tests.integration.backend.test_types import ID, TYPES_SQL

REFUSED, ANY = object(), object()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number_of(value: Any) -> Decimal | None:
    """The number that a value is, exactly; None for none."""
    if isinstance(value, bool):
        return Decimal(int(value))
    if not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return Decimal(int(value)) if value.is_integer() else Decimal(repr(value))
    try:
        return Decimal(value)
    except (InvalidOperation, ValueError):
        return None


def meant_integer(value: Any) -> Any:
    number = number_of(value)
    if isinstance(value, str) and not value.strip(" ").isdigit():
        return ANY if number is not None or value[:2].lower() in ("0x", "0o", "0b") or "_" in value else REFUSED
    if number is None or not number.is_finite() or number != number.to_integral_value():
        return REFUSED
    return int(number) if -(2**63) <= number < 2**63 else REFUSED


def meant_float(value: Any) -> Any:
    number = number_of(value)
    if number is None:
        return ANY if isinstance(value, str) else REFUSED
    if isinstance(value, str):
        return ANY
    try:
        return float(number)
    except OverflowError:
        return REFUSED


def meant_numeric(value: Any) -> Any:
    if isinstance(value, str):
        return ANY
    number = number_of(value)
    return REFUSED if number is None else number


def meant_boolean(value: Any) -> Any:
    if isinstance(value, dict | list):
        return REFUSED
    text = str(value).lower()
    known = {"true": True, "t": True, "1": True, "1.0": True, "false": False, "f": False, "0": False, "0.0": False}
    if text in ("1.0", "0.0", "-0.0") and isinstance(value, str):
        return REFUSED
    return known.get("0.0" if text == "-0.0" else text, REFUSED)


def meant_text(value: Any) -> Any:
    if isinstance(value, str):
        return REFUSED if "\0" in value else value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return REFUSED if "\0" in text else text


def meant_json(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return REFUSED
        if "\\u0000" in json.dumps(value) or has_surrogate(value) or has_odd_number(value):
            return ANY
    return REFUSED if "\\u0000" in json.dumps(value) else value


def has_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def has_odd_number(value: Any) -> bool:
    """Whether Python and Postgres read a number of it differently: infinities, and fractions beyond a double."""
    return any(text in json.dumps(value) for text in ("Infinity", "NaN", "e+", "e-"))


def meant_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return REFUSED
    if value.startswith("\\x"):
        return ANY
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return REFUSED


def meant_time(value: Any) -> Any:
    if isinstance(value, str):
        return ANY if value[:1].isdigit() or value[:1] == "-" or "infinity" in value.lower() else REFUSED
    if isinstance(value, bool) or not isinstance(value, int | float):
        return REFUSED
    try:
        since = timedelta(seconds=value) if abs(value) < 10_000_000_000 else timedelta(milliseconds=value)
        return EPOCH + since
    except OverflowError:
        return REFUSED


def meant_day(value: Any) -> Any:
    if not isinstance(value, str):
        return REFUSED
    try:
        return date.fromisoformat(value)
    except ValueError:
        return ANY if value[:1].isdigit() or "infinity" in value.lower() else REFUSED


def meant_uuid(value: Any) -> Any:
    if not isinstance(value, str):
        return REFUSED
    try:
        return UUID(value)
    except ValueError:
        return REFUSED


def meant_mood(value: Any) -> Any:
    return value if value in ("sad", "fine") else REFUSED


def meant_words(value: Any) -> Any:
    if isinstance(value, str):
        if value.startswith("{"):
            return ANY
        try:
            value = json.loads(value)
        except ValueError:
            return REFUSED
    if not isinstance(value, list):
        return REFUSED
    items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]  # of any JSON
    if any(isinstance(item, list) for item in items) or has_surrogate(items):
        return ANY
    words = [None if item is None else meant_text(item) for item in items]
    return REFUSED if REFUSED in words else words


MEANT: dict[str, Callable[[Any], Any]] = {
    "i8": meant_integer,
    "f8": meant_float,
    "num": meant_numeric,
    "bool": meant_boolean,
    "txt": meant_text,
    "jsb": meant_json,
    "blob": meant_bytes,
    "at": meant_time,
    "day": meant_day,
    "key": meant_uuid,
    "feeling": meant_mood,
    "words": meant_words,
}
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-20_000_000_000, 20_000_000_000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**6), 10**6).map(float)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.dates().map(lambda day: day.isoformat())
    | st.uuids().map(str)
    | st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
    | st.sampled_from(["sad", "fine", "{", "[1]", "\\x00", "now", "today", "infinity", "1e400", "NaN", "1/2/2026"])
    | st.sampled_from(["true", "F", "1.0", "0x1F", "1_000", " 12 ", "--1", "yes", "1700000000", "deadbeef", "null"])
)
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
).filter(lambda value: value is not None)


World = tuple[Uploads, psycopg.Connection[Any]]


@pytest.fixture
def world(uploads: Uploads) -> Generator[World]:
    """Uploads into the table `types`, and a connection that reads it."""
    uploads.database.execute(TYPES_SQL)
    backend = make_backend(uploads.persister, {"types": TablePolicy(owner=None)})
    with uploads.database.connect() as reader:
        yield Uploads(backend, uploads.persister, uploads.database), reader


@pytest.mark.requirement(140, 141, 142)
@pytest.mark.timeout(900)  # of the deep profile
@given(column=st.sampled_from(sorted(MEANT)), value=VALUES | VALUES.map(json.dumps))
@example(column="jsb", value='{"a": 1}')
@example(column="blob", value="aGVsbG8=")
@example(column="i8", value=1.0)
@example(column="at", value=-10_000_000_000)
@settings(max_examples=4 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_value_arrives_as_meant_or_the_refusal_names_its_column(world: World, column: str, value: Any) -> None:
    typed, reader = world
    meant = MEANT[column](value)
    [result] = await typed.send([put(ID, table="types") | {"op_data": {column: value}}])
    if result["status"] != "success":
        reader.execute("DELETE FROM syncline_dead_letters")  # of one user only so many are kept
        assert meant in (REFUSED, ANY), f"{column}: {value!r} means {meant!r}"
        assert result["status"] == "fatal_error", f"{column}: {value!r}: {result}"
        assert result["failed_operation"]["error_code"] == "INVALID_DATA"
        assert column in result["failed_operation"]["message"]
        assert result["failed_operation"]["details"] == [{"field": column, "rule": "type"}]
        return
    assert meant is not REFUSED, f"{column}: {value!r} was taken"
    if meant is ANY:
        return
    [(stored,)] = reader.execute(f"SELECT {column} FROM types".encode()).fetchall()
    assert same(stored, meant), f"{column}: {value!r} arrived as {stored!r}"


def same(stored: Any, meant: Any) -> bool:
    if isinstance(meant, float) and isinstance(stored, float):
        return struct.pack("d", stored + 0.0) == struct.pack("d", meant + 0.0) or math.isclose(stored, meant, rel_tol=0)
    return exactly(stored) == exactly(meant)


def exactly(value: Any) -> Any:
    """A JSON value with its numbers by what they are worth, booleans apart."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [exactly(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    return value
