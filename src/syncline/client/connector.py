"""What an app gives to the client: who the user is, and how local writes reach its backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from syncline.client.errors import CredentialsInvalid

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["BackendConnector", "Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the sync service is, and the token that it will accept there.

    The endpoint is normalised (no trailing slash). Raises CredentialsInvalid for an empty token or an endpoint that is not HTTP.
    """

    endpoint: str
    token: str = field(repr=False)
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        endpoint = self.endpoint.strip().rstrip("/")
        if not endpoint.startswith(("http://", "https://")):
            raise CredentialsInvalid(
                f"The endpoint {endpoint!r} is not an http(s) address.",
                hint='Credentials(endpoint="https://sync.example.com", token=...)',
            )
        if not self.token.strip():
            raise CredentialsInvalid("The token is empty.", hint="Return None from fetch_credentials when signed out.")
        object.__setattr__(self, "endpoint", endpoint)


class BackendConnector(ABC):
    """Two methods join an app with its backend. A class without one of them raises TypeError when it is made."""

    @abstractmethod
    async def fetch_credentials(self) -> Credentials | None:
        """Fresh credentials, or None when nobody is signed in. Whatever it raises is shown in the status and tried again later."""

    @abstractmethod
    async def upload_data(self, db: SyncDatabase) -> None:
        """Send what `db.crud_transactions()` gives, and `complete()` each transaction that the backend has taken.

        Returning means that progress was made. An exception keeps the queue and is tried again after the retry delay.
        """
