"""Errors of the device client: what went wrong, and what the app or its developer can do about it."""

from __future__ import annotations

from typing import ClassVar

from syncline.errors import ClientError, Retry

__all__ = [
    "AuthFailed",
    "ChecksumMismatch",
    "ClientForked",
    "ConnectionFailed",
    "CredentialsInvalid",
    "DatabaseClosed",
    "DatabaseNotInitialized",
    "NestedTransaction",
    "NotSignedIn",
    "PendingWrites",
    "RetryableUploadError",
    "ServiceError",
    "UploadNotCompleted",
    "UploadRejected",
]


class DatabaseNotInitialized(ClientError):
    """`get_database()` was called before a database was opened, or a database is used before `init()`."""


class DatabaseClosed(ClientError):
    """The database was closed."""


class NestedTransaction(ClientError):
    """A task that holds a write transaction asked the database for another lease: that would wait for itself for ever."""


class PendingWrites(ClientError):
    """Clearing would lose local writes that the backend has not accepted. `count`: entries in the upload queue."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} local writes are not uploaded yet and would be lost.",
            hint="Wait until the queue is empty, or pass discard_pending=True to give them up.",
            count=count,
        )
        self.count = count


class CredentialsInvalid(ClientError):
    """`fetch_credentials` returned something that cannot be used."""


class NotSignedIn(ClientError):
    """`fetch_credentials` returned None: nobody is signed in. The client asks again after the retry delay."""

    retry = Retry.BACKOFF

    def __init__(self) -> None:
        super().__init__("Not signed in: fetch_credentials returned None.")


class ConnectionFailed(ClientError):
    """The peer cannot be reached, or the connection broke."""

    retry = Retry.BACKOFF


class ServiceError(ClientError):
    """The peer answered with an HTTP error. `error_code` is its PSYNC code where it sent one, `status_code` the HTTP status,
    `retry_after_s` the wait that it asked for (Retry-After), None for none.
    """

    retry = Retry.BACKOFF

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        hint: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint, status_code=status_code)
        self.status_code = status_code
        self.retry_after_s = retry_after_s


class AuthFailed(ServiceError):
    """The token was refused (HTTP 401): the credentials are dropped and fetched again."""

    retry: ClassVar[Retry] = Retry.REFRESH_TOKEN


class ChecksumMismatch(ClientError):
    """Downloaded buckets do not have the promised checksum; they are deleted and downloaded again."""

    retry = Retry.BACKOFF

    def __init__(self, buckets: list[str]) -> None:
        super().__init__(f"Checksums do not match; downloading again: {', '.join(buckets)}", buckets=buckets)
        self.buckets = buckets


class ClientForked(ClientError):
    """The backend knows the ids of these writes with other content: the file is a copy, or was restored (design decision 12).

    Raised by `upload_data`, it makes the client take a new client id, keep the whole queue and send it again.
    """

    retry = Retry.BACKOFF

    def __init__(self) -> None:
        super().__init__(
            "The backend has other writes under the ids of this device: its file is a copy, or was restored.",
            hint="The client takes a new client id and sends the queue again; nothing has to be done.",
        )


class UploadNotCompleted(ClientError):
    """`upload_data` returned, but the head of the queue is the same as before: `complete()` was forgotten."""

    retry = Retry.BACKOFF


class RetryableUploadError(ClientError):
    """The backend asked to send the same transaction again later. `retry_after_s`: its own wish, None for the default."""

    retry = Retry.BACKOFF

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class UploadRejected(ClientError):
    """The backend wants the app to decide about a transaction (`requires_client_handling`); it is kept until then."""

    retry = Retry.OPERATOR
