"""What an app gives to the client: who the user is, and how local writes reach its backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from syncline.client.errors import CredentialsInvalid
from syncline.client.retry import RetryPolicy

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["BackendConnector", "Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the sync service is, and the token that it will accept there.

    The endpoint is normalised (no trailing slash). `expires_at` is an aware time after which the token is not used any more; None:
    until it is refused. `user_id` is whose token it is, where the connector knows: a file that holds another user's data is then not
    shown to this one. Raises CredentialsInvalid for an empty token or an endpoint that is not HTTP.
    """

    endpoint: str
    token: str = field(repr=False)
    expires_at: datetime | None = None
    user_id: str | None = None

    def __post_init__(self) -> None:
        endpoint = self.endpoint.strip().rstrip("/")
        if not endpoint.startswith(("http://", "https://")):
            raise CredentialsInvalid(
                f"The endpoint {endpoint!r} is not an http(s) address.",
                hint='Credentials(endpoint="https://sync.example.com", token=...)',
            )
        if not self.token.strip():
            raise CredentialsInvalid("The token is empty.", hint="Return None from fetch_credentials when signed out.")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise CredentialsInvalid("expires_at has no time zone.", hint="datetime.now(UTC) + timedelta(minutes=5)")
        object.__setattr__(self, "endpoint", endpoint)

    def is_expired(self, at: datetime) -> bool:
        """Whether the token is of no use any more at an aware time."""
        return self.expires_at is not None and self.expires_at <= at


class BackendConnector(ABC):
    """Two methods join an app with its backend. A class without one of them raises TypeError when it is made."""

    upload_retry: RetryPolicy | None = None
    """The pauses after failed uploads; None: they grow from `retry_delay_s` of `connect()` to a minute."""

    @abstractmethod
    async def fetch_credentials(self) -> Credentials | None:
        """Fresh credentials, or None when nobody is signed in. Whatever it raises is shown in the status and tried again later."""

    @abstractmethod
    async def upload_data(self, db: SyncDatabase) -> None:
        """Send what `db.crud_transactions()` gives, and `complete()` each transaction that the backend has taken.

        Returning means that progress was made. An exception keeps the queue and is tried again after the retry delay.
        """
