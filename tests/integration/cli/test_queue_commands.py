"""`syncline queue` on files that the client has made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
import yaml

from syncline.client.sync_role import RoleLock
from tests.integration.cli.inspected_stack import make_device_file
from tests.support.command_line import Outcome, run_command_line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_device_file(tmp_path / "app.db")


def run(file: Path, *arguments: str) -> Outcome:
    return run_command_line(file.parent, *arguments, SYNCLINE_FILE_KEY="")


def queue(file: Path) -> dict[str, dict[str, Any]]:
    done = run(file, "queue", "ls", str(file), "--output", "json")
    assert done.code == 0, done.text
    return {each["id"]: each for each in json.loads(done.out)}


@pytest.mark.requirement(53)
def test_what_waits_and_what_was_refused_is_listed_without_values(file: Path) -> None:
    found = queue(file)
    assert {name: (each["state"], each["changes"]) for name, each in found.items()} == {
        "3": ("waiting", {"PATCH lists": 1}),
        "4": ("waiting", {"DELETE lists": 1}),
        "L1": ("refused", {"PUT lists": 2}),
    }
    assert found["L1"]["code"] == "UNIQUE_VIOLATION"
    human = run(file, "queue", "ls", str(file))
    assert [line.split("\t")[:3] for line in human.out.splitlines()] == [
        ["3", "waiting", "1 PATCH lists"],
        ["4", "waiting", "1 DELETE lists"],
        ["L1", "refused", "2 PUT lists"],
    ]
    assert "secret-one" not in human.text
    assert len(yaml.safe_load(run(file, "queue", "ls", str(file), "--limit", "1", "--output", "yaml").out)) == 2


def test_one_is_shown_whole(file: Path) -> None:
    waiting = json.loads(run(file, "queue", "show", str(file), "3").out)
    assert waiting["crud"] == [{"crud_id": 3, "op": "PATCH", "table": "lists", "id": "q1", "data": {"name": "three"}}]
    refused = json.loads(run(file, "queue", "show", str(file), "L1", "--output", "json").out)
    assert [entry["data"]["name"] for entry in refused["crud"]] == ["secret-one", "two"]


def test_looking_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    for words in (("ls", str(file)), ("show", str(file), "3"), ("show", str(file), "L1")):
        assert run(file, "queue", *words).code == 0
    assert file.read_bytes() == before
    assert not file.with_name(file.name + "-sync-role").exists()


@pytest.mark.requirement(45)
def test_a_refused_one_is_queued_again_behind_what_waits(file: Path) -> None:
    done = run(file, "queue", "retry", str(file), "L1", "--output", "json")
    assert (done.code, json.loads(done.out)) == (0, {"queued": 1})
    assert [(name, each["entries"]) for name, each in queue(file).items()] == [("3", 1), ("4", 1), ("5", 2)]
    again = run(file, "queue", "retry", str(file), "L1")
    assert (again.code, "There is no L1" in again.err) == (1, True)
    assert json.loads(run(file, "queue", "retry", str(file), "--all", "--output", "json").out) == {"queued": 0}
    assert "waits already" in run(file, "queue", "retry", str(file), "3").err


def test_a_write_is_given_up_and_nothing_beside_it(file: Path) -> None:
    asked = run(file, "queue", "discard", str(file), "3")
    assert (asked.code, "Add --yes" in asked.err) == (1, True)
    assert list(queue(file)) == ["3", "4", "L1"]
    assert run(file, "queue", "discard", str(file), "3", "--yes").code == 0
    assert run(file, "queue", "discard", str(file), "L1", "--yes").code == 0
    assert list(queue(file)) == ["4"]
    gone = run(file, "queue", "discard", str(file), "3", "--yes")
    assert (gone.code, "any more" in gone.err) == (1, True)


def test_an_entry_in_the_middle_of_a_transaction_is_none(file: Path) -> None:
    run(file, "queue", "retry", str(file), "L1")
    assert run(file, "queue", "discard", str(file), "6", "--yes").code == 1
    assert queue(file)["5"]["entries"] == 2


def test_nothing_is_changed_while_another_process_syncs(file: Path) -> None:
    lock = RoleLock(str(file))
    assert lock.take()
    try:
        for words in (("retry", str(file), "L1"), ("discard", str(file), "3", "--yes")):
            refused = run(file, "queue", *words)
            assert (refused.code, "Another process syncs" in refused.err) == (1, True)
        assert list(queue(file)) == ["3", "4", "L1"]
        assert run(file, "queue", "discard", str(file), "3", "--yes", "--force").code == 0
        assert list(queue(file)) == ["4", "L1"]
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("ls", "missing.db"), 1, "There is no file missing.db."),
        (("ls", "other.db"), 1, "no database of a sync client"),
        (("ls", "noise.db"), 1, "noise.db"),
        (("discard", "other.db", "1", "--yes"), 1, "no database of a sync client"),
        (("show", "app.db", "x1"), 2, "no id of the queue"),
        (("show", "app.db", "99"), 1, "There is no 99"),
        (("retry", "app.db"), 2, "--all"),
    ],
)
def test_what_cannot_be_done_is_said(file: Path, words: tuple[str, ...], code: int, says: str) -> None:
    other = apsw.Connection(str(file.with_name("other.db")))
    other.execute("CREATE TABLE t(a)")
    other.close()
    file.with_name("noise.db").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    done = run(file, "queue", *words)
    assert (done.code, says in done.err) == (code, True), done.text
    assert not file.with_name("missing.db").exists()
    assert not list(file.parent.glob("*-sync-role"))
