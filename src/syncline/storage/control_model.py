"""PURE: what a storage keeps for its administrators, beside the replicated data: deployed configs, reports of connections, versions.

Times are milliseconds since 1970, as everywhere in storage.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncline.storage.model import StoredTable, Version

__all__ = [
    "CONNECTION_REPORTS_MAX",
    "DEPLOYMENTS_KEPT",
    "MS_PER_DAY",
    "ConnectionReport",
    "Deployment",
    "VersionReport",
]

DEPLOYMENTS_KEPT = 20  # deployments that are remembered; the newest counts, the others are there to look at
CONNECTION_REPORTS_MAX = 1000  # reports that one reading returns
MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """A sync config that was deployed through the API, or (`sync_config` None) the wish to copy everything again.

    `number` is the number that its first version gets: versions with lower numbers are not of it, even where their text is the same.
    """

    number: int
    sync_config: str | None
    deployed_ms: int


@dataclass(frozen=True, slots=True)
class VersionReport:
    """A version as it stands in storage, with its tables. Positions are empty before the first commit and checkpoint."""

    version: Version
    tables: tuple[StoredTable, ...]
    position: str
    checkpoint_position: str


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """Who had streams open on one day (UTC): counts and sums over the streams of one user and client (protocol reference, 7.5)."""

    user_id: str
    client_id: str
    user_agent: str
    connected_ms: int  # when the first of them was opened
    disconnected_ms: int | None  # when the last of them ended; None while one is open
    token_expires_s: int  # of the newest token, in seconds since 1970
    connections: int = 1
    operations_sent: int = 0
    bytes_sent: int = 0

    @property
    def day(self) -> int:
        """Days since 1970: reports of one user, client and day are added up."""
        return self.connected_ms // MS_PER_DAY
