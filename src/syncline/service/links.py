"""What ties a service to the other processes of the same service: the wiring calls these, the process tree fills them in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from syncline.api.admin.status import NO_REPLICATION, ReplicationState
from syncline.storage.model import Checkpoint

__all__ = ["ServiceLinks"]


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLinks:
    """By default a service is one process, and knows of no other. The callables are called in the service's event loop."""

    port: int | None = None  # the API's, on which other workers listen too
    on_checkpoint: Callable[[Checkpoint], None] = _nothing  # the replicator here has made one
    on_deployed: Callable[[], None] = _nothing  # another sync config is wanted, and none is replicated here
    replication: ReplicationState = NO_REPLICATION  # how the replicator is that runs beside this process
    replicates_beside: Callable[[], bool] = (
        bool  # whether that one holds the lease, so that its wake-ups come from there
    )
    touched_s: Callable[[], float] = (
        time.time
    )  # the last sign of life of all, in seconds since 1970, where none replicates here
