"""Sync rules and the queries of streams that they become, one construct at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from syncline.sync_config.migration import migrate_to_streams
from syncline.sync_config.schema import SourceSchema

_FIXED = "config: {fixed_json_extract: true}\n"


def rules(parameters: str | Sequence[str], data: str | Sequence[str], header: str = "") -> str:
    """Sync rules with one bucket definition, `d`."""
    definition = {"parameters": parameters} if parameters else {}
    queries = [data] if isinstance(data, str) else list(data)
    return header + yaml.safe_dump({"bucket_definitions": {"d": {**definition, "data": queries}}})


def migrated(text: str, *, schema: SourceSchema | None = None) -> list[str]:
    """The queries of the only stream, each in one line."""
    (stream,) = yaml.safe_load(migrate_to_streams(text, schema=schema).text)["streams"].values()
    queries: list[str] = stream["queries"] if "queries" in stream else [stream["query"]]
    return [" ".join(line.strip() for line in query.splitlines()) for query in queries]


@pytest.mark.parametrize(
    ("parameters", "data", "expected"),
    [
        pytest.param("", "SELECT * FROM cats", "SELECT * FROM cats", id="everybody"),
        pytest.param(
            "SELECT request.user_id() AS u",
            "SELECT * FROM lists WHERE owner = bucket.u",
            "SELECT * FROM lists WHERE owner = auth.user_id()",
            id="the user",
        ),
        pytest.param(
            "SELECT token_parameters.user_id AS u, token_parameters.org AS o, user_parameters.p AS p",
            "SELECT id FROM t WHERE a = bucket.u AND b = bucket.o AND c = bucket.p",
            "SELECT id FROM t"
            " WHERE a = auth.user_id() AND b = auth.parameter('$.parameters.org') AND c = connection.parameter('p')",
            id="older names of connection data",
        ),
        pytest.param(
            "SELECT id AS l FROM lists WHERE owner = request.user_id()",
            "SELECT * FROM todos WHERE todos.list_id = bucket.l",
            "SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner = auth.user_id())",
            id="a column of a table",
        ),
        pytest.param(
            "SELECT org, team FROM members WHERE user_id = request.user_id()",
            "SELECT * FROM notes WHERE org = bucket.org AND team = bucket.team",
            "SELECT notes.* FROM notes, members"
            " WHERE notes.org = members.org AND notes.team = members.team AND members.user_id = auth.user_id()",
            id="two columns of one row stay together",
        ),
        pytest.param(
            "SELECT org, team FROM members WHERE user_id = request.user_id()",
            "SELECT id FROM members WHERE org = bucket.org AND team = bucket.team",
            "SELECT members.id FROM members, members AS parameters"
            " WHERE members.org = parameters.org AND members.team = parameters.team AND parameters.user_id = auth.user_id()",
            id="a table joined with itself",
        ),
        pytest.param(
            "SELECT id AS l, request.user_id() AS u FROM lists WHERE request.user_id() IN people",
            "SELECT id FROM todos WHERE list_id = bucket.l AND owner = bucket.u",
            "SELECT id FROM todos"
            " WHERE list_id IN (SELECT id FROM lists WHERE auth.user_id() IN people) AND owner = auth.user_id()",
            id="a column beside a value of the connection",
        ),
        pytest.param(
            "SELECT value AS p FROM json_each(request.jwt() -> 'ids')",
            "SELECT * FROM t WHERE x = bucket.p",
            "SELECT * FROM t WHERE x IN auth.parameters() -> 'ids'",
            id="elements of a claim",
        ),
        pytest.param(
            "SELECT value AS p FROM json_each(request.jwt() -> 'ids') WHERE value != 'x' AND request.jwt() ->> 'ok'",
            "SELECT id FROM t WHERE bucket.p = x",
            "SELECT id FROM t WHERE x IN (SELECT value FROM json_each(auth.parameters() -> 'ids') WHERE value != 'x' AND value IS NOT NULL)"
            " AND auth.parameters() ->> 'ok'",
            id="some elements of a claim",
        ),
        pytest.param(
            "SELECT value AS p FROM json_each(request.jwt() -> 'tags')",
            "SELECT * FROM t WHERE bucket.p IN tags",
            "SELECT * FROM t WHERE tags && auth.parameters() -> 'tags'",
            id="elements of a claim and of the row",
        ),
        pytest.param(
            "SELECT tag FROM members WHERE user_id = request.user_id()",
            "SELECT * FROM t WHERE bucket.tag IN tags",
            "SELECT * FROM t WHERE tags && (SELECT tag FROM members WHERE user_id = auth.user_id())",
            id="a column of a table and elements of the row",
        ),
        pytest.param(
            "SELECT request.user_id() AS u",
            "SELECT * FROM t WHERE bucket.u IN people",
            "SELECT * FROM t WHERE auth.user_id() IN people",
            id="the user among elements of the row",
        ),
        pytest.param(
            "SELECT id AS l FROM lists WHERE org IN (request.jwt() -> 'orgs')",
            "SELECT * FROM t WHERE list_id = bucket.l",
            "SELECT * FROM t WHERE list_id IN (SELECT id FROM lists WHERE org IN auth.parameters() -> 'orgs')",
            id="a column among elements of a claim",
        ),
        pytest.param(
            "SELECT FROM users WHERE users.id = request.user_id() AND users.is_admin",
            "SELECT * FROM audit",
            "SELECT * FROM audit WHERE auth.user_id() IN (SELECT id FROM users WHERE is_admin)",
            id="a row that only has to be there",
        ),
        pytest.param(
            "SELECT request.user_id() AS u FROM settings",
            "SELECT * FROM t WHERE x = bucket.u",
            "SELECT * FROM t WHERE x = auth.user_id() AND 1 IN (SELECT 1 FROM settings WHERE settings.table_name() IS NOT NULL)",
            id="any row at all",
        ),
        pytest.param(
            "SELECT WHERE request.jwt() ->> 'role' = 'admin'",
            "SELECT * FROM t",
            "SELECT * FROM t WHERE auth.parameters() ->> 'role' = 'admin'",
            id="a condition on the connection alone",
        ),
        pytest.param(
            "SELECT request.user_id() AS u WHERE request.user_id() IN (request.jwt() -> 'admins')",
            "SELECT * FROM t WHERE x = bucket.u",
            "SELECT * FROM t WHERE x = auth.user_id() AND (auth.user_id() IN auth.parameters() -> 'admins') IS TRUE",
            id="the user among elements of a claim",
        ),
        pytest.param(
            "SELECT request.user_id() AS u",
            "SELECT * FROM t WHERE owner = bucket.u AND bucket.u IN people",
            "SELECT * FROM t WHERE owner = auth.user_id() AND 1 IN (SELECT 1 FROM json_each(people) WHERE value IS NOT NULL)",
            id="of two matches with one parameter, the second only has to be there",
        ),
        pytest.param(
            "SELECT is_admin FROM users WHERE id = request.user_id()",
            "SELECT * FROM t WHERE bucket.is_admin",
            "SELECT * FROM t WHERE 1 IN (SELECT is_admin FROM users WHERE id = auth.user_id())",
            id="a parameter that must be true",
        ),
    ],
)  # fmt: skip
def test_parameters_stand_where_they_were_compared(parameters: str, data: str, expected: str) -> None:
    assert migrated(rules(parameters, data)) == [expected]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("state != 'x'", "state != 'x' AND state IS NOT NULL"),
        ("state != owner", "state != owner AND state IS NOT NULL AND owner IS NOT NULL"),
        ("NOT (state != 'x')", "NOT (state != 'x' AND state IS NOT NULL)"),
        ("(state != 'x') = flag", "1 - (state = 'x') = flag"),
        ("owner IN people", "(owner IN people) IS TRUE"),
        ("NOT (owner IN people)", "owner NOT IN people"),
        ("NOT (a OR NOT (owner IN people))", "NOT (a OR NOT (owner IN people) IS TRUE)"),
        ("owner IN '[\"a\", null, 1]'", "owner IN ARRAY['a', 1]"),
        ("n > 1 AND 2 >= n", "n > 1 AND n <= 2"),
        ("meta ->> 'a.b' = 'null'", "meta ->> 'a.b' = 'null'"),
        ("upper(a, b) = 'X'", "upper(a) = 'X'"),
        ("n = 9007199254740993", "n = 9007199254740992"),
        ('"Upper" = "select"', '"Upper" = "select"'),
        ("a IS NULL OR b IS NOT NULL", "a IS NULL OR b IS NOT NULL"),
    ],
)
def test_conditions_keep_their_meaning(where: str, expected: str) -> None:
    assert migrated(rules("", f"SELECT id FROM t WHERE {where}")) == [f"SELECT id FROM t WHERE {expected}"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("'z' AS name, *", "*, 'z' AS name"),
        ("id, name, *", "*"),
        ("*, _secret", "*, _secret"),
        ("id, state != 'x' AS open", "id, 1 - (state = 'x') AS open"),
        ("id, 'a' IN tags AS tagged", "id, 'a' IN tags AS tagged"),
        ("'only' AS id", "iif(1, 'only', t.table_name()) AS id"),
        ("t.id, t.name AS title", "id, name AS title"),
    ],
)
def test_columns_keep_their_values(columns: str, expected: str) -> None:
    assert migrated(rules("", f"SELECT {columns} FROM t")) == [f"SELECT {expected} FROM t"]


def test_a_star_is_spelled_out_where_the_table_has_columns_that_sync_rules_leave_out() -> None:
    text = rules("", "SELECT * FROM t")
    assert migrated(text, schema=SourceSchema.of({"public.t": {"id": "text", "_x": "text", "b": "text"}})) == [
        "SELECT id, b FROM t"
    ]
    assert migrated(text, schema=SourceSchema.of({"public.t": {"id": "text", "b": "text"}})) == ["SELECT * FROM t"]


def test_wildcards_ask_a_function_for_the_rest_of_the_name() -> None:
    text = rules(
        "", ['SELECT id, _table_suffix AS s FROM "log_%"', 'SELECT id, l._table_suffix AS s FROM acme."log_%" AS l']
    )
    assert migrated(text) == [
        'SELECT id, "log_%".table_suffix() AS s FROM "log_%"',
        'SELECT id, l.table_suffix() AS s FROM acme."log_%" AS l',
    ]  # fmt: skip


def test_every_parameter_query_goes_with_every_data_query() -> None:
    parameters = ["SELECT request.user_id() AS u", "SELECT friend AS u FROM friends WHERE me = request.user_id()"]
    data = ["SELECT id FROM a WHERE x = bucket.u", "SELECT id FROM b WHERE x = bucket.u"]
    of_friends = "x IN (SELECT friend FROM friends WHERE me = auth.user_id())"
    assert migrated(rules(parameters, data)) == [
        "SELECT id FROM a WHERE x = auth.user_id()",
        "SELECT id FROM b WHERE x = auth.user_id()",
        f"SELECT id FROM a WHERE {of_friends}",
        f"SELECT id FROM b WHERE {of_friends}",
    ]


def test_an_or_of_matches_becomes_two_queries() -> None:
    text = rules("SELECT request.user_id() AS u", "SELECT id FROM t WHERE a = bucket.u OR b = bucket.u")
    assert migrated(text) == ["SELECT id FROM t WHERE a = auth.user_id()", "SELECT id FROM t WHERE b = auth.user_id()"]


def test_claims_have_a_shorter_form_where_json_paths_are_fixed() -> None:
    parameters = "SELECT request.jwt() ->> 'org' AS o, request.parameters() ->> '$.a.b' AS p"
    text = rules(parameters, "SELECT id FROM t WHERE a = bucket.o AND b = bucket.p", _FIXED)
    assert migrated(text) == [
        "SELECT id FROM t WHERE a = auth.parameter('org') AND b = connection.parameters() ->> '$.a.b'"
    ]


def test_tables_with_the_names_of_connection_data_get_another_name_in_subqueries() -> None:
    text = rules(
        "SELECT id AS c FROM connection WHERE owner = request.user_id()", "SELECT id FROM t WHERE x = bucket.c"
    )
    assert migrated(text) == [
        "SELECT id FROM t WHERE x IN (SELECT id FROM connection AS connection_rows WHERE owner = auth.user_id())"
    ]
