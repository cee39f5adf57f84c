"""Supabase: rows go to PostgREST under the user's own session, so that row-level security decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import RequestTimeouts
from syncline.client.connectors.credential_flows import SessionToken
from syncline.client.connectors.dialect import EntryUploader
from syncline.client.connectors.outcomes import require_success
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.crud import CrudEntry
from syncline.client.dead_letters import Refusal
from syncline.client.http_connector import HttpConnector
from syncline.protocol.crud import UpdateType

__all__ = ["PostgrestUploader", "SupabaseConnector"]


class PostgrestUploader(EntryUploader):
    """One PostgREST request for each changed row: upsert, update by id, delete by id. Repeating any of them changes nothing more.

    A constraint, a value that does not fit, or a column that is not there is a refusal (SQLSTATE in `refusal.code`). Row-level security
    answers 403 (42501), which blocks unless `UploadPolicy(on_forbidden="dead_letter")`: a missing role is put right more often than not.
    """

    def __init__(self, path: str = "/rest/v1", *, max_transactions: int = 10) -> None:
        super().__init__(max_transactions=max_transactions)
        self._path = path.rstrip("/")

    async def send_entry(self, entry: CrudEntry, backend: AuthorizedBackend, *, policy: UploadPolicy) -> Refusal | None:
        """See EntryUploader."""
        path = f"{self._path}/{quote(entry.table, safe='')}"
        prefer = {"prefer": "return=minimal"}
        match entry.op:
            case UpdateType.PUT:
                row = {**(entry.op_data or {}), "id": entry.id}
                upsert = {"prefer": "return=minimal,resolution=merge-duplicates"}
                answer = await backend.request("POST", path, value=row, headers=upsert)
            case UpdateType.PATCH:
                value = entry.op_data or {}
                answer = await backend.request("PATCH", path, value=value, params=_is(entry.id), headers=prefer)
            case UpdateType.DELETE:
                answer = await backend.request("DELETE", path, params=_is(entry.id), headers=prefer)
        return require_success(answer, backend.url(path), forbidden_is_final=policy.on_forbidden == "dead_letter")


class SupabaseConnector(HttpConnector):
    """A Supabase project: its session token is the sync token, and PostgREST takes the writes.

    `url` is the project's address, `anon_key` its public key, `service_url` the sync service, and `get_session_token` a function (it may
    be a coroutine function) that returns the present access token of the user's session, None when nobody is signed in. It is called
    each time: Supabase's own library refreshes the session.
    """

    def __init__(
        self,
        url: str,
        anon_key: str,
        *,
        service_url: str,
        get_session_token: Callable[[], str | Awaitable[str | None] | None],
        policy: UploadPolicy | None = None,
        timeouts: RequestTimeouts | None = None,
    ) -> None:
        super().__init__(
            url,
            SessionToken(service_url, get_session_token),
            uploader=PostgrestUploader(),
            headers={"apikey": anon_key},
            policy=policy,
            timeouts=timeouts,
        )


def _is(row_id: str) -> dict[str, str]:
    return {"id": f"eq.{row_id}"}
