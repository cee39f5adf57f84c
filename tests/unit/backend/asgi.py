from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy
from syncline.backend.persisters.base import UploadIdentity, Write
from syncline.backend.starlette import backend_routes, development_login
from syncline.protocol.crud import ResultStatus, TransactionResult

AUDIENCE = "tests"
SERVICE_URL = "http://127.0.0.1:8080"
SIGNER = TokenSigner.from_secret(b"0" * 32, kid="test")
LISTS = {"lists": TablePolicy(owner="owner_id", columns=["name"])}


@dataclass
class RecordingPersister:
    """Stands where a persister stands and remembers what it was asked; `failures` are raised for rows of these ids."""

    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    applied: list[list[Write]] = field(default_factory=list[list[Write]])
    identities: list[UploadIdentity | None] = field(default_factory=list[UploadIdentity | None])
    refusals: list[TransactionResult] = field(default_factory=list[TransactionResult])
    recording: Callable[[TransactionResult], TransactionResult] = lambda result: result
    checkpoints: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    opened: bool = False

    async def open(self) -> None:
        self.opened = True

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        self.identities.append(identity)
        for write in writes:
            if write.id in self.failures:
                raise self.failures[write.id]
        self.applied.append(writes)
        return TransactionResult(ResultStatus.SUCCESS)

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        self.refusals.append(result)
        return self.recording(result)

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        count = self.checkpoints[user_id, client_id] = self.checkpoints.get((user_id, client_id), 0) + 1
        return count

    async def close(self) -> None:
        self.opened = False


def make_backend(persister: RecordingPersister | None = None, **options: Any) -> SyncBackend:
    auth = BackendAuth(options.pop("signer", SIGNER), audience=AUDIENCE, service_url=SERVICE_URL)
    options.setdefault("tables", LISTS)
    return SyncBackend(persister=persister or RecordingPersister(), auth=auth, **options)


def make_app(persister: RecordingPersister | None = None, **options: Any) -> Starlette:
    return Starlette(routes=backend_routes(make_backend(persister, **options), current_user=development_login()))


def bearer(user_id: str) -> dict[str, str]:
    token = make_backend().auth.issue(AuthenticatedUser(user_id)).token
    return {"authorization": f"Bearer {token}"}


def operation(op: str = "PUT", row_id: str = "l1", table: str = "lists", **more: Any) -> dict[str, Any]:
    return {"op": op, "table": table, "id": row_id, **more}


def upload(*transactions: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"transactions": [{"crud": crud} for crud in transactions], **more}).encode()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes | Iterable[bytes] = b"",
    server: tuple[str, int] | None = ("127.0.0.1", 80),
    host: str = "127.0.0.1",
) -> Answer:
    """One request to an ASGI app, without sockets."""
    parts = list([body] if isinstance(body, bytes) else body)
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)} for index, part in enumerate(parts)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in {"host": host, **(headers or {})}.items()],
        "client": ("127.0.0.1", 1),
        "server": server,
    }
    await app(scope, receive, send)
    head = sent[0]
    answer_headers = {k.decode(): v.decode() for k, v in head["headers"]}
    return Answer(head["status"], answer_headers, b"".join(message.get("body", b"") for message in sent[1:]))
