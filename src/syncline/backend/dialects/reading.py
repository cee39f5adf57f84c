"""PURE: how bodies are read, and the limits that hold for every dialect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import msgspec

from syncline.errors import RequestInvalid
from syncline.protocol.crud import OPERATIONS_MAX, CrudBatch, CrudOperation, CrudTransaction

__all__ = ["checked_client_op_id", "field_of", "one_transaction", "read"]

_T = TypeVar("_T")
_OP_ID_MAX = 2**63 - 1  # the largest integer of SQLite, which counts the operations on a device


def read(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The body as the decoder's type. Raises RequestInvalid with what is wrong, where."""
    try:
        return decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([str(exc)]) from exc


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def field_of(body: bytes, names: Collection[str]) -> str:
    """Which of these fields a JSON object has: by it one route tells its dialects apart.

    Raises RequestInvalid for none of them, and for two: nobody could say which one is meant.
    """
    fields = read(body, _fields)
    found = [name for name in names if name in fields]
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(f"`{name}`" for name in names)
    if found:
        raise RequestInvalid([f"The body has {' and '.join(f'`{name}`' for name in found)}; it must have one of them."])
    raise RequestInvalid([f"The body has no field {wanted}."])


def one_transaction(operations: Sequence[CrudOperation], client_id: str | None, *, where: str) -> CrudBatch:
    """All operations of a request as one transaction. Raises RequestInvalid for none, and for too many; `where` names the field."""
    if not operations:
        raise RequestInvalid([f"`{where}` holds no operation."])
    if len(operations) > OPERATIONS_MAX:
        raise RequestInvalid([f"{len(operations)} operations in one request, at most {OPERATIONS_MAX} are allowed"])
    return CrudBatch([CrudTransaction(list(operations))], client_id=client_id)


def checked_client_op_id(text: str, *, where: str, count: int = 1) -> int:
    """The number of an operation on its device, from a text; `count` operations go on from there. Raises RequestInvalid."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) + count - 1 <= _OP_ID_MAX:
        return int(text)
    raise RequestInvalid([f"{where} must be a whole number from 0 to {_OP_ID_MAX}"])
