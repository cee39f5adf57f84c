"""`syncline explain` and `who`: what they say is what the service sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncline.cli.explaining.source_view import SourceView
from syncline.sync_config.plan import ConnectionData
from syncline.testing.service_process import token
from syncline.testing.waiting import eventually_sync
from tests.integration.cli.inspected_stack import DEADLINE_S, SYNC_CONFIG, Stack
from tests.support.command_line import run_command_line
from tests.support.service_tree import open_stream


def as_json(stack: Stack, *words: str) -> Any:
    done = stack.run(*words, "--directory", ".", "--output", "json")
    assert done.code == 0, done.text
    return json.loads(done.out)


def without_version(names: list[str]) -> list[str]:
    """A service puts the number of its version before the names of buckets."""
    return sorted(name.partition("#")[2] for name in names)


def test_a_users_buckets_are_those_that_the_service_sends(stack: Stack) -> None:
    for user in ("u1", "u2", "nobody"):
        sent = as_json(stack, "buckets", "--token", token(user))["buckets"]
        explained = as_json(stack, "explain", "user", user)["buckets"]
        assert sorted(bucket["name"] for bucket in explained) == without_version([bucket["name"] for bucket in sent])
    subscribed = ("--stream", 'by_name={"name": "Work"}', "--no-defaults")
    [bucket] = as_json(stack, "explain", "user", "u1", *subscribed)["buckets"]
    [sent] = as_json(stack, "buckets", "--token", token("u1"), *subscribed)["buckets"]
    assert bucket["name"] == sent["name"].partition("#")[2]


def test_a_row_says_why_it_is_there_and_why_not(stack: Stack) -> None:
    text = stack.run("explain", "row", "todos", "t1", "--user", "u1", "--directory", ".").out
    assert "User u1 sees this row of public.todos." in text
    assert "todos.list_id = 'l1'" in text
    other = as_json(stack, "explain", "row", "public.todos", "t1", "--user", "u2")
    assert other["visibility"]["ways"] == []
    assert other["visibility"]["obstacles"]
    archived = as_json(stack, "explain", "row", "lists", "l3")
    assert archived["row"]["queries"][0]["buckets"] == []
    assert "archived" in stack.run("explain", "row", "lists", "l3", "--directory", ".").out


def test_a_row_is_found_by_another_column(stack: Stack) -> None:
    value = as_json(stack, "explain", "row", "todos", "Milk", "--column", "what")
    assert value["row"]["queries"][0]["buckets"] == ['todos|0["l1"]']


def test_a_stream_is_explained_alone(stack: Stack) -> None:
    [stream] = as_json(stack, "explain", "stream", "todos", "--user", "u1")
    assert (stream["name"], stream["bucket_count"]) == ("todos", 2)
    [subscribed] = as_json(stack, "explain", "stream", 'by_name={"name": "Work"}', "--user", "u1")
    assert subscribed["bucket_count"] == 1
    human = stack.run("explain", "stream", "todos", "--user", "u1", "--directory", ".").out
    assert "stream todos, by default" in human
    assert "stream lists" not in human


def test_who_sees_a_row_among_named_users(stack: Stack) -> None:
    value = as_json(stack, "who", "todos", "t1", "--user", "u1", "--user", "u2")
    assert value["buckets"] == ['todos|0["l1"]']
    assert value["users"] == [{"user_id": "u1", "buckets": ['todos|0["l1"]']}]
    assert value["users_without"] == ["u2"]


def test_who_sees_a_row_among_those_who_are_connected(stack: Stack) -> None:
    with open_stream(stack.service.port, user="u2", timeout_s=DEADLINE_S) as stream:
        stream.until_complete()
        value = as_json(stack, "who", "todos", "t3")
        assert value["users"] == [{"user_id": "u2", "buckets": ['todos|0["l2"]']}]
        text = stack.run("who", "lists", "l1", "--directory", ".").out
        assert "Seen by 0 users" in text
        assert "Not seen by: u2" in text
    eventually_sync(lambda: as_json(stack, "who", "todos", "t3")["users"] == [], timeout_s=DEADLINE_S)


def test_nothing_but_the_source_and_the_config_is_needed(stack: Stack, tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text(
        "config: {edition: 3}\nstreams:\n  all:\n    auto_subscribe: true\n    query: SELECT * FROM lists\n"
    )
    words = ("explain", "row", "lists", "l2", "--user", "u1", "--sync-config", str(config))
    done = run_command_line(tmp_path, *words, "--source", stack.source.dsn, API_URL="", PS_ADMIN_TOKEN="")
    assert (done.code, "User u1 sees this row" in done.out) == (0, True), done.text


def test_what_rests_on_part_of_a_table_is_said(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    view = SourceView(SYNC_CONFIG, stack.source.dsn, lookup_rows_max=1)
    assert len(view.user(ConnectionData({"sub": "u1"}), None).buckets) < 3
    assert "of public.lists only a part was read" in capsys.readouterr().err
    whole = SourceView(SYNC_CONFIG, stack.source.dsn, lookup_rows_max=3)
    assert len(whole.user(ConnectionData({"sub": "u1"}), None).buckets) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("explain", "row", "lists", "l99"), 1, "The source has no row 'l99' in public.lists."),
        (("explain", "row", "nothing", "l1"), 1, "is not in the publication powersync"),
        (("explain", "row", "lists", "l1", "--column", "colour"), 1, "no column 'colour'"),
        (("explain", "stream", "nothing", "--user", "u1"), 1, "There are: lists, todos, by_name."),
        (("explain", "user", "u1", "--claim", "org"), 2, "write name=value"),
        (("explain", "user", "u1", "--source", "mysql://x"), 1, "no address of a Postgres"),
        (("explain", "user", "u1", "--source", "postgresql://a:secret@127.0.0.1:1/b"), 1, "The source cannot be asked"),
        (("explain", "user", "u1", "--sync-config", "nothing.yaml"), 1, "nothing.yaml"),
    ],
)
def test_what_cannot_be_explained_is_said(stack: Stack, words: tuple[str, ...], code: int, says: str) -> None:
    done = stack.run(*words, "--directory", ".")
    assert (done.code, says in done.err, "secret" in done.text) == (code, True, False), done.text
