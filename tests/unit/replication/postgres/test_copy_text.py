from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncline.replication.postgres.copy_rows import parse_row
from syncline.replication.postgres.values import make_converter

TEXT = make_converter(25, {})
ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
texts = st.text(
    st.one_of(st.sampled_from("\\\b\f\n\r\t\vNbfnrtv"), st.characters(blacklist_categories=("Cs",))), max_size=12
)


def copy_line(values: tuple[str | None, ...]) -> bytes:
    """As Postgres writes it (manual, COPY, "Text Format")."""
    fields = ["\\N" if value is None else "".join(ESCAPES.get(c, c) for c in value) for value in values]
    return ("\t".join(fields) + "\n").encode()


@given(st.tuples(*[st.one_of(st.none(), texts)] * 3))
def test_a_copied_line_comes_back_as_it_was_written(values: tuple[str | None, ...]) -> None:
    assert parse_row(copy_line(values), [TEXT] * 3) == values


def test_a_table_without_columns_has_rows_without_values() -> None:
    assert parse_row(b"\n", []) == ()
