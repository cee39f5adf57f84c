from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import RemoteProtocolError
from syncline.replication.postgres.pgoutput import (
    Begin,
    Commit,
    LogicalMessage,
    RelationMessage,
    RowMessage,
    Truncate,
    decode_message,
    make_tuple_decoder,
)
from syncline.replication.source import UNCHANGED
from tests.unit.replication.postgres.wire import (
    encode_begin,
    encode_commit,
    encode_logical,
    encode_relation,
    encode_row,
    encode_truncate,
)

INT4, TEXT, BOOL, FLOAT8 = 23, 25, 16, 701
DECODERS = {5: make_tuple_decoder([INT4, TEXT, BOOL, FLOAT8], {})}

lsns = st.integers(1, 2**63 - 1)
times_ms = st.integers(946_684_800_000, 4_000_000_000_000)
names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)
texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
ids = st.integers(0, 2**32 - 1)
rows = st.tuples(
    st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
    st.one_of(st.none(), st.just(UNCHANGED), texts),
    st.one_of(st.none(), st.integers(0, 1)),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)),
)
Row = tuple[object, ...]


def as_fields(row: Row) -> list[object]:
    number, text, truth, real = row
    return [
        None if number is None else str(number),
        text,
        None if truth is None else ("t" if truth else "f"),
        None if real is None else repr(real),
    ]


@given(lsn=lsns, time_ms=times_ms)
def test_the_frame_of_a_transaction_is_decoded(lsn: int, time_ms: int) -> None:
    assert decode_message(encode_begin(lsn, time_ms), 0, {}) == Begin(lsn, time_ms, 7)
    assert decode_message(b"head" + encode_commit(lsn, time_ms), 4, {}) == Commit(lsn, time_ms)


@given(ids, names, names, st.sampled_from("dnfi"), st.lists(st.tuples(names, ids, st.booleans()), max_size=5))
def test_relations_are_decoded(
    relation_id: int, schema: str, name: str, identity: str, columns: list[tuple[str, int, bool]]
) -> None:
    data = encode_relation(relation_id, schema, name, identity, columns)
    expected = RelationMessage(relation_id, schema or "pg_catalog", name, identity, tuple(columns))
    assert decode_message(data, 0, {}) == expected


@given(st.sampled_from(["I", "UN", "UK", "UO", "DK", "DO"]), rows, rows)
def test_rows_are_decoded_to_sync_values(form: str, new: Row, old: Row) -> None:
    kind, old_kind = form[0], form[1:].replace("N", "")
    data = encode_row(
        kind,
        5,
        new=None if kind == "D" else as_fields(new),  # type: ignore[arg-type]  # rows as they were drawn
        old=as_fields(old) if old_kind else None,  # type: ignore[arg-type]  # rows as they were drawn
        old_kind=old_kind,
    )
    expected = RowMessage(kind, 5, old_kind, old if old_kind else None, None if kind == "D" else new)  # type: ignore[arg-type]  # rows as they were drawn
    assert decode_message(b"x" * 25 + data, 25, DECODERS) == expected


@pytest.mark.parametrize(("kind", "parts"), [("I", "KN"), ("I", "K"), ("U", "K"), ("D", "N"), ("D", "KN")])
def test_a_row_change_without_its_parts_is_a_protocol_error(kind: str, parts: str) -> None:
    row = ["1", "a", "t", "1"]
    data = encode_row(kind, 5, new=row if "N" in parts else None, old=row if "K" in parts else None)
    with pytest.raises(RemoteProtocolError):
        decode_message(data, 0, DECODERS)


@given(st.lists(ids, max_size=5))
def test_truncates_name_every_table(relation_ids: list[int]) -> None:
    assert decode_message(encode_truncate(relation_ids), 0, {}) == Truncate(tuple(relation_ids))


@given(names, st.binary(max_size=40), lsns, st.booleans())
def test_logical_messages_are_decoded(prefix: str, content: bytes, lsn: int, transactional: bool) -> None:
    data = encode_logical(prefix, content, lsn=lsn, transactional=transactional)
    assert decode_message(data, 0, {}) == LogicalMessage(transactional, lsn, prefix, content)


def test_rows_of_tables_that_nobody_follows_are_passed_over() -> None:
    assert decode_message(encode_row("I", 99, new=["1"]), 0, DECODERS) is None


def test_origins_and_types_carry_nothing() -> None:
    assert decode_message(b"O" + bytes(9), 0, {}) is None
    assert decode_message(b"Y" + bytes(9), 0, {}) is None


MESSAGES = [
    encode_begin(1, 946_684_800_000),
    encode_commit(2, 946_684_800_000),
    encode_relation(5, "public", "t", "d", [("id", INT4, True), ("name", TEXT, False)]),
    encode_row("U", 5, old=["1", None, None, None], new=["2", "höhe", "t", "1.5"]),
    encode_row("I", 5, new=["2", UNCHANGED, None, "1e300"]),
    encode_truncate([5, 6]),
    encode_logical("powersync", b"ping", lsn=7, transactional=False),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: chr(message[0]))
def test_a_message_that_is_cut_short_is_a_protocol_error(message: bytes) -> None:
    decode_message(message, 0, DECODERS)
    for length in range(len(message)):
        with pytest.raises(RemoteProtocolError):
            decode_message(message[:length], 0, DECODERS)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: chr(message[0]))
@given(data=st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message) - 1))
    damaged = message[:at] + bytes([data.draw(st.integers(0, 255))]) + message[at + 1 :]
    with contextlib.suppress(RemoteProtocolError):
        decode_message(damaged, 0, DECODERS)


@given(st.sampled_from(b"BCRIUDTMOYZ"), st.binary(max_size=60))
def test_random_bytes_are_a_message_or_a_protocol_error(kind: int, body: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_message(bytes([kind]) + body, 0, DECODERS)


def test_a_tuple_of_another_width_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        decode_message(encode_row("I", 5, new=["1", "a"]), 0, DECODERS)


def test_an_error_names_no_value_of_the_row() -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        decode_message(encode_row("I", 5, new=["secret-value", "a", "t", "1"]), 0, DECODERS)
    assert "secret-value" not in str(raised.value)
