"""Values of devices in columns of every type, there and back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.backend import TablePolicy
from tests.conformance.persister_suite.conflicts import Watching
from tests.conformance.persister_suite.uploads import Uploads, patch, put

__all__ = ["TypeSuite"]

ID = "6c1b3c9e-0000-4000-8000-000000000001"
ODD_TEXTS = [
    "{",
    "{}",
    "[]",
    "[[1],2]",
    "\\x0",
    "\\x00",
    "{1,{2}}",
    "now",
    "infinity",
    "-0",
    "1e400",
    "1e999999",
    "%s",
    "''",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(ODD_TEXTS)
    | st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


class TypeSuite:
    """The column decides how a value is written."""

    @pytest.mark.requirement(140, 141, 142)
    async def test_a_value_arrives_as_the_type_of_its_column_and_is_shown_as_devices_know_it(
        self, uploads: Uploads
    ) -> None:
        for case in uploads.subject.types:
            await uploads.succeed(put(ID, table="types", **{case.column: case.sent}))
            [(stored,)] = await uploads.rows(f"SELECT {case.column} FROM types")
            assert (case, stored, type(stored)) == (case, case.stored, type(case.stored))
            watching = Watching(case.column)
            shown = uploads.with_tables(types=TablePolicy(owner=None, conflicts=watching))
            await shown.succeed(patch(ID, table="types", txt="x"))
            assert (case, watching.shown) == (case, [{case.column: case.shown}])
            # What a device is shown goes back as it came.
            await uploads.succeed(put(ID, table="types", **{case.column: case.shown}))
            assert (case, await uploads.rows(f"SELECT {case.column} FROM types")) == (case, [(stored,)])

    async def test_null_is_null_for_every_column(self, uploads: Uploads) -> None:
        columns = sorted({case.column for case in uploads.subject.types})
        await uploads.succeed(put(ID, table="types", **dict.fromkeys(columns)))
        await uploads.succeed(patch(ID, table="types", **dict.fromkeys(columns)))
        [row] = await uploads.rows(f"SELECT {', '.join(columns)} FROM types")
        assert {*row} == {None}

    async def test_a_value_that_its_column_cannot_hold_is_invalid(self, uploads: Uploads) -> None:
        for column, value in uploads.subject.invalid:
            assert await uploads.code(put(ID, table="types", **{column: value})) == ("INVALID_DATA", 0), (column, value)
        assert await uploads.rows("SELECT id FROM types") == []

    async def test_generated_columns_are_left_to_the_database(self, uploads: Uploads) -> None:
        await uploads.succeed(put(ID, table="types", i8=4, doubled=99))
        await uploads.succeed(put(ID, table="types", doubled=99), patch(ID, table="types", doubled=1))
        assert await uploads.rows("SELECT doubled FROM types") == [(8,)]

    @given(data=st.data(), value=VALUES | VALUES.map(json.dumps))
    @settings(
        max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    )
    async def test_every_value_is_taken_or_refused_for_good(
        self, uploads: Uploads, data: st.DataObject, value: Any
    ) -> None:
        """A retryable verdict would block the device's queue for ever."""
        column = data.draw(st.sampled_from(sorted({case.column for case in uploads.subject.types})))
        for entry in (put(ID, table="types"), patch(ID, table="types")):
            [result] = await uploads.send([entry | {"op_data": {column: value}}])
            if result["status"] != "success":
                assert result["status"] == "fatal_error", (column, value, result)
                assert result["failed_operation"]["error_code"] in ("INVALID_DATA", "CHECK_VIOLATION"), (column, value)
                assert result["failed_operation"]["operation_index"] == 0
