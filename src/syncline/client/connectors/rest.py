"""REST: `PUT`, `PATCH` or `DELETE` of `{backend}/api/data/{table}/{id}` for each changed row (write path reference, 1, D1)."""

from __future__ import annotations

from urllib.parse import quote

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.dialect import EntryUploader
from syncline.client.connectors.outcomes import refusal_in_body, require_success
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.crud import CrudEntry
from syncline.client.dead_letters import Refusal
from syncline.protocol.crud import UpdateType

__all__ = ["RestPerEntryUploader"]

_GONE = frozenset({404, 410})


class RestPerEntryUploader(EntryUploader):
    """One request for each changed row, its body the column values.

    Not atomic: where a later row of a transaction is refused, earlier ones are in effect. The policy `skip_entry` exists for this kind. A
    row that is not there any more (404, 410) counts as deleted.
    """

    def __init__(self, path: str = "/api/data", *, max_transactions: int = 10) -> None:
        super().__init__(max_transactions=max_transactions)
        self._path = path.rstrip("/")

    async def send_entry(self, entry: CrudEntry, backend: AuthorizedBackend, *, policy: UploadPolicy) -> Refusal | None:
        """See EntryUploader."""
        # Names come from the app's schema and its data: a slash or a question mark in an id must not become another address.
        path = f"{self._path}/{quote(entry.table, safe='')}/{_segment(entry.id)}"
        value = None if entry.op is UpdateType.DELETE else entry.op_data or {}
        answer = await backend.request(str(entry.op), path, value=value)
        if entry.op is UpdateType.DELETE and answer.status in _GONE and not answer.is_page:
            return None
        refusal = require_success(answer, backend.url(path), forbidden_is_final=policy.on_forbidden == "dead_letter")
        return refusal or refusal_in_body(answer)


def _segment(text: str) -> str:
    """One segment of a path; `.` and `..` would be taken for folders, escaped or not."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted
