"""Facts of the language, one expression each (sync config reference, sections 5 and 6)."""

from __future__ import annotations

import json

import pytest
import yaml

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config import compile_sync_config
from tests.unit.sync_config.resolving import evaluate

DOC = '{"a":{"b":1},"a.b":"dot","n":null,"r":1e2,"arr":[5,"six"]}'
FACTS: list[tuple[str, SyncValue, SyncValue]] = [
    ("1 + 2 || 3", None, "33"),
    ("'1' || 1 + 2", None, 13),
    ("7 / 2", None, 3),
    ("-7 / 2", None, -3),
    ("7.0 / 2", None, 3.5),
    ("x / 0", 1, None),
    ("x % 3", -7, -1),
    ("x + 1", 9223372036854775807, 9223372036854775808),
    ("x = 'a'", None, None),
    ("x != 'a'", None, 1),
    ("NOT x", None, 1),
    ("x AND 1", None, 0),
    ("x IS TRUE", 5, 0),
    ("x IS NOT NULL", 0, 1),
    ("x IN ARRAY[1, 2]", 2.0, 1),
    ("x NOT IN ROW('a', 'b')", None, 1),
    ("x BETWEEN 1 AND 3", 2, 1),
    ("x BETWEEN 1 AND 3", None, None),
    ("'1' = 1", None, 0),
    ("x < 'a'", 5, 1),
    ("CASE WHEN x THEN 'yes' ELSE 'no' END", "0x10", "yes"),
    ("CASE x WHEN 1 THEN 'one' END", 2, None),
    ("CAST(x AS integer)", -1.5, -2),
    ("x::text", 1.0, "1"),
    ("x::text", 1e21, "1e+21"),
    ("x::numeric", "12.5kg", 12.5),
    ("upper(x)", "straße", "STRASSE"),
    ("length(x)", "😀", 2),
    ("substring(x, -10, 8)", "hello", "hello"),
    ("substring(x, 0, 2)", "hello", "h"),
    ("substring(x from 2 for 3)", "hello", "ell"),
    ("instr(x, 'l')", "hello", 3),
    ("hex(x)", b"\x0f", "0F"),
    ("base64(x)", b"abc", "YWJj"),
    ("typeof(x)", b"", "blob"),
    ("ifnull(x, 'other')", None, "other"),
    ("iif(x > 1, 'a', 'b')", 2, "a"),
    ("x ->> 'a.b'", DOC, "dot"),
    ("x ->> '$.a.b'", DOC, 1),
    ("x -> 'a'", DOC, '{"b":1}'),
    ("x -> 'n'", DOC, "null"),
    ("x ->> 'n'", DOC, None),
    ("x ->> 'missing'", DOC, None),
    ("x -> 'r'", DOC, "100.0"),
    ("x -> 'arr' ->> 1", DOC, "six"),
    ("json_extract(x, '$.arr.0')", DOC, 5),
    ("json_array_length(x, '$.arr')", DOC, 2),
    ("json_keys(x)", '{"k":1,"l":2}', '["k","l"]'),
    ("hex(uuid_blob(x))", "6f1c9a52-3f1e-4a4e-9d57-0123456789ab", "6F1C9A523F1E4A4E9D570123456789AB"),
    ("t.table_name() || t.schema()", None, "tpublic"),
]


@pytest.mark.parametrize(("expression", "x", "expected"), FACTS, ids=[f"{e} for {x!r}"[:60] for e, x, _ in FACTS])
def test_an_expression_has_the_value_of_the_reference(expression: str, x: SyncValue, expected: SyncValue) -> None:
    query = f"SELECT id, {expression} AS v FROM t"
    plan = compile_sync_config(yaml.safe_dump({"config": {"edition": 3}, "streams": {"s": {"query": query}}}))
    evaluation = evaluate(plan, "t", {"id": "r", "x": x})
    assert not evaluation.errors
    value = json.loads(evaluation.rows[0].data)["v"]
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(
    ("expression", "x"),
    [("x ->> 'a'", "{oops"), ("uuid_blob(x)", "secret"), ("json_keys(x)", "[1]"), ("json_extract(x, 'a')", "{}")],
)
def test_an_error_skips_the_row_and_tells_no_value(expression: str, x: str) -> None:
    query = f"SELECT id, {expression} AS v FROM t"
    plan = compile_sync_config(yaml.safe_dump({"config": {"edition": 3}, "streams": {"s": {"query": query}}}))
    evaluation = evaluate(plan, "t", {"id": "r", "x": x})
    assert evaluation.rows == []
    assert len(evaluation.errors) == 1
    assert x not in evaluation.errors[0]
