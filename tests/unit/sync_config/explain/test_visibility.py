"""Whether a user sees a row: through which parameter, or which value is in the way."""

from __future__ import annotations

import pytest

from syncline.sync_config import compile_sync_config
from syncline.sync_config.explain import Likeness, ObstacleKind, VisibilityExplanation, explain_visibility
from tests.unit.sync_config.explain.explaining import connection_of, plan_of, row_of

MINE = "SELECT * FROM cats WHERE owner = auth.user_id()"


def visibility(query: str, token: dict[str, object], **row: str | int | float | bytes | None) -> VisibilityExplanation:
    plan = plan_of(query)
    return explain_visibility(row_of(plan, "cats", **row), connection_of(plan, token))


def test_a_row_is_seen_through_the_parameter_that_row_and_user_have_in_common() -> None:
    explained = visibility(MINE, {"sub": "u1"}, id="C1", owner="u1")
    (way,) = explained.ways
    assert explained.visible
    assert (way.bucket, way.stream, way.subscription, way.object_id) == ('s|0["u1"]', "s", "by default", "C1")
    assert [(one.sql, one.value.text, one.through) for one in way.parameters] == [
        ("cats.owner", "'u1'", ("auth.user_id()",))
    ]
    assert way.origins[0].sql == MINE
    assert explained.obstacles == ()


def test_another_value_is_told_with_both_sides() -> None:
    explained = visibility(MINE, {"sub": "u2"}, id="C1", owner="u1")
    (obstacle,) = explained.obstacles
    assert not explained.visible
    assert obstacle.kind is ObstacleKind.OTHER_VALUES
    (difference,) = obstacle.differences
    assert list(difference.lines()) == ["cats.owner: the row has 'u1', the user has 'u2', through auth.user_id()"]


@pytest.mark.parametrize(
    ("claim", "value", "likeness"),
    [
        ("7", 7, Likeness.TYPE),
        (7, "7", Likeness.TYPE),
        ("7", 7.0, Likeness.TYPE),
        ("7", 8, Likeness.NONE),
        ("Ab-1 ", "ab-1", Likeness.CASE_OR_BLANKS),
        ("a", "b", Likeness.NONE),
        ("seven", 7, Likeness.NONE),
    ],
)
def test_a_value_of_another_type_is_pointed_out(claim: str | int, value: str | float, likeness: Likeness) -> None:
    query = "SELECT * FROM cats WHERE org = auth.parameter('org')"
    explained = visibility(query, {"sub": "u1", "org": claim}, id="C1", org=value)
    assert [difference.likeness for difference in explained.obstacles[0].differences] == [likeness]
    assert ("TYPES DIFFER" in str(explained)) == (likeness is Likeness.TYPE)


def test_an_integer_and_a_real_of_the_same_value_are_no_obstacle() -> None:
    query = "SELECT * FROM cats WHERE org = auth.parameter('org')"
    assert visibility(query, {"sub": "u1", "org": 7.0}, id="C1", org=7).visible


def test_of_several_keys_only_those_that_differ_from_the_closest_bucket_are_told() -> None:
    query = "SELECT * FROM cats WHERE owner = auth.user_id() AND home IN auth.parameter('homes') AND org = auth.parameter('org')"
    token: dict[str, object] = {"sub": "u1", "homes": ["a", "b"], "org": "7"}
    explained = visibility(query, token, id="C1", owner="u1", home="b", org=7)
    (difference,) = explained.obstacles[0].differences
    assert (difference.sql, difference.likeness) == ("cats.org", Likeness.TYPE)


def test_a_row_in_no_bucket_says_why() -> None:
    (obstacle,) = visibility(f"{MINE} AND age > 3", {"sub": "u1"}, id="C1", owner="u1", age=1).obstacles
    assert (obstacle.kind, obstacle.reason) == (
        ObstacleKind.NOT_IN_BUCKET,
        "The row is in no bucket: cats.age > 3 is false",
    )


def test_a_stream_that_is_not_subscribed_is_told() -> None:
    plan = compile_sync_config(f"config: {{edition: 3}}\nstreams:\n  s:\n    query: {MINE}\n")
    explained = explain_visibility(row_of(plan, "cats", id="C1", owner="u1"), connection_of(plan, {"sub": "u1"}))
    (obstacle,) = explained.obstacles
    assert (obstacle.kind, obstacle.stream) == (ObstacleKind.NOT_SUBSCRIBED, "s")


def test_a_connection_without_buckets_of_the_source_says_why_and_what_it_would_have() -> None:
    query = f"{MINE} AND auth.parameter('role') = 'vet'"
    (obstacle,) = visibility(query, {"sub": "u2"}, id="C1", owner="u1").obstacles
    assert obstacle.kind is ObstacleKind.NO_BUCKETS
    assert obstacle.reason.endswith("does not ask for: auth.parameter('role') = 'vet' does not hold")
    assert [difference.sql for difference in obstacle.differences] == ["cats.owner"]


def test_a_table_that_no_query_selects_from_is_told() -> None:
    (obstacle,) = visibility("SELECT * FROM dogs", {"sub": "u1"}, id="C1").obstacles
    assert obstacle.kind is ObstacleKind.NO_QUERY


def test_explanations_with_different_prefixes_are_not_joined() -> None:
    plan = plan_of(MINE)
    with pytest.raises(ValueError, match="different bucket prefixes"):
        explain_visibility(row_of(plan, "cats", "5#", id="C1", owner="u1"), connection_of(plan, {"sub": "u1"}))
