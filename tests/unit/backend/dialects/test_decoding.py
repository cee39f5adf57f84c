"""Every dialect means the same transactions, and says what is wrong with a body that means none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.backend.dialects import demos, operations, rest, table_batches, transaction_list
from syncline.backend.dialects.reading import field_of
from syncline.errors import RequestInvalid
from syncline.protocol.crud import (
    OPERATIONS_MAX,
    TRANSACTIONS_MAX,
    CrudBatch,
    CrudOperation,
    CrudTransaction,
    UpdateType,
)

PUT, PATCH, DELETE = UpdateType

Decode = Callable[[bytes], CrudBatch]


def listed(body: bytes) -> CrudBatch:
    return transaction_list.decode(body).batch


def body_of(name: str, entries: list[dict[str, Any]]) -> bytes:
    """The same rows in the words of a dialect; each entry has op, table, id and data."""
    match name:
        case "transactions":
            value: dict[str, Any] = {"transactions": [{"op_id": "crud:1", "ops": entries}]}
        case "changes":
            value = {"changes": {}}
            for entry in entries:
                change = {"type": entry["op"], **{key: entry[key] for key in entry if key not in ("op", "table")}}
                value["changes"].setdefault(entry["table"], []).append(change)
        case "operations":
            value = {
                "operations": [{("opData" if key == "data" else key): entry[key] for key in entry} for entry in entries]
            }
        case _:
            value = {"batch": entries}
    return json.dumps(value).encode()


WHOLE: dict[str, Decode] = {
    "transactions": listed,
    "changes": table_batches.decode,
    "operations": operations.decode,
    "batch": demos.decode_batch,
}
ROWS = [
    {"op": "PUT", "table": "lists", "id": "l1", "data": {"name": "Groceries", "stars": 3}},
    {"op": "PATCH", "table": "lists", "id": "l2", "data": {"name": None}},
    {"op": "DELETE", "table": "lists", "id": "l3"},
]


@pytest.mark.requirement(125, 126)
@pytest.mark.parametrize("name", WHOLE)
def test_every_dialect_means_the_same_transaction(name: str) -> None:
    batch = WHOLE[name](body_of(name, ROWS))
    assert batch == CrudBatch(
        [
            CrudTransaction(
                [
                    CrudOperation(op=PUT, table="lists", id="l1", op_data={"name": "Groceries", "stars": 3}),
                    CrudOperation(op=PATCH, table="lists", id="l2", op_data={"name": None}),
                    CrudOperation(op=DELETE, table="lists", id="l3"),
                ]
            )
        ]
    )


@pytest.mark.parametrize("name", WHOLE)
def test_what_identifies_an_operation_is_taken_over(name: str) -> None:
    entry = ROWS[0] | {"client_op_id": 41, "metadata": "why"}
    previous = "previousValues" if name == "operations" else "previous_values"
    body = json.loads(body_of(name, [entry | {previous: {"name": "Before"}}])) | {"client_id": "phone"}
    batch = WHOLE[name](json.dumps(body).encode())
    [operation] = batch.transactions[0].crud
    assert batch.client_id == "phone"
    assert (operation.client_op_id, operation.metadata) == (41, "why")
    assert operation.previous_values == {"name": "Before"}


BAD_BODIES = [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:6]))
@pytest.mark.parametrize("name", WHOLE)
def test_a_body_that_is_no_object_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        WHOLE[name](body)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (ROWS[0] | {"op": "REPLACE"}, "Invalid enum value 'REPLACE'"),
        (ROWS[0] | {"id": 7}, "Expected `str"),
        (ROWS[0] | {"data": [1]}, "Expected `object | null`"),
        (ROWS[0] | {"client_op_id": "7"}, "Expected `int | null`"),
    ],
    ids=["op", "id", "data", "client_op_id"],
)
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_wrong_with_an_operation_is_told_with_its_place(name: str, entry: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestInvalid) as raised:
        WHOLE[name](body_of(name, [ROWS[0], entry]))
    [problem] = raised.value.problems
    assert told in problem
    assert "$." in problem


@pytest.mark.parametrize("name", WHOLE)
def test_a_request_without_an_operation_is_refused(name: str) -> None:
    with pytest.raises(RequestInvalid, match=r"transactions\[0\].ops is empty|holds no operation"):
        WHOLE[name](body_of(name, []))


@pytest.mark.parametrize("name", WHOLE)
def test_a_request_may_have_so_many_operations_and_no_more(name: str) -> None:
    row = {"op": "DELETE", "table": "t", "id": "r"}
    assert len(WHOLE[name](body_of(name, [row] * OPERATIONS_MAX)).transactions[0].crud) == OPERATIONS_MAX
    with pytest.raises(RequestInvalid, match=f"at most {OPERATIONS_MAX}"):
        WHOLE[name](body_of(name, [row] * (OPERATIONS_MAX + 1)))


def test_a_list_may_have_so_many_transactions_and_no_more() -> None:
    one = {"op_id": "", "ops": [ROWS[0]]}
    assert len(listed(json.dumps({"transactions": [one] * TRANSACTIONS_MAX}).encode()).transactions) == TRANSACTIONS_MAX
    for wrong in ([], [one] * (TRANSACTIONS_MAX + 1)):
        with pytest.raises(RequestInvalid, match=f"1 to {TRANSACTIONS_MAX}"):
            listed(json.dumps({"transactions": wrong}).encode())


@pytest.mark.requirement(37)
def test_a_transaction_that_is_named_by_its_first_operation_numbers_the_others() -> None:
    body = json.loads(body_of("transactions", ROWS))
    body["transactions"][0]["op_id"] = "crud:41"
    decoded = transaction_list.decode(json.dumps(body | {"client_id": "phone"}).encode())
    assert [each.client_op_id for each in decoded.batch.transactions[0].crud] == [41, 42, 43]
    assert decoded.names == ["crud:41"]
    # Without a device the numbers mean nothing, for two devices have the same.
    assert [each.client_op_id for each in listed(json.dumps(body).encode()).transactions[0].crud] == [None] * 3
    body["transactions"][0]["op_id"] = "of another kind"
    assert listed(json.dumps(body | {"client_id": "phone"}).encode()).transactions[0].crud[0].client_op_id is None
    for number in (2**63, 2**63 - 2):  # itself, and the last of the three
        body["transactions"][0]["op_id"] = f"crud:{number}"
        with pytest.raises(RequestInvalid, match="op_id must be a whole number"):
            listed(json.dumps(body | {"client_id": "phone"}).encode())


@pytest.mark.requirement(38)
def test_table_batches_keep_the_order_of_their_tables_and_of_the_writes_in_each() -> None:
    body = b'{"changes": {"b": [{"type": "PUT", "id": "2"}, {"type": "DELETE", "id": "1"}], "a": [{"type": "PATCH", "id": "3"}]}}'
    [transaction] = table_batches.decode(body).transactions
    assert [(each.op, each.table, each.id) for each in transaction.crud] == [
        (PUT, "b", "2"),
        (DELETE, "b", "1"),
        (PATCH, "a", "3"),
    ]


def rest_row(
    method: str = "PUT", table: str = "lists", row_id: str = "l1", body: bytes = b"{}", **headers: str
) -> CrudBatch:
    return rest.decode_row(
        method, table, row_id, body, {name.replace("_", "-"): each for name, each in headers.items()}
    )


@pytest.mark.requirement(36)
def test_a_row_by_its_address_is_a_transaction_of_its_own() -> None:
    assert rest_row(body=b'{"name": "x"}') == CrudBatch(
        [CrudTransaction([CrudOperation(op=PUT, table="lists", id="l1", op_data={"name": "x"})])]
    )
    [deleted] = rest_row("DELETE", row_id="a/b c?é", body=b"").transactions
    assert deleted.crud == [CrudOperation(op=DELETE, table="lists", id="a/b c?é")]
    known = rest_row("PATCH", syncline_client_id="phone", syncline_client_op_id="41")
    assert (known.client_id, known.transactions[0].crud[0].client_op_id) == ("phone", 41)


@pytest.mark.parametrize("body", [*BAD_BODIES, b"[1]", b'{"name": }'], ids=lambda body: repr(body[:6]))
def test_a_row_s_body_must_be_its_columns(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        rest_row(body=body)


@pytest.mark.parametrize("number", ["", "-1", "1.0", "x", "٣", "²", str(2**63), "9" * 20])
def test_an_operation_s_number_must_be_one(number: str) -> None:
    with pytest.raises(RequestInvalid, match="syncline-client-op-id must be a whole number"):
        rest_row(syncline_client_op_id=number)
    assert rest_row(syncline_client_op_id=str(2**63 - 1)).transactions[0].crud[0].client_op_id == 2**63 - 1


@pytest.mark.parametrize("names", [{"table": ""}, {"row_id": ""}])
def test_an_address_must_name_a_row(names: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid, match="must name a table and a row"):
        rest_row(**names)


@pytest.mark.parametrize(
    "entry",
    [
        {"table": "lists", "id": "l1", "data": {"name": "x"}},
        {"table": "lists", "data": {"name": "x", "id": "l1"}},
        {"table": "lists", "id": "l1", "data": {"name": "x", "id": "l1"}},
    ],
    ids=["beside", "inside", "both"],
)
def test_a_demo_row_s_id_stands_beside_its_columns_or_among_them(entry: dict[str, Any]) -> None:
    wanted = CrudOperation(op=PATCH, table="lists", id="l1", op_data={"name": "x"})
    assert demos.decode_batch(json.dumps({"batch": [entry | {"op": "PATCH"}]}).encode()).transactions[0].crud == [
        wanted
    ]
    assert demos.decode_row("PATCH", json.dumps(entry).encode()).transactions[0].crud == [wanted]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, "no `id` that is a text"),
        ({"data": {"id": 7}}, "no `id` that is a text"),
        ({"id": "a", "data": {"id": "b"}}, "two different ids"),
        ({"id": "a", "data": {"id": None}}, ""),
    ],
)
def test_a_demo_row_has_one_id(entry: dict[str, Any], told: str) -> None:
    body = json.dumps({"batch": [{"op": "PUT", "table": "t", **entry}]}).encode()
    if not told:
        assert demos.decode_batch(body).transactions[0].crud[0].id == "a"
        return
    with pytest.raises(RequestInvalid, match=rf"batch\[0\] has {told}"):
        demos.decode_batch(body)


def test_one_route_tells_its_dialects_apart_by_a_field_of_the_body() -> None:
    assert field_of(b'{"changes": {}, "other": 1}', ("changes", "operations")) == "changes"
    with pytest.raises(RequestInvalid, match="no field `changes` or `operations`"):
        field_of(b'{"batch": []}', ("changes", "operations"))
    with pytest.raises(RequestInvalid, match="`changes` and `operations`; it must have one"):
        field_of(b'{"operations": [], "changes": {}}', ("changes", "operations"))
    for body in BAD_BODIES:
        with pytest.raises(RequestInvalid):
            field_of(body, ("changes", "operations"))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["PUT", "PATCH", "DELETE"]),
        "table": st.just("t"),
        "id": st.text(min_size=1),
        "data": st.dictionaries(st.text().filter(lambda name: name != "id"), JSON_VALUES, max_size=3),
    }
)


@settings(max_examples=20)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=4))
def test_no_dialect_changes_what_was_written(entries: list[dict[str, Any]]) -> None:
    for name, decode in WHOLE.items():
        [transaction] = decode(body_of(name, entries)).transactions
        assert [(each.op, each.table, each.id) for each in transaction.crud] == [
            (entry["op"], entry["table"], entry["id"]) for entry in entries
        ]
        for each, entry in zip(transaction.crud, entries, strict=True):
            if each.op is not DELETE:
                assert msgspec.json.encode(each.op_data) == msgspec.json.encode(entry["data"])


DECODERS: tuple[Decode, ...] = (*WHOLE.values(), lambda body: demos.decode_row("PUT", body))


@settings(max_examples=20)
@given(
    value=st.dictionaries(st.sampled_from(["transactions", "changes", "operations", "batch", "client_id"]), JSON_VALUES)
)
def test_any_json_is_a_transaction_or_a_clear_refusal(value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    for decode in DECODERS:
        try:
            decoded = decode(body)
        except RequestInvalid as exc:
            problems = exc.problems
        else:
            problems = [] if decoded.transactions else ["no transaction"]
            assert problems == []
            continue
        assert problems
        assert all(problems)
