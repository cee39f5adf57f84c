"""What commands decide without a database: words, bucket names, roles, exit codes."""

from __future__ import annotations

import logging

import pytest

from syncline.errors import ConfigError, SourceUnavailable, StorageUnavailable, SyncConfigError
from syncline.service.commands.compact import CompactRequest, check_buckets
from syncline.service.commands.migrate import check_direction
from syncline.service.commands.teardown import check_word
from syncline.service.config import SyncConfigMissing
from syncline.service.exit_codes import CommandInvalid, exit_code_of
from syncline.service.roles import Role, parse_role


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ()),
        ("", ()),
        ("1#all|0[]", ("1#all|0[]",)),
        ('1#a|0["x,y"],1#b|0[1,2] , 1#c|0[[]]', ('1#a|0["x,y"]', "1#b|0[1,2]", "1#c|0[[]]")),
    ],
)
def test_bucket_names_hold_commas_inside_their_brackets(text: str | None, names: tuple[str, ...]) -> None:
    assert check_buckets(text) == names


def test_a_name_of_a_definition_is_no_bucket_name() -> None:
    with pytest.raises(CommandInvalid, match="all, some"):
        check_buckets("all,1#x[],some")


def test_lookups_are_compacted_unless_buckets_are_named_or_it_is_said() -> None:
    assert CompactRequest().with_lookups
    assert not CompactRequest(buckets=("x[]",)).with_lookups
    assert CompactRequest(buckets=("x[]",), lookups=True).with_lookups
    assert not CompactRequest(lookups=False).with_lookups


def test_words_are_checked() -> None:
    check_word("TEARDOWN")
    check_direction("down", 2)
    for word in (None, "", "teardown", "yes"):
        with pytest.raises(ConfigError, match="not acknowledged"):
            check_word(word)
    for direction in ("", "sideways", "UP"):
        with pytest.raises(CommandInvalid, match="migrate up"):
            check_direction(direction, None)


def test_the_role_comes_from_the_command_line_then_the_environment() -> None:
    assert parse_role(None, {}) is Role.UNIFIED
    assert parse_role(None, {"PS_RUNNER_TYPE": "sync"}) is Role.SYNC
    assert parse_role("api", {"PS_RUNNER_TYPE": "sync"}) is Role.API
    assert [(role.replicates, role.serves) for role in Role] == [(True, True), (False, True), (True, False)]
    with pytest.raises(ConfigError, match="runner type 'x'"):
        parse_role("x", {})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (ConfigError("x"), 150),
        (SyncConfigMissing("x"), 1),
        (SyncConfigError([]), 1),
        (CommandInvalid("x"), 1),
        (StorageUnavailable("x"), 7),
        (SourceUnavailable("x"), 7),
        (ValueError("a bug"), 7),
    ],
)
def test_errors_become_exit_codes(error: Exception | None, code: int, caplog: pytest.LogCaptureFixture) -> None:
    def action() -> None:
        if error is not None:
            raise error

    caplog.set_level(logging.ERROR)
    told: list[Exception] = []
    failed = 1 if isinstance(error, CommandInvalid) else 7
    assert exit_code_of(action, failed=failed, say=told.append) == code
    assert told == ([] if error is None or isinstance(error, ValueError) else [error])
    assert ("Traceback" in caplog.text) is isinstance(error, ValueError)
