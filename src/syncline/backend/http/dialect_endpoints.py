"""The endpoints of the upload dialects: one path may serve several, told apart by the fields of the body.

Each decodes into client transactions, has them applied as the write API does, and encodes the verdicts (`dialects`). One answer is for
the whole request, so what follows a refused transaction is tried too: a device completes all of it, or sends all of it again.
"""

from __future__ import annotations

from typing import Any

from syncline.backend.dialects import demos, operations, rest, table_batches, transaction_list
from syncline.backend.dialects.answers import DialectAnswer, RowRefused, WholeAnswer
from syncline.backend.dialects.reading import field_of
from syncline.backend.http.messages import BackendResponse, json_response
from syncline.backend.http.routing import Call, Route
from syncline.backend.limits import DELETE_BODY_BYTES_MAX
from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudBatch, TransactionResult

__all__ = ["DIALECT_ROUTES", "answer_batch"]

_ROW_METHODS = ("PUT", "PATCH", "DELETE")


async def answer_row(call: Call) -> BackendResponse:
    """REST: one row, by its address."""
    request, names = call.request, call.parameters
    if not request.path.endswith(f"/{names['table']}/{names['row_id']}"):  # a router's `$` lets a last line break go
        raise RequestInvalid(["The row's id in the address ends with a line break, which this route cannot carry."])
    batch = rest.decode_row(request.method, names["table"], names["row_id"], request.body, request.headers)
    return _response(rest.encode(await _apply(call, batch)))


async def answer_transactions(call: Call) -> BackendResponse:
    """The list of transactions."""
    asked = transaction_list.decode(call.request.body)
    return _response(transaction_list.encode(asked, await _apply(call, asked.batch)))


async def answer_changes_or_operations(call: Call) -> BackendResponse:
    """Table batches (`changes`), or the recipe's list (`operations`)."""
    body = call.request.body
    if field_of(body, ("changes", "operations")) == "changes":
        return _response(table_batches.encode(await _apply(call, table_batches.decode(body))))
    return _response(operations.encode(await _apply(call, operations.decode(body))))


async def answer_batch(call: Call) -> BackendResponse:
    """The batch of the demo connectors, at the address of the write API."""
    return _response(demos.encode(await _apply(call, demos.decode_batch(call.request.body))))


async def answer_demo_row(call: Call) -> BackendResponse:
    """One row of the demo connectors."""
    batch = demos.decode_row(call.request.method, call.request.body)
    return _response(demos.encode(await _apply(call, batch)))


async def _apply(call: Call, batch: CrudBatch) -> list[TransactionResult]:
    return await call.backend.apply_batch(batch, call.user, on_fatal="skip")


def _response(answer: DialectAnswer) -> BackendResponse:
    if answer.body is None:
        return BackendResponse(answer.status, b"", answer.headers)
    return json_response(answer.body, status=answer.status, headers=answer.headers)


DIALECT_ROUTES = (
    Route(
        "PUT",
        "/api/powersync/upload",
        answer_transactions,
        "Apply a list of client transactions",
        receives=transaction_list.TransactionListBody,
        answers=WholeAnswer,
        statuses=(200, 503),
    ),
    Route(
        "POST",
        "/api/powersync/upload",
        answer_changes_or_operations,
        "Apply one client transaction: its changes by table, or the recipe's list of operations",
        receives=table_batches.TableBatches | operations.RecipeOperations,
        answers=WholeAnswer,
        statuses=(200, 503),
    ),
    *(
        Route(
            method,
            "/api/data/{table}/{row_id:path}",
            answer_row,
            f"{method} one row by its address",
            receives=None if method == "DELETE" else dict[str, Any],
            answers=RowRefused,
            statuses=(204, 409, 422, 503),
        )
        for method in _ROW_METHODS
    ),
    *(
        Route(
            method,
            path,
            answer_demo_row,
            f"{method} one row, as connectors of the demos send it",
            body_bytes_max=DELETE_BODY_BYTES_MAX if method == "DELETE" else None,
            receives=demos.DemoRow,
            answers=WholeAnswer,
            statuses=(200, 503),
        )
        for path in ("/api/data", "/api/upload_data/")
        for method in _ROW_METHODS
    ),
)
"""The write API itself is in `upload_endpoints`."""
