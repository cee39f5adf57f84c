from __future__ import annotations

import json
from datetime import UTC, datetime

from syncline.backend.dead_letters.letters import DeadLetter, new_letter_id
from syncline.backend.dead_letters.rows import LETTER_COLUMNS, letter_of, letter_row, write_result_row
from syncline.backend.limits import WRITE_RESULT_OPERATIONS_MAX
from syncline.protocol.crud import CrudOperation, CrudTransaction, UpdateType, content_hash


def letter(operations: int = 1, message: str = "no") -> DeadLetter:
    crud = [
        CrudOperation(op=UpdateType.PUT, table="lists", id=str(index), op_data={"name": "secret"})
        for index in range(operations)
    ]
    transaction = CrudTransaction(crud, 12)
    made_at = datetime(2026, 3, 1, tzinfo=UTC)
    return DeadLetter(
        new_letter_id(), made_at, "ann", "c1", transaction, content_hash(transaction), "CHECK_VIOLATION", message
    )


def test_a_letter_is_the_same_behind_its_row() -> None:
    row = letter_row(kept := letter())
    assert tuple(row) == LETTER_COLUMNS
    assert letter_of(row) == kept
    naive = row | {"created_at": kept.created_at.replace(tzinfo=None)}  # databases without time zones
    assert letter_of(naive) == kept


def test_a_message_holds_no_character_that_a_database_cannot() -> None:
    assert letter_row(letter(message="zero\0"))["message"] == "zero\ufffd"


def test_a_report_names_rows_up_to_its_limit_and_no_values() -> None:
    row = write_result_row(letter(WRITE_RESULT_OPERATIONS_MAX + 1))
    operations = json.loads(row["operations"])
    assert len(operations) == WRITE_RESULT_OPERATIONS_MAX
    assert operations[-1] == {"op": "PUT", "table": "lists", "id": str(WRITE_RESULT_OPERATIONS_MAX - 1)}
    assert "secret" not in str(row)
    assert (row["transaction_id"], row["resolved"]) == (12, False)
