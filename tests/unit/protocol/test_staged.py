from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudOperation, CrudTransaction, UpdateType, content_hash
from syncline.protocol.staged import ContentHasher, cut_into_parts, decode_part

_texts = st.text(max_size=20)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2),
    max_leaves=4,
)
_operations = st.lists(
    st.builds(
        CrudOperation,
        op=st.sampled_from(UpdateType),
        table=_texts,
        id=_texts,
        op_data=st.none() | st.dictionaries(_texts, _values, max_size=3),
        client_op_id=st.none() | st.integers(1, 2**40),
        metadata=st.none() | _texts,
    ),
    min_size=1,
    max_size=8,
)


@given(_operations, st.none() | st.integers(0, 2**40), st.integers(1, 300))
def test_parts_hold_everything_in_order_and_hash_as_the_whole_does(
    operations: list[CrudOperation], transaction_id: int | None, part_bytes: int
) -> None:
    parts = list(cut_into_parts(operations, part_bytes))
    assert parts == list(cut_into_parts(operations, part_bytes))
    hasher = ContentHasher()
    read: list[CrudOperation] = []
    for body in parts:
        part = decode_part(body)
        assert len(part.crud) == 1 or len(body) <= part_bytes + len(b'{"crud":[]}')
        hasher.update(part.crud)
        read += part.crud
    assert read == operations
    assert hasher.operations == len(operations)
    assert hasher.digest(transaction_id) == content_hash(CrudTransaction(operations, transaction_id))


def test_the_hash_of_another_order_or_id_is_another() -> None:
    first, second = (CrudOperation(op=UpdateType.PUT, table="t", id=row_id) for row_id in "ab")

    def hash_of(*operations: CrudOperation, transaction_id: int | None = None) -> str:
        hasher = ContentHasher()
        hasher.update(operations)
        return hasher.digest(transaction_id)

    assert len({hash_of(first, second), hash_of(second, first), hash_of(first, second, transaction_id=1)}) == 3


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"crud":[]}', b'{"crud":[{"op":"PUT"}]}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_part_is_refused(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        decode_part(body)


def test_a_part_is_what_one_request_would_hold() -> None:
    operation = CrudOperation(op=UpdateType.PATCH, table="t", id="1", op_data={"a": None})
    [body] = cut_into_parts([operation], 10)
    assert body == b'{"crud":[' + msgspec.json.encode(operation) + b"]}"
