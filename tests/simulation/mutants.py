"""The product with one thing broken, each in the way in which sync engines are known to break. Every one has to be caught."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import apsw
import msgspec
from msgspec.structs import replace

from syncline.backend.persisters.base import UploadIdentity
from syncline.client import SyncDatabase
from syncline.client.local.buckets import BucketStore
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.transport.base import TransportLimits
from syncline.protocol import crud
from syncline.sync.checkpoint_state import KnownState
from syncline.sync.session import ReadView, SyncSession
from syncline.testing.memory_connector import MemoryConnector
from syncline.testing.memory_source import MemorySource
from syncline.testing.service import MemoryService
from tests.simulation.checkers import Contract
from tests.simulation.plan import Faults, Plan
from tests.simulation.sim_backend import RecordingPersister
from tests.simulation.sim_link import SimLink
from tests.simulation.subject import Subject

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["MUTANTS", "Mutant"]

NEVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken product. `caught_by`: contracts that it breaks; `faults`: what it takes to show."""

    name: str
    subject: Subject
    caught_by: tuple[str, ...]
    faults: Faults = field(default_factory=Faults)
    writes: float = 1.5  # local transactions of a device per second

    def plan(self, seed: int) -> Plan:
        """Devices of one user, who get into each other's way."""
        return Plan(
            seed=seed,
            devices=2,
            active_s=8.0,
            latency_s=0.2,
            writes=self.writes,
            source_writes=1.5,
            batch=3,
            faults=self.faults,
        )


class Patched(Subject):
    """The product with one function replaced."""

    def __init__(self, owner: type, name: str, replacement: Any) -> None:
        self._owner, self._name, self._replacement = owner, name, replacement

    def applied(self) -> AbstractContextManager[object]:
        """Replaced for the whole run."""
        return patch.object(self._owner, self._name, self._replacement)


def _wrapped(mutate: Any) -> Any:
    """A connector class whose `upload_data` is another."""

    class Mutated(Subject):
        def connector(self, service: MemoryService, user: str, link: SimLink, plan: Plan) -> MemoryConnector:
            connector = mutate(service, user, link=link)
            connector.transactions_max = plan.batch
            return connector

    return Mutated()


class CompletesFirst(MemoryConnector):
    """Takes transactions off the queue before the backend has answered."""

    async def upload_data(self, db: SyncDatabase) -> None:
        """Complete, then send."""
        transactions = await db.get_crud_transactions(self.transactions_max)
        if transactions:
            body = self.body(transactions, await db.get_client_id())
            await transactions[-1].complete()
            await self.send(body)


class NewestFirst(MemoryConnector):
    """Sends the newest transactions first."""

    async def send(self, body: bytes) -> crud.UploadResponse:
        """Send the transactions of a batch the other way round."""
        batch = crud.decode_crud_batch(body)
        turned = crud.CrudBatch(batch.transactions[::-1], batch.client_id)
        response = await super().send(msgspec.json.encode(turned))
        return crud.UploadResponse(response.results[::-1])


class ForgetfulPersister(RecordingPersister):
    """Keeps no verdicts: a repeat is executed again."""

    def verdict(self, identity: UploadIdentity | None) -> None:
        """Never known."""
        return


class NoVerdicts(Subject):
    """A backend without the identity of uploads."""

    def persister(self, world: World, source: MemorySource) -> RecordingPersister:
        """The forgetful one."""
        return ForgetfulPersister(world, source)


class Deaf(Subject):
    """A client without a limit on silence."""

    def transport_limits(self) -> TransportLimits:
        """Waits for ever."""
        return TransportLimits(read_idle_timeout_s=NEVER_S)


class Patient(Subject):
    """A client that waits for ever for a write checkpoint that was lost."""

    def connect_options(self) -> dict[str, Any]:
        """Without the watchdog."""
        return {**super().connect_options(), "write_checkpoint_timeout_s": NEVER_S}


class NoTransactions(Subject):
    """A client that stores and applies outside of transactions: it may die in the middle."""

    def applied(self) -> AbstractContextManager[object]:
        """Without BEGIN and COMMIT."""

        @contextlib.contextmanager
        def no_transaction(connection: apsw.Connection, *, local_writes: bool = True) -> Generator[None]:
            yield

        return patch("syncline.client.sync_engine.write_transaction", no_transaction)


def _no_gate(self: BucketStore) -> None:
    """Local writes never hold a download back."""


def _no_mismatch(self: BucketStore, buckets: object) -> list[str]:
    return []


def _complete_all(self: CrudQueue, last_crud_id: int, write_checkpoint: int | None = None) -> None:
    """Takes off what was written while the upload was under way, too."""
    self._connection.execute("DELETE FROM ps_crud")
    self.set_target(2**63 - 1)


_apply_full = BucketStore._apply_full


def _leaves_notes(self: BucketStore, *arguments: Any) -> None:
    """What was noted to be derived again is derived, and stays noted."""
    notes = self._connection.execute("SELECT row_type, row_id FROM ps_updated_rows").fetchall()
    _apply_full(self, *arguments)
    self._connection.executemany("INSERT INTO ps_updated_rows VALUES (?, ?)", notes)


_note = SyncSession._note


def _forget_lookups(self: SyncSession, change: Any) -> list[Any]:
    """The service does not notice that a connection's buckets are others now."""
    return [instruction for instruction in _note(self, change) if not isinstance(instruction, ReadView)]


_diff_line = KnownState.diff_line


def _no_removals(self: KnownState, before: KnownState, updated: Any) -> Any:
    """The service does not say which buckets a client has lost."""
    line = _diff_line(self, before, updated)
    return None if line is None else replace(line, removed_buckets=[])


MUTANTS = (
    Mutant("the gate is open while local writes wait", Patched(BucketStore, "_blocked", _no_gate), (Contract.ATOMIC,)),
    Mutant(
        "checksums are not compared",
        Patched(BucketStore, "_mismatches", _no_mismatch),
        (Contract.ATOMIC, Contract.EXACT, Contract.LIVE),
        Faults(line_lost=0.2),
    ),
    Mutant("repeated uploads are executed again", NoVerdicts(), (Contract.UPLOADS,), Faults(upload_repeated=0.3)),
    Mutant("answers that were lost make a second effect", NoVerdicts(), (Contract.UPLOADS,), Faults(answer_lost=0.2)),
    Mutant(
        "uploads are taken off the queue before the answer",
        _wrapped(CompletesFirst),
        (Contract.UPLOADS, Contract.ATOMIC),
        Faults(request_lost=0.2),
    ),
    Mutant("uploads come in another order", _wrapped(NewestFirst), (Contract.UPLOADS, Contract.ATOMIC)),
    Mutant(
        "completing takes off later writes too",
        Patched(CrudQueue, "complete", _complete_all),
        (Contract.UPLOADS, Contract.ATOMIC),
    ),
    Mutant(
        "downloads are stored outside of transactions",
        NoTransactions(),
        (Contract.ATOMIC, Contract.EXACT, Contract.LIVE),
        Faults(crash_at_step=3.0),
    ),
    Mutant("an apply leaves notes behind", Patched(BucketStore, "_apply_full", _leaves_notes), (Contract.EXACT,)),
    Mutant("a silent connection is waited for, for ever", Deaf(), (Contract.LIVE,), Faults(silent_restart=0.3)),
    Mutant(
        "a lost write checkpoint is waited for, for ever",
        Patient(),
        (Contract.LIVE,),
        Faults(write_checkpoints_lost=0.4, replication_stall=0.5),
        writes=0.3,
    ),
    Mutant(
        "the service misses that a user's buckets changed",
        Patched(SyncSession, "_note", _forget_lookups),
        (Contract.LIVE, Contract.ATOMIC, Contract.EXACT),
    ),
    Mutant(
        "the service does not tell which buckets are lost",
        Patched(KnownState, "diff_line", _no_removals),
        (Contract.ATOMIC, Contract.LIVE, Contract.EXACT),
    ),
)
