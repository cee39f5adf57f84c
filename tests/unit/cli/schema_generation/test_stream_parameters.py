"""Which parameters a stream has, of which types, and in which order."""

from __future__ import annotations

import pytest

from syncline.cli.schema_generation.model import ANY_SCALAR, StreamParameter, ValueTypes
from tests.unit.cli.schema_generation.sources import tables_of

TABLES = {"t": "id text, i int4, r float8, s text, j jsonb", "u": "id text, t_id text, flag bool"}
TEXT, INTEGER, REAL = ValueTypes.TEXT, ValueTypes.INTEGER, ValueTypes.REAL


def parameters(where: str) -> list[StreamParameter]:
    (stream,) = tables_of(f"  a:\n    query: |\n      SELECT * FROM t WHERE {where}\n", **TABLES).streams
    return list(stream.parameters)


@pytest.mark.requirement(199)
@pytest.mark.parametrize(
    ("where", "types", "is_list"),
    [
        ("i = subscription.parameter('p')", INTEGER, False),
        ("r = subscription.parameter('p')", REAL, False),
        ("s = subscription.parameter('p')", TEXT, False),
        ("i = subscription.parameter('p') AND s = subscription.parameter('p')", INTEGER | TEXT, False),
        ("i = subscription.parameter('p') OR r = subscription.parameter('p')", INTEGER | REAL, False),
        ("i + 1 = subscription.parameter('p')", INTEGER, False),
        ("length(s) = subscription.parameter('p')", INTEGER, False),
        ("id IN (SELECT t_id FROM u WHERE flag = subscription.parameter('p'))", INTEGER, False),
        ("s = subscription.parameters() ->> 'p'", TEXT, False),
        ("i = cast(subscription.parameter('p') AS integer)", ANY_SCALAR, False),
        ("s = upper(subscription.parameter('p'))", ANY_SCALAR, False),
        ("subscription.parameter('p') = auth.user_id()", ANY_SCALAR, False),
        ("i IN subscription.parameter('p')", TEXT, True),
        ("s IN (SELECT value FROM json_each(subscription.parameter('p')))", TEXT, True),
    ],
)
def test_a_parameter_has_the_types_of_what_it_is_compared_with(where: str, types: ValueTypes, is_list: bool) -> None:
    assert parameters(where) == [StreamParameter("p", types, is_list)]


def test_parameters_stand_as_the_queries_name_them() -> None:
    where = "s = subscription.parameter('z') AND i = subscription.parameter('a') AND r = subscription.parameter('m')"
    assert [one.name for one in parameters(where)] == ["z", "a", "m"]


def test_values_of_the_connection_are_no_parameters() -> None:
    assert parameters("s = connection.parameter('p') AND id = auth.user_id()") == []


def test_streams_that_devices_have_by_themselves_are_left_out() -> None:
    text = "  auto:\n    auto_subscribe: true\n    query: SELECT * FROM t\n  asked-for:\n    query: SELECT * FROM t\n"
    assert [stream.name for stream in tables_of(text, **TABLES).streams] == ["asked-for"]
