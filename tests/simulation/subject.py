"""What is simulated: the product as it is. Mutants, which must be caught, are subclasses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from syncline.client.transport.base import TransportLimits
from syncline.testing.memory_connector import MemoryConnector
from syncline.testing.memory_source import MemorySource
from syncline.testing.service import MemoryService
from tests.simulation.sim_backend import RecordingPersister
from tests.simulation.sim_link import SimLink

if TYPE_CHECKING:
    from tests.simulation.plan import Plan
    from tests.simulation.world import World

__all__ = ["READ_IDLE_TIMEOUT_S", "RETRY_DELAY_S", "WRITE_CHECKPOINT_TIMEOUT_S", "Subject"]

RETRY_DELAY_S = 1.0
READ_IDLE_TIMEOUT_S = 25.0  # above the service's 18 to 22 s between keepalives
WRITE_CHECKPOINT_TIMEOUT_S = 8.0


class Subject:
    """What is simulated. Mutants are subclasses."""

    def connector(self, service: MemoryService, user: str, link: SimLink, plan: Plan) -> MemoryConnector:
        """The connector of an app."""
        connector = service.connector(user, link=link)
        connector.transactions_max = plan.batch
        return connector

    def connect_options(self) -> dict[str, Any]:
        """Options of `SyncDatabase.connect`."""
        return {
            "retry_delay_s": RETRY_DELAY_S,
            "write_checkpoint_timeout_s": WRITE_CHECKPOINT_TIMEOUT_S,
        }

    def transport_limits(self) -> TransportLimits:
        """Limits of a device's transport."""
        return TransportLimits(read_idle_timeout_s=READ_IDLE_TIMEOUT_S)

    def persister(self, world: World, source: MemorySource) -> RecordingPersister:
        """The backend's database."""
        return RecordingPersister(world, source)

    def applied(self) -> AbstractContextManager[object]:
        """Entered around the whole run."""
        return nullcontext()
