"""Replication slots: is there room, are ours there and good, and does the service read them? Slots of others are never touched."""

from __future__ import annotations

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.source_facts import Slot, wait_for_readers
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.errors import SourceError
from syncline.storage.model import VersionState

__all__ = ["being_read", "slots"]

FOREIGN_PREFIX = "powersync_"  # how another sync service of this protocol names its slots (replication reference, 2)
LOST = "lost"
READ_WAIT_S = 3.0  # seconds in which a service that was interrupted reads again
_MIB = 1024 * 1024


def slots(case: Case) -> Verdict:
    """A slot that was lost or dropped, or no room for one."""
    assert case.source is not None
    assert case.config is not None
    ours = _ours(case)
    notes = _notes(case)
    names = {slot.name for slot in case.source.slots}
    for name in _stored(case):
        if name not in names:
            return fault(
                f"The replication slot {name}, which storage builds on, is not there: somebody has dropped it.",
                "Start the service, or let it run on: it makes a new slot and copies everything again. Until then it serves what it has.",
                *notes,
            )
    lost = [slot.name for slot in ours if slot.wal_status == LOST]
    if lost:
        return fault(
            f"[PSYNC_S1146] The replication slot {', '.join(lost)} is lost: its log grew beyond max_slot_wal_keep_size.",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';\nSELECT pg_reload_conf();\n"
            "-- Then start the service: it makes a new slot and copies everything again.",
            *notes,
        )
    if not ours and len(case.source.slots) >= case.source.slots_max:
        return fault(
            f"All {case.source.slots_max} replication slots of the source are taken, none of them by this service.",
            f"ALTER SYSTEM SET max_replication_slots = {case.source.slots_max + 10};\n-- Then restart the server;"
            " or drop a slot that nobody needs any more: SELECT pg_drop_replication_slot('…');",
            *notes,
        )
    return healthy(*notes)


def being_read(case: Case) -> Verdict:
    """A slot that nobody streams from, though the service runs: nothing new is replicated.

    While a version is copied, that which it replaces may wait; and a service that connects again is given a moment.
    """
    assert case.config is not None
    states = {report.version.state for report in case.versions or ()}
    current = _stored(case) if VersionState.PROCESSING not in states else []
    try:
        idle = wait_for_readers(case.config, current, READ_WAIT_S) if current else []
    except SourceError as exc:
        return unjudged(f"the source does not answer any more: {exc.message}")
    if idle:
        return fault(
            f"Nobody reads from the replication slot {', '.join(idle)}, though the service runs.",
            "Does a process with the role of the replicator run (start -r unified, or -r sync)? Its log says why it does not stream.",
        )
    return healthy()


def _ours(case: Case) -> list[Slot]:
    assert case.source is not None
    assert case.config is not None
    prefix = case.config.slot_name_prefix
    return [slot for slot in case.source.slots if slot.is_of_this_database and slot.name.startswith(prefix)]


def _stored(case: Case) -> list[str]:
    """The slot of the version that serves. One that is being copied may have none yet: its slot waits for open transactions."""
    reports = case.versions or ()
    return [report.version.slot_name for report in reports if report.version.state is VersionState.ACTIVE]


def _notes(case: Case) -> list[str]:
    """Slots of another sync service, recognised by their names, and slots of others that keep log for nobody."""
    assert case.source is not None
    ours = {slot.name for slot in _ours(case)} | set(_stored(case))
    notes: list[str] = []
    for slot in case.source.slots:
        if slot.name in ours:
            continue
        state = "active" if slot.active else f"idle, and {slot.kept_bytes // _MIB} MiB of log lie there for it"
        if slot.name.startswith(FOREIGN_PREFIX):
            notes.append(f"The slot {slot.name} is another sync service's, {state}. It is left alone.")
        elif not slot.active:
            notes.append(f"The slot {slot.name} of database {slot.database or 'none'} is {state}.")
    return notes
