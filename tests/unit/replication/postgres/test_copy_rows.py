"""The generated parser of COPY lines says what the plain one says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncline.replication.postgres.copy_rows import make_row_parser, parse_row
from syncline.replication.postgres.values import make_converter

INT8, BOOL, TEXT, FLOAT8, BYTEA = 20, 16, 25, 701, 17
TYPES = (INT8, BOOL, TEXT, FLOAT8, BYTEA)
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def copy_field(value: str | None) -> str:
    """A field as COPY writes it."""
    return "\\N" if value is None else "".join(_ESCAPES.get(character, character) for character in value)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
rows = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1).map(str),
    st.none() | st.sampled_from(["t", "f"]),
    st.none() | texts,
    st.none() | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.none() | st.binary(max_size=8).map(lambda value: "\\x" + value.hex()),
)


@given(rows)
def test_a_row_comes_back_as_it_was(row: tuple[str | None, ...]) -> None:
    line = ("\t".join(copy_field(value) for value in row) + "\n").encode()
    converters = [make_converter(oid, {}) for oid in TYPES]
    expected = tuple(None if value is None else convert(value) for convert, value in zip(converters, row, strict=True))
    assert make_row_parser(TYPES, {})(line) == parse_row(line, converters) == expected


@given(st.tuples(texts.filter(lambda text: not set(text) & set(_ESCAPES)), st.integers(0, 99).map(str)))
def test_a_line_without_escapes_takes_the_short_way(row: tuple[str, str]) -> None:
    parse = make_row_parser((TEXT, INT8), {})
    assert parse(f"{row[0]}\t{row[1]}\n".encode()) == (row[0], int(row[1]))


def test_a_table_without_columns_has_rows() -> None:
    assert make_row_parser((), {})(b"\n") == ()


def test_one_column_is_a_row_of_one() -> None:
    assert make_row_parser((TEXT,), {})(b"\n") == ("",)
