"""The error tree: what went wrong, its code, and whose move is next.

    SynclineError
    ├── ProtocolError
    │   ├── LocalProtocolError         we would have sent something the protocol does not allow
    │   └── RemoteProtocolError        the peer sent something the protocol does not allow
    │       └── RequestInvalid         a request to us with wrong fields; names all of them
    ├── ConfigError                    the service's configuration file
    ├── SyncConfigError                the sync config; carries all problems
    ├── AuthError
    │   ├── TokenMissing  TokenInvalid  TokenExpired  TokenLifetimeTooLong  AudienceMismatch
    │   └── KeysUnavailable            no usable key could be fetched
    ├── SourceError
    │   ├── SourceUnavailable          cannot be reached, or refused us
    │   ├── SourceNotReady             reachable, but not set up for replication: says which SQL to run
    │   └── SlotLost                   the replication slot is gone or invalid
    ├── StorageError
    │   ├── StorageUnavailable  StorageVersionUnsupported  LeaseLost
    ├── SyncError                      a stream cannot be served
    │   ├── NoActiveSyncConfig  LimitExceeded  TooManyConnections  ShuttingDown
    └── ClientError                    the device client; its own tree is in `syncline.client.errors`

The codes are the field's own (`PSYNC_…`), so that what people find about a code elsewhere holds here. Every class says in
`retry` whose move is next, and every error may carry a `hint`: what to write, run or paste.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar

__all__ = [
    "AudienceMismatch",
    "AuthError",
    "ClientError",
    "ConfigError",
    "KeysUnavailable",
    "LeaseLost",
    "LimitExceeded",
    "LocalProtocolError",
    "NoActiveSyncConfig",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestInvalid",
    "Retry",
    "ShuttingDown",
    "SlotLost",
    "SourceError",
    "SourceNotReady",
    "SourceUnavailable",
    "StorageError",
    "StorageUnavailable",
    "StorageVersionUnsupported",
    "SyncConfigError",
    "SyncError",
    "SynclineError",
    "TokenExpired",
    "TokenInvalid",
    "TokenLifetimeTooLong",
    "TokenMissing",
    "TooManyConnections",
]


class Retry(enum.Enum):
    """Whose move is next after an error."""

    NEVER = "never"  # the same call fails again: the caller has to change it
    BACKOFF = "backoff"  # the same call may go through later: wait, with jitter
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - fetch new credentials, then call again
    OPERATOR = "operator"  # a person has to act; the hint says how


class SynclineError(Exception):
    """Base of every error that Syncline raises on purpose.

    `message` is one sentence for people, without row values or tokens. `hint` says what to do about it (SQL to run, lines to
    paste). `context` holds machine-readable fields for logs.
    """

    code: ClassVar[str] = "PSYNC_S0001"
    status: ClassVar[int] = 500  # HTTP status when the error answers a request
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(
        self, message: str, *, code: str | None = None, hint: str = "", details: str = "", **context: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or type(self).code
        self.hint = hint
        self.details = details
        self.context = context

    def __str__(self) -> str:
        text = f"[{self.error_code}] {self.message}"
        return f"{text}\n{self.hint}" if self.hint else text


class ProtocolError(SynclineError):
    """One side broke the sync protocol."""

    code = "PSYNC_S2001"
    retry = Retry.BACKOFF


class LocalProtocolError(ProtocolError):
    """We were about to send something that the protocol does not allow: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow."""


class RequestInvalid(RemoteProtocolError):
    """A request with wrong or missing fields; `problems` names each of them."""

    status = 400
    retry = Retry.NEVER

    def __init__(self, problems: list[str], **context: Any) -> None:
        super().__init__("The request is not valid: " + "; ".join(problems), **context)
        self.problems = problems


class ConfigError(SynclineError):
    """The service's configuration cannot be used; every problem is listed with its path and a hint."""

    code = "PSYNC_S3201"
    retry = Retry.OPERATOR


class SyncConfigError(SynclineError):
    """The sync config cannot be used. `problems` holds all of them, each with line, column and hint."""

    code = "PSYNC_R0001"
    status = 422
    retry = Retry.OPERATOR

    def __init__(self, problems: list[Any], **context: Any) -> None:
        super().__init__("The sync config is not valid:\n" + "\n".join(str(problem) for problem in problems), **context)
        self.problems = problems


class AuthError(SynclineError):
    """A token was refused, or could not be checked."""

    code = "PSYNC_S2101"
    status = 401
    retry = Retry.REFRESH_TOKEN


class TokenMissing(AuthError):
    """No token, or not in the form `Authorization: Token <jwt>` (or `Bearer`)."""

    code = "PSYNC_S2106"


class TokenInvalid(AuthError):
    """Malformed, wrongly signed, of an unknown key, or without a required claim."""


class TokenExpired(AuthError):
    """`exp` has passed."""

    code = "PSYNC_S2103"


class TokenLifetimeTooLong(AuthError):
    """`exp - iat` is above the allowed lifetime."""

    code = "PSYNC_S2104"


class AudienceMismatch(AuthError):
    """None of the token's audiences is accepted here."""

    code = "PSYNC_S2105"


class KeysUnavailable(AuthError):
    """No key to verify with could be fetched from the JWKS URIs."""

    code = "PSYNC_S2204"
    retry = Retry.BACKOFF


class SourceError(SynclineError):
    """The source database."""

    code = "PSYNC_S1101"
    retry = Retry.BACKOFF


class SourceUnavailable(SourceError):
    """The source cannot be reached, or refused the connection."""

    code = "PSYNC_S1120"


class SourceNotReady(SourceError):
    """The source is reachable but not set up for replication; the hint is the SQL or setting to use."""

    code = "PSYNC_S1141"
    retry = Retry.OPERATOR


class SlotLost(SourceError):
    """The replication slot no longer exists or was invalidated: the log between is gone."""

    code = "PSYNC_S1146"


class StorageError(SynclineError):
    """Bucket storage."""

    code = "PSYNC_S2404"
    retry = Retry.BACKOFF


class StorageUnavailable(StorageError):
    """Bucket storage cannot be opened or reached."""

    code = "PSYNC_S2402"


class StorageVersionUnsupported(StorageError):
    """The storage was written by a newer version of Syncline."""

    code = "PSYNC_S1005"
    retry = Retry.OPERATOR


class LeaseLost(StorageError):
    """Another replicator holds the storage's lease now; nothing was written."""

    code = "PSYNC_S1003"


class SyncError(SynclineError):
    """A stream cannot be served."""

    code = "PSYNC_S2001"
    retry = Retry.BACKOFF


class NoActiveSyncConfig(SyncError):
    """No sync config is active yet: the first snapshot is not complete, or nothing was deployed."""

    code = "PSYNC_S2302"


class LimitExceeded(SyncError):
    """Too many buckets or parameter results for one connection."""

    code = "PSYNC_S2305"


class TooManyConnections(SyncError):
    """The process serves as many streams as it may."""

    code = "PSYNC_S2304"
    status = 429


class ShuttingDown(SyncError):
    """The service is stopping; another process, or the next start, will serve."""

    code = "PSYNC_S2003"
    status = 503


class ClientError(SynclineError):
    """Base of the device client's errors."""

    code = "SYNCLINE_CLIENT"
