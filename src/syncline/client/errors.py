"""Errors of the device client: what went wrong, and what the app or its developer can do about it."""

from __future__ import annotations

from typing import ClassVar

from syncline.errors import ClientError, Retry

__all__ = [
    "AccountChanged",
    "AuthFailed",
    "ChecksumMismatch",
    "ClientForked",
    "ConnectionFailed",
    "CredentialsInvalid",
    "DatabaseClosed",
    "DatabaseNotInitialized",
    "Disconnected",
    "NestedTransaction",
    "NotSignedIn",
    "PeerIsSyncing",
    "PendingWrites",
    "RetryableUploadError",
    "ServiceError",
    "TransactionExpired",
    "UploadNotCompleted",
    "UploadRejected",
]


class DatabaseNotInitialized(ClientError):
    """`get_database()` was called before a database was opened, or a database is used before `init()`."""


class DatabaseClosed(ClientError):
    """The database was closed."""


class NestedTransaction(ClientError):
    """A task that holds a write transaction asked the database for another lease: that would wait for itself for ever."""


class TransactionExpired(ClientError):
    """A write transaction was open for too long without running a statement; it was rolled back, and nothing of it is stored."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The write transaction was rolled back: it was open for {limit_s:g} s between its statements.",
            hint="Fetch and compute first, then write; or do it all in one function: `await db.run(function)`.",
            limit_s=limit_s,
        )


class PendingWrites(ClientError):
    """Clearing would lose local writes that the backend has not accepted.

    `count`: entries in the upload queue; `files`: attachments that are on this device only.
    """

    def __init__(self, count: int, *, files: int = 0) -> None:
        attachments = f"{files} attachments" if files else ""
        what = " and ".join(filter(None, [f"{count} local writes" if count or not files else "", attachments]))
        super().__init__(
            f"{what} are not uploaded yet and would be lost.",
            hint="Let their user sign in until the queue is empty, or give them up: disconnect_and_clear(discard_pending=True).",
            count=count,
            files=files,
        )
        self.count = count
        self.files = files


class PeerIsSyncing(ClientError):
    """The data cannot be cleared while another process syncs the same file. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "Another process syncs this database file.",
            hint="Disconnect there first (its `current_status.role` is owner), or clear the data there.",
        )


class AccountChanged(ClientError):
    """The user of a connection is another one than the one whose data the file holds. Nothing was exchanged.

    Either the connector's credentials have become another user's, or another process on the file has signed somebody else in (`elsewhere`).
    """

    retry = Retry.BACKOFF

    def __init__(self, *, elsewhere: bool) -> None:
        if elsewhere:
            message = (
                "Another process has signed in another user: the data in the file are not this connection's user's."
            )
            hint = "Connect as that user here too, or sign in again: connect(user_id=...) clears the file."
        else:
            message = "The credentials are another user's than the data in the file."
            hint = "The client clears the file and connects as the new user; nothing has to be done."
        super().__init__(message, hint=hint)
        self.elsewhere = elsewhere


class CredentialsInvalid(ClientError):
    """`fetch_credentials` returned something that cannot be used."""


class NotSignedIn(ClientError):
    """`fetch_credentials` returned None: nobody is signed in. The client asks again after the retry delay."""

    retry = Retry.BACKOFF

    def __init__(self) -> None:
        super().__init__("Not signed in: fetch_credentials returned None.")


class Disconnected(ClientError):
    """What was asked for needs a connection, and the app has none: it has not called `connect()`, or has ended it meanwhile."""

    def __init__(self) -> None:
        super().__init__("The database is not connected.", hint="Call `await db.connect(connector)` first.")


class ConnectionFailed(ClientError):
    """The peer cannot be reached, or the connection broke. `retry_after_s`: when to try again, None for the usual delay."""

    retry = Retry.BACKOFF

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


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
