from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncline.replication.postgres.lsn import lsn_number, lsn_text, pad_lsn

positions = st.integers(0, 2**64 - 1)


@given(positions, positions)
def test_positions_compare_as_texts_in_the_order_of_the_log(first: int, second: int) -> None:
    assert (lsn_text(first) < lsn_text(second)) is (first < second)


@given(positions)
def test_a_position_survives_its_text(position: int) -> None:
    assert lsn_number(lsn_text(position)) == position
    assert pad_lsn(f"{position >> 32:X}/{position & 0xFFFFFFFF:X}") == lsn_text(position)
