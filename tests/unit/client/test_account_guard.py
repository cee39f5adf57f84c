from __future__ import annotations

from collections.abc import Generator
from typing import Any

import apsw
import pytest

from syncline.client import BackendConnector, Column, Credentials, Schema, Table
from syncline.client.account_guard import (
    AccountChange,
    GuardedConnector,
    admit,
    adopt,
    change_owner,
    clear_account,
    hold,
    owner,
)
from syncline.client.attachments import AttachmentTable
from syncline.client.database import SyncDatabase
from syncline.client.errors import AccountChanged, PendingWrites
from syncline.client.local import layout
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.retry import Fixed

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name")]),
        Table("drafts", [Column.text("body")], local_only=True),
        AttachmentTable(),
    ]
)


@pytest.fixture
def connection() -> Generator[apsw.Connection]:
    opened = open_writer(":memory:")
    layout.prepare(opened, SCHEMA)
    yield opened
    opened.close()


def synced_row(connection: apsw.Connection) -> None:
    """A row as sync stores it: no crud entry."""
    connection.execute("INSERT INTO ps_data__lists(id, data) VALUES ('l1', '{}')").fetchall()


def write(connection: apsw.Connection, sql: str) -> None:
    with write_transaction(connection):
        connection.execute(sql).fetchall()


def count(connection: apsw.Connection, table: str) -> int:
    [(found,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    assert isinstance(found, int)
    return found


@pytest.mark.requirement(63)
def test_the_first_sign_in_keeps_what_was_written_before_it(connection: apsw.Connection) -> None:
    write(connection, "INSERT INTO lists(id, name) VALUES ('a', 'from before')")
    assert owner(connection) is None
    assert admit(connection, SCHEMA, "alice", clear_local=True) is AccountChange.FIRST
    assert owner(connection) == "alice"
    assert (count(connection, "lists"), count(connection, "ps_crud")) == (1, 1)


@pytest.mark.requirement(63)
def test_the_same_user_again_keeps_everything(connection: apsw.Connection) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    synced_row(connection)
    write(connection, "INSERT INTO lists(id, name) VALUES ('a', 'pending')")
    assert admit(connection, SCHEMA, "alice", clear_local=True) is AccountChange.SAME
    assert (count(connection, "lists"), count(connection, "ps_crud")) == (2, 1)


@pytest.mark.requirement(63, 62)
@pytest.mark.parametrize("clear_local", [False, True])
def test_another_user_finds_nothing(connection: apsw.Connection, clear_local: bool) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    synced_row(connection)
    write(connection, "INSERT INTO drafts(id, body) VALUES ('d', 'x')")
    assert admit(connection, SCHEMA, "bob", clear_local=clear_local) is AccountChange.OTHER
    assert owner(connection) == "bob"
    assert count(connection, "lists") == 0
    assert count(connection, "drafts") == (0 if clear_local else 1)


@pytest.mark.requirement(63)
def test_another_user_is_not_let_in_while_writes_are_pending(connection: apsw.Connection) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    write(connection, "INSERT INTO lists(id, name) VALUES ('a', 'pending')")
    with pytest.raises(PendingWrites) as caught:
        admit(connection, SCHEMA, "bob", clear_local=False)
    assert (caught.value.count, caught.value.files) == (1, 0)
    assert "discard_pending" in caught.value.hint
    assert owner(connection) == "alice"
    assert (count(connection, "lists"), count(connection, "ps_crud")) == (1, 1)
    admit(connection, SCHEMA, "bob", clear_local=False, discard_pending=True)
    assert (owner(connection), count(connection, "lists"), count(connection, "ps_crud")) == ("bob", 0, 0)


@pytest.mark.requirement(63)
def test_a_clear_that_fails_half_way_changes_nothing(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    synced_row(connection)
    write(connection, "INSERT INTO attachments(id, state, local_uri, timestamp, has_synced) VALUES ('p', 3, 'p', 5, 1)")
    clear = layout.clear

    def full_disk(*arguments: Any, **options: Any) -> None:
        clear(*arguments, **options)
        raise apsw.FullError("disk full")

    monkeypatch.setattr(layout, "clear", full_disk)
    with pytest.raises(apsw.FullError):
        admit(connection, SCHEMA, "bob", clear_local=True)
    assert (owner(connection), count(connection, "lists")) == ("alice", 1)
    assert connection.execute("SELECT id FROM attachments").fetchall() == [("p",)]


def test_a_file_that_was_never_uploaded_is_a_pending_write(connection: apsw.Connection) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    write(connection, "INSERT INTO attachments(id, state, local_uri, timestamp) VALUES ('p', 0, 'p.jpg', 5)")
    with pytest.raises(PendingWrites, match="1 attachments are not uploaded") as caught:
        admit(connection, SCHEMA, "bob", clear_local=False)
    assert (caught.value.count, caught.value.files) == (0, 1)
    assert "0 local" not in str(caught.value)


def test_clearing_forgets_attachments_and_keeps_where_their_files_are(connection: apsw.Connection) -> None:
    write(
        connection,
        "INSERT INTO attachments(id, state, local_uri, timestamp, has_synced) VALUES ('p', 3, 'p.jpg', 5, 1)",
    )
    write(connection, "INSERT INTO attachments(id, state, timestamp) VALUES ('q', 1, 5)")
    with write_transaction(connection, local_writes=False):
        clear_account(connection, SCHEMA, clear_local=False, discard_pending=False)
    rows = connection.execute("SELECT id <> 'p', local_uri, state, timestamp, has_synced FROM attachments").fetchall()
    assert rows == [(1, "p.jpg", 4, 0, 0)]


@pytest.mark.requirement(61)
def test_a_hard_clear_forgets_the_owner_and_a_soft_one_does_not(connection: apsw.Connection) -> None:
    for soft, remembered in ((True, "alice"), (False, None)):
        admit(connection, SCHEMA, "alice", clear_local=False)
        with write_transaction(connection, local_writes=False):
            clear_account(connection, SCHEMA, clear_local=False, discard_pending=False, soft=soft)
        assert owner(connection) == remembered


def test_adopting_takes_a_file_of_nobody_and_never_clears(connection: apsw.Connection) -> None:
    synced_row(connection)
    for vouched in (False, True):
        assert adopt(connection, "alice", vouched=vouched)
        assert not adopt(connection, "bob", vouched=vouched)
    assert (owner(connection), count(connection, "lists")) == ("alice", 1)
    for empty in (
        lambda: adopt(connection, "", vouched=False),
        lambda: admit(connection, SCHEMA, "", clear_local=False),
    ):
        with pytest.raises(ValueError, match="empty"):
            empty()


def test_an_apps_ids_and_those_of_tokens_may_be_of_two_kinds(connection: apsw.Connection) -> None:
    admit(connection, SCHEMA, "42", clear_local=False)
    assert adopt(connection, "auth0|42", vouched=True)
    synced_row(connection)
    assert admit(connection, SCHEMA, "42", clear_local=False) is AccountChange.SAME
    assert adopt(connection, "auth0|42", vouched=True)
    assert adopt(connection, "auth0|42", vouched=False)  # the app does not always say who it is
    assert not adopt(connection, "auth0|43", vouched=True)
    assert owner(connection) == "42"
    assert admit(connection, SCHEMA, "43", clear_local=False) is AccountChange.OTHER
    assert adopt(connection, "auth0|43", vouched=True)
    assert count(connection, "lists") == 0


def test_where_only_the_other_kind_of_id_is_known_a_different_one_is_another_user(connection: apsw.Connection) -> None:
    adopt(connection, "alice", vouched=False)
    synced_row(connection)
    assert admit(connection, SCHEMA, "alice", clear_local=False) is AccountChange.SAME
    assert count(connection, "lists") == 1
    change_owner(connection, SCHEMA, "bob", app_id=None, clear_local=False)
    assert (owner(connection), count(connection, "lists")) == ("bob", 0)
    assert admit(connection, SCHEMA, "carol", clear_local=False) is AccountChange.OTHER
    assert not adopt(connection, "bob", vouched=False)
    assert owner(connection) == "carol"


class Inner(BackendConnector):
    """Answers with one user's credentials, and counts."""

    upload_retry = Fixed(7)

    def __init__(self, user_id: str | None) -> None:
        self.user_id = user_id
        self.fetched = 0
        self.uploads = 0

    async def fetch_credentials(self) -> Credentials | None:
        self.fetched += 1
        return Credentials("https://sync.example.com", "t", user_id=self.user_id)

    async def upload_data(self, db: SyncDatabase) -> None:
        self.uploads += 1


class File:
    """Whose the file is."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.changes: list[str] = []
        self.held = True

    async def adopt(self, user_id: str) -> bool:
        self.owner = self.owner or user_id
        return self.owner == user_id

    async def has_owner(self) -> bool:
        return self.owner is not None

    async def hold(self) -> bool:
        return self.held

    def guard(self, inner: Inner, *, confirmed: bool = False) -> GuardedConnector:
        return GuardedConnector(
            inner,
            hold=self.hold,
            adopt=self.adopt,
            has_owner=self.has_owner,
            change_account=self.changes.append,
            confirmed=confirmed,
        )


DATABASE = SyncDatabase("unused.db", schema=SCHEMA)


@pytest.mark.requirement(234)
async def test_the_users_id_in_credentials_makes_the_file_theirs() -> None:
    file, inner = File(None), Inner("alice")
    guard = file.guard(inner)
    assert await guard.fetch_credentials() is not None
    assert (file.owner, file.changes) == ("alice", [])
    await guard.upload_data(DATABASE)
    assert (inner.uploads, inner.fetched) == (1, 1)


@pytest.mark.requirement(234)
async def test_credentials_of_another_user_are_refused_and_told_once() -> None:
    file, inner = File("alice"), Inner("bob")
    guard = file.guard(inner)
    for _ in range(3):
        with pytest.raises(AccountChanged):
            await guard.fetch_credentials()
        with pytest.raises(AccountChanged):
            await guard.upload_data(DATABASE)
    assert (file.owner, file.changes, inner.uploads) == ("alice", ["bob"], 0)


async def test_nothing_of_a_known_owner_is_uploaded_before_it_is_certain_who_is_signed_in() -> None:
    file, inner = File("alice"), Inner("alice")
    guard = file.guard(inner)
    await guard.upload_data(DATABASE)
    await guard.upload_data(DATABASE)
    assert (inner.fetched, inner.uploads) == (1, 2)


@pytest.mark.parametrize(("owner", "user_id", "confirmed"), [("alice", None, True), (None, None, False)])
async def test_uploads_do_not_ask_for_credentials_where_there_is_no_doubt(
    owner: str | None, user_id: str | None, confirmed: bool
) -> None:
    inner = Inner(user_id)
    guard = File(owner).guard(inner, confirmed=confirmed)
    await guard.upload_data(DATABASE)
    assert (inner.fetched, inner.uploads) == (0, 1)
    assert guard.upload_retry is inner.upload_retry
    assert guard.user_id is inner.user_id  # what else a connector has is found behind the guard


async def test_a_connection_whose_file_has_become_anothers_says_nothing_to_anybody() -> None:
    file, inner = File("alice"), Inner(None)
    guard = file.guard(inner, confirmed=True)
    file.held = False
    with pytest.raises(AccountChanged, match="Another process"):
        await guard.fetch_credentials()
    with pytest.raises(AccountChanged, match="Another process"):
        await guard.upload_data(DATABASE)
    assert (inner.fetched, inner.uploads, file.changes) == (0, 0, [])


def test_a_file_that_another_process_has_cleared_is_held_again(connection: apsw.Connection) -> None:
    admit(connection, SCHEMA, "alice", clear_local=False)
    assert hold(connection, "alice")
    assert not hold(connection, "bob")
    with write_transaction(connection, local_writes=False):
        clear_account(connection, SCHEMA, clear_local=False, discard_pending=False)
    assert hold(connection, "bob")
    assert owner(connection) == "bob"


async def test_a_connector_that_does_not_tell_its_user_is_believed() -> None:
    file, inner = File("alice"), Inner(None)
    guard = file.guard(inner)
    assert await guard.fetch_credentials() is not None
    await guard.upload_data(DATABASE)
    assert (file.owner, file.changes, inner.uploads) == ("alice", [], 1)
