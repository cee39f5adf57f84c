"""Whatever a device sends for whatever column is taken or refused for good: a retryable verdict would block its queue for ever."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.backend import TablePolicy
from tests.integration.backend.conftest import Uploads, make_backend, patch, put
from tests.integration.backend.test_types import ID, TYPES_SQL

COLUMNS = [
    *("bool", "i2", "i8", "f8", "num", "txt", "fixed", "short", "js", "jsb", "doc", "blob", "domain_blob", "blobs"),
    *("day", "at", "local_at", "span", "feeling", "words", "numbers", "flags", "documents", "labels", "doubled", "id"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ["{", "{}", "[]", "[[1],2]", "\\x0", "\\x00", "{1,{2}}", "now", "infinity", "-0", "1e400", "%s", "''"]
    )
    | st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
TEXTS_OF_VALUES = VALUES.map(json.dumps)


@given(column=st.sampled_from(COLUMNS), value=VALUES | TEXTS_OF_VALUES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_value_is_taken_or_refused_for_good(uploads: Uploads, column: str, value: Any) -> None:
    if uploads.database.execute("SELECT to_regclass('types')") == [(None,)]:
        uploads.database.execute(TYPES_SQL)
    typed = Uploads(
        make_backend(uploads.persister, {"types": TablePolicy(owner=None)}), uploads.persister, uploads.database
    )
    for entry in (put(ID, table="types"), patch(ID, table="types")):
        [result] = await typed.send([entry | {"op_data": {column: value}}])
        if result["status"] != "success":
            assert result["status"] == "fatal_error"
            assert result["failed_operation"]["error_code"] in ("INVALID_DATA", "CHECK_VIOLATION")
            assert result["failed_operation"]["operation_index"] == 0
