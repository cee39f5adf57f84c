"""Log lines: form, levels, fields, tags; and that no secret gets through."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import TokenExpired
from syncline.service.addresses import DatabaseAddress
from syncline.service.log_settings import LEVELS, LogConfig
from syncline.service.logs import MASK, Redactor, set_up_logging
from tests.unit.service.test_config import load

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Generator[io.StringIO]:
    """Where logs go; the root logger is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_json_line_has_the_fields_of_the_reference(stream: io.StringIO) -> None:
    set_up_logging(LogConfig(json=True, tags={"site": "north"}), stream=stream)
    logging.getLogger("x").warning("Hello %s", "you", extra={"event": "e", "rid": "h/1", "path": Path("/a")})
    line = json.loads(stream.getvalue())
    assert list(line)[:3] == ["level", "message", "timestamp"]
    assert (line["level"], line["message"]) == ("warn", "Hello you")
    assert (line["site"], line["event"], line["rid"], line["path"]) == ("north", "e", "h/1", "/a")
    assert line["timestamp"].endswith("Z")


def test_a_failure_has_the_error_s_fields(stream: io.StringIO) -> None:
    set_up_logging(LogConfig(json=True), stream=stream)
    for error in (TokenExpired("Too late.", details="by 1 s"), ValueError("x")):
        try:
            raise error
        except (TokenExpired, ValueError):
            logging.getLogger("x").exception("Failed")
    ours, other = map(json.loads, stream.getvalue().splitlines())
    assert ours["errorData"] == {
        "name": "TokenExpired",
        "code": "PSYNC_S2103",
        "status": 401,
        "description": "Too late.",
        "details": "by 1 s",
    }
    assert (ours["name"], ours["is_service_error"], ours["level"]) == ("TokenExpired", True, "error")
    assert (other["name"], other["is_service_error"], "errorData" in other) == ("ValueError", False, False)
    assert "Traceback" in other["stack"]


def test_a_line_of_text_has_time_level_message_and_fields_but_the_event(stream: io.StringIO) -> None:
    set_up_logging(LogConfig(tags={"site": "north"}), stream=stream)
    logging.getLogger("x").info("Hello", extra={"event": "e", "rid": "h/1"})
    assert stream.getvalue().rstrip().endswith(" info    Hello  [site=north rid=h/1]")


def test_a_client_s_own_words_stay_on_the_line_of_its_request(stream: io.StringIO) -> None:
    set_up_logging(LogConfig(json=False), stream=stream)
    forged = "c1\n2026-01-01T00:00:00.000Z error   Everything is lost\x1b[31m"
    logging.getLogger("x").info("Stream opened", extra={"client_id": forged, "user_id": "Zoë"})
    [line] = stream.getvalue().splitlines()
    assert line.endswith("client_id=c1\\n2026-01-01T00:00:00.000Z error   Everything is lost\\x1b[31m user_id=Zoë]")


@pytest.mark.parametrize("name", LEVELS)
def test_lines_below_the_level_are_left_out(stream: io.StringIO, name: str) -> None:
    set_up_logging(LogConfig(level=LEVELS[name], json=True), stream=stream)
    for number in LEVELS.values():
        logging.getLogger("x").log(number, "at %d", number)
    shown = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert shown == [other for other, number in LEVELS.items() if number >= LEVELS[name]]


@pytest.mark.parametrize(
    "text",
    [
        "could not connect to postgresql://app:s%40cret@db:5432/orders",
        "postgres://app:s@cret@db/x failed",
        "conninfo: host=db password=s%40cret user=app",
        "conninfo: host=db password='s@cret \\' x' user=app",
        f"Authorization: Token {JWT}",
        f"Bearer {JWT} was refused",
        "the token topsecrettoken does not fit",
        "key c2VjcmV0c2VjcmV0 is short",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_line_holds_a_password_a_key_or_a_token(stream: io.StringIO, text: str, as_json: bool) -> None:
    """As message, argument, field, and in a traceback."""
    set_up_logging(LogConfig(json=as_json), secrets=["topsecrettoken", "c2VjcmV0c2VjcmV0", "x"], stream=stream)
    log = logging.getLogger("another.library")
    log.error(text.replace("%", "%%"))
    log.error("argument: %s", text)
    log.error("field", extra={"where": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("failed")
    written = stream.getvalue()
    for secret in ("s%40cret", "s@cret", JWT, JWT.split(".")[1], "topsecrettoken", "c2VjcmV0c2VjcmV0"):
        assert secret not in written
    assert written.count("***") + written.count("<token>") >= 4


@given(st.text(st.characters(codec="utf-8", exclude_characters="@/ '\n"), min_size=8, max_size=40))
def test_no_secret_gets_through_however_it_is_written(secret: str) -> None:
    cleared = Redactor([secret]).clear(f"<{secret}> postgresql://a:{secret}@h/x {secret}{secret}")
    assert secret not in cleared.replace(MASK, "")


def test_ordinary_lines_stay_as_they_are() -> None:
    line = 'Listening on http://127.0.0.1:8080 for postgresql://app@db:5432/orders [1#lists|0["a"]] a:b@c'
    assert Redactor(["app", "db"]).clear(line) == line


def test_masked_addresses_and_configurations_show_no_secret(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.source.masked == "postgresql://app@db.example:5433/orders"
    ipv6 = DatabaseAddress("::1", 5432, "u", "secret", "d", "disable", None, 10)
    assert ipv6.masked == "postgresql://u@[::1]:5432/d"
    assert "secret" not in repr(ipv6)
