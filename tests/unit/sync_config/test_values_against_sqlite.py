"""Our values and functions against SQLite's own, through bound parameters, wherever both are meant to agree (reference, 5 and 6).

Left out is what differs by the language: overflow, texts of reals, characters beyond the BMP, case beyond ASCII, blobs compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.functions import implementation

SQLITE = apsw.Connection(":memory:")


def _compact(document: Any) -> str:
    """JSON without blanks: SQLite quotes parts of a document as they are written."""
    return json.dumps(document, separators=(",", ":"))


INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**31), 2**31)
REALS = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(st.characters(max_codepoint=0xD7FF, exclude_characters="\0"), max_size=6)
NUMERIC_WORDS = st.from_regex(r"\A[ ]?[+-]?[0-9]{1,6}(\.[0-9]{1,3})?[a-d ]?\Z")
BLOBS = st.binary(max_size=4)
NULL = st.none()
NUMBERS = SMALL | REALS | NULL
COMPARED = INT64 | REALS | WORDS | NULL
TEXTS = WORDS | NULL
OPERANDS = INT64 | NUMERIC_WORDS | st.integers(-70, 70) | NULL
MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59)).map(
    lambda moment: moment.isoformat(sep=" ", timespec="milliseconds")
)
JSON = st.recursive(
    NULL | st.booleans() | SMALL | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "cd"]), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "cd"]), JSON, min_size=1).map(_compact)
DOCUMENTS = st.lists(JSON, min_size=1, max_size=3).map(_compact) | OBJECTS


CASES: dict[str, tuple[str, str, tuple[st.SearchStrategy[Any], ...]]] = {
    "sum": ("+", "?1 + ?2", (NUMBERS | NUMERIC_WORDS, NUMBERS | NUMERIC_WORDS)),
    "difference": ("-", "?1 - ?2", (NUMBERS | NUMERIC_WORDS, NUMBERS | NUMERIC_WORDS)),
    "product": ("*", "?1 * ?2", (NUMBERS, NUMBERS)),
    "quotient": ("/", "?1 / ?2", (NUMBERS | NUMERIC_WORDS, NUMBERS)),
    "remainder": ("%", "?1 % ?2", (OPERANDS | REALS, OPERANDS | REALS)),
    "equal": ("=", "?1 = ?2", (COMPARED, COMPARED)),
    "not equal": ("!=", "?1 != ?2", (COMPARED, COMPARED)),
    "less": ("<", "?1 < ?2", (COMPARED, COMPARED)),
    "less or equal": ("<=", "?1 <= ?2", (COMPARED, COMPARED)),
    "between": ("between", "?1 BETWEEN ?2 AND ?3", (SMALL | TEXTS, SMALL | WORDS, SMALL | WORDS)),
    "in list": ("in list", "?1 IN (?2, ?3)", (st.integers(0, 3) | TEXTS, st.integers(0, 3) | TEXTS, NULL | WORDS)),
    "concatenation": ("||", "?1 || ?2", (TEXTS | INT64, TEXTS | INT64)),
    "and bits": ("&", "?1 & ?2", (OPERANDS | REALS, OPERANDS)),
    "or bits": ("|", "?1 | ?2", (OPERANDS | REALS, OPERANDS)),
    "shift left": ("<<", "?1 << ?2", (OPERANDS, OPERANDS)),
    "shift right": (">>", "?1 >> ?2", (OPERANDS, OPERANDS)),
    "substring": ("substring", "substr(?1, ?2, ?3)", (TEXTS | INT64, st.integers(1, 9), st.integers(0, 9))),
    "substring to the end": ("substring", "substr(?1, ?2)", (TEXTS | INT64, st.integers(-3, 9))),
    "hex": ("hex", "hex(?1)", (TEXTS | INT64 | BLOBS,)),
    "typeof": ("typeof", "typeof(?1)", (COMPARED | BLOBS,)),
    "ifnull": ("ifnull", "ifnull(?1, ?2)", (COMPARED, COMPARED)),
    "iif": ("iif", "iif(?1, ?2, ?3)", (INT64 | REALS | NULL, COMPARED, COMPARED)),
    "instr": ("instr", "instr(?1, ?2)", (st.text("ab", max_size=6) | NULL, st.text("ab", max_size=2) | NULL)),
    "instr of blobs": ("instr", "instr(?1, ?2)", (BLOBS, st.binary(max_size=2))),
    "length": ("length", "length(?1)", (TEXTS | INT64 | BLOBS,)),
    "upper": ("upper", "upper(?1)", (st.text(st.characters(max_codepoint=126, min_codepoint=1)),)),
    "json_array_length": ("json_array_length", "json_array_length(?1)", (DOCUMENTS | NULL,)),
    "json_extract": (
        "json_extract",
        "json_extract(?1, ?2)",
        (OBJECTS, st.sampled_from(["$", "$.a", "$.b", "$.a.b", "$.cd.a", "$.zz"])),
    ),
    "->>": ("->>", "?1 ->> ?2", (DOCUMENTS, st.sampled_from(["a", "b", "cd", "zz", 0, 1, 2]))),
    "unixepoch": ("unixepoch", "unixepoch(?1)", (MOMENTS,)),
    "unixepoch of a day": ("unixepoch", "unixepoch(?1)", (MOMENTS.map(lambda text: text[:10]),)),
    "unixepoch with subsec": ("unixepoch", "unixepoch(?1, ?2)", (MOMENTS, st.just("subsec"))),
    "datetime": ("datetime", "datetime(?1)", (MOMENTS,)),
    "datetime of an epoch": ("datetime", "datetime(?1, ?2)", (st.integers(-(10**10), 10**11), st.just("unixepoch"))),
    "datetime of a Julian day": ("datetime", "datetime(?1)", (st.integers(2_100_000, 5_000_000),)),
    "datetime in a zone": ("datetime", "datetime(?1)", (st.builds("{}{}".format, MOMENTS, st.sampled_from(["Z", "+02:00", "-11:30"])),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_function_gives_what_sqlite_gives(name: str) -> None:
    function, sql, strategies = CASES[name]
    evaluate: Callable[..., SyncValue] = implementation(function)
    seen = Counter[str]()

    @given(st.tuples(*strategies))
    def check(arguments: tuple[Any, ...]) -> None:
        expected = SQLITE.execute(f"SELECT {sql}", arguments).get
        ours = evaluate(*arguments)
        assert (type(ours), ours) == (type(expected), expected)
        seen[type(ours).__name__] += 1

    check()
    print(name, dict(seen))
    assert any(kind != "NoneType" for kind in seen)
