"""`syncline inspect`, `buckets` and `tail` against a running service and the file of a device that has synced with it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client import SyncDatabase as AsyncDatabase
from syncline.client.blocking import SyncDatabase
from syncline.testing.service_process import token
from syncline.testing.waiting import eventually
from tests.integration.cli.inspected_stack import ADMIN, DEADLINE_S, SCHEMA, OnlyDown, Stack, make_device_file


def as_json(stack: Stack, *words: str, code: int = 0, **environment: str) -> Any:
    done = stack.run(*words, "--output", "json", **environment)
    assert done.code == code, done.text
    return json.loads(done.out)


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def test_a_file_is_summarised(stack: Stack) -> None:
    value = as_json(stack, "inspect", str(stack.device))
    tables = by_name(value["tables"])
    assert {name: (each["kind"], each["rows"]) for name, each in tables.items()} == {
        "lists": ("synced", 1),
        "todos": ("synced", 2),
    }
    assert all(each["bytes"] > 0 for each in tables.values())
    assert sorted(each["rows"] for each in value["buckets"]) == [1, 2]
    assert value["sync"]["has_synced"]
    assert value["queue"] == {"entries": 0, "bytes": 0, "refused": 0, "gate": "open"}
    assert {each["stream"] for each in value["streams"]} == {"lists", "todos"}
    assert (value["layout_version"], value["problems"]) == (14, [])
    assert value["bytes"] >= stack.device.stat().st_size
    text = stack.run("inspect", str(stack.device)).out
    assert "Sound." in text
    assert "Milk" not in text


def test_a_queue_closes_the_gate(stack: Stack, tmp_path: Path) -> None:
    value = as_json(stack, "inspect", str(make_device_file(tmp_path / "app.db")))
    assert value["queue"]["entries"] == 2
    assert value["queue"]["refused"] == 1
    assert value["queue"]["gate"] == "closed: writes wait for their upload"
    assert value["sync"] == {"has_synced": False, "last_synced_at": None, "priorities_since": {}}


def test_a_file_is_read_while_an_app_has_it_open(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "open.db"
    with SyncDatabase(path, schema=SCHEMA) as db:
        db.execute("INSERT INTO lists(id, name) VALUES ('a', 'written and not in the main file yet')")
        assert as_json(stack, "inspect", str(path))["queue"]["entries"] == 1
        assert [each["id"] for each in as_json(stack, "queue", "ls", str(path))] == ["1"]
        db.execute("DELETE FROM lists WHERE id = 'a'")


@pytest.mark.requirement(45)
async def test_a_write_that_was_given_up_goes_back_to_the_servers(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    shutil.copy(stack.device, path)

    async def name() -> str:
        [row] = await db.get_all("SELECT name FROM lists WHERE id = 'l1'")
        return row["name"]

    async with AsyncDatabase(path, schema=SCHEMA) as db:
        await db.execute("UPDATE lists SET name = 'Mine' WHERE id = 'l1'")
    done = await asyncio.to_thread(stack.run, "queue", "discard", str(path), "1", "--yes")
    assert done.code == 0, done.text
    async with AsyncDatabase(path, schema=SCHEMA) as db:
        assert await name() == "Mine"
        await db.connect(OnlyDown(stack.service.base_url), retry_delay_s=0.1)

        async def is_back() -> bool:
            return await name() == "Food"

        await eventually(is_back, timeout_s=DEADLINE_S, what="the server's name is back")


def test_damage_is_found(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    shutil.copy(stack.device, path)
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM ps_oplog WHERE row_id = 't1'")
    connection.close()
    value = as_json(stack, "inspect", str(path), "--no-check", code=1)
    [problem] = value["problems"]
    assert "do not have the checksum" in problem
    pages = bytearray(path.read_bytes())
    middle = len(pages) // 2 // 4096 * 4096
    pages[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(pages)
    assert stack.run("inspect", str(path)).code == 1


def test_an_old_layout_is_refused(stack: Stack, tmp_path: Path) -> None:
    path = make_device_file(tmp_path / "old.db")
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM ps_migration; INSERT INTO ps_migration(id) VALUES (4)")
    connection.close()
    done = stack.run("inspect", str(path))
    assert (done.code, "layout version 4" in done.err) == (1, True)


def test_buckets_of_a_user_and_of_a_token_are_the_same(stack: Stack) -> None:
    mine = as_json(stack, "buckets", "--user", "u1", "--directory", ".")
    assert mine == as_json(stack, "buckets", "--token", token("u1"))
    assert mine == as_json(stack, "buckets", "--user", "u1", "--directory", ".", SYNCLINE_TOKEN=token("u2"))
    assert sorted((each["ops"], each["reasons"]) for each in mine["buckets"]) == [
        (0, ["todos, by default"]),  # of the archived list
        (1, ["lists, by default"]),
        (2, ["todos, by default"]),
    ]
    assert as_json(stack, "buckets", "--user", "nobody", "--directory", ".")["buckets"][0]["ops"] == 0
    text = stack.run("buckets", "--token", token("u1"), "--sizes").out
    assert "todos, by default" in text
    assert "bytes" in text


def test_streams_and_parameters_are_asked_for(stack: Stack) -> None:
    wanted = ('by_name={"name": "Work"}', "--no-defaults", "--param", "theme=dark")
    value = as_json(stack, "buckets", "--token", token("u1"), "--stream", *wanted)
    [bucket] = value["buckets"]
    assert (bucket["ops"], bucket["reasons"]) == (1, ["by_name, subscribed"])


def test_a_download_is_summarised(stack: Stack) -> None:
    value = as_json(stack, "inspect", "--endpoint", stack.service.base_url, "--token", token("u1"))
    assert {each["name"]: each["rows"] for each in value["tables"]} == {"lists": 1, "todos": 2}
    assert value["problems"] == []
    full = [each for each in value["buckets"] if each["rows"]]
    assert len(full) == 2
    assert all(each["bytes_downloaded"] > each["bytes_data"] > 0 for each in full)
    text = stack.run("inspect", "--token", token("u1"))
    assert (text.code, "Sound." in text.out, "Milk" in text.text) == (0, True, False)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("buckets",), 2, "Say whose stream"),
        (("inspect",), 2, "Say whose stream"),
        (("buckets", "--token", "x", "--user", "u1"), 2, "exclude each other"),
        (("buckets", "--token", "no-token"), 1, "PSYNC_S21"),
        (("buckets", "--token", "x", "--endpoint", "http://127.0.0.1:1"), 3, "cannot be reached"),
        (("buckets", "--token", "x", "--stream", "by_name=1"), 2, "--stream by_name"),
        (("tail", "--token", "x", "--param", "theme"), 2, "write name=value"),
    ],
)
def test_what_cannot_be_asked_is_said(stack: Stack, words: tuple[str, ...], code: int, says: str) -> None:
    done = stack.run(*words)
    assert (done.code, says in done.err) == (code, True), done.text
    assert "no-token" not in done.text


def test_what_is_there_can_be_tailed(stack: Stack) -> None:
    words = ("tail", "--token", token("u1"), "--from-start", "--count", "3", "--data", "--output", "json")
    done = stack.run(*words)
    assert done.code == 0, done.text
    ops = [json.loads(line) for line in done.out.splitlines()]
    assert sorted((op["op"], op["table"], op["id"]) for op in ops) == [
        ("PUT", "lists", "l1"),
        ("PUT", "todos", "t1"),
        ("PUT", "todos", "t2"),
    ]
    assert {op["data"].get("what") for op in ops} == {None, "Milk", "Bread"}
    assert "Milk" not in stack.run("tail", "--token", token("u1"), "--from-start", "--count", "3").text


def tailing(stack: Stack, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "syncline.cli.main", "tail", "--token", token("u2"), *words]
    process = subprocess.Popen(
        command,
        cwd=stack.service.folder,
        env=os.environ | {"API_URL": stack.service.base_url, "PS_ADMIN_TOKEN": ADMIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "Ctrl-C ends it" in line, line
    return process


def test_only_what_is_new_is_tailed_until_ctrl_c(stack: Stack) -> None:
    process = tailing(stack)
    timer = threading.Timer(DEADLINE_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        stack.source.execute("INSERT INTO todos VALUES ('t9', 'l2', 'Lamp')")
        stack.source.execute("DELETE FROM todos WHERE id = 't9'")
        seen = [process.stdout.readline().split("\t")[1:3] for _ in range(2)]
        assert seen == [["PUT", "todos/t9"], ["REMOVE", "todos/t9"]]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out, "Traceback" in err) == (0, "", False)
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def test_a_tail_ends_after_its_time(stack: Stack) -> None:
    done = stack.run("tail", "--token", token("u2"), "--for", "0.2")
    assert (done.code, done.out) == (0, "")
