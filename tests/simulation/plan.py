"""What one run of the simulation will be like: drawn from its seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace

__all__ = ["Faults", "Plan"]

SLOW_SHARE = 0.06  # of the runs are long and quiet
SLOWER = 8.0  # times, than the others
ENABLED_SHARE = 0.4  # of the runs have a given kind of fault: runs with few kinds find what many would hide


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong: probabilities per message or per second, 0 for never."""

    # of each message
    request_lost: float = 0.0
    answer_lost: float = 0.0
    upload_repeated: float = 0.0
    refused: float = 0.0  # 401, 502 (HTML) or 503 in the place of an answer
    cut_at_line: float = 0.0
    line_corrupted: float = 0.0
    line_duplicated: float = 0.0
    line_lost: float = 0.0
    # of each second, per device
    cut: float = 0.0
    stall: float = 0.0
    offline: float = 0.0
    crash: float = 0.0  # at any moment
    crash_at_step: float = 0.0  # inside of a call to the database, at any statement
    # of each of an app's actions
    disconnect: float = 0.0
    cleared: float = 0.0  # disconnect_and_clear
    # of each death
    restored: float = 0.0  # comes back with a file from a backup
    # of each second, in the service
    restart: float = 0.0
    silent_restart: float = 0.0
    redeploy: float = 0.0
    write_checkpoints_lost: float = 0.0
    compaction: float = 0.0
    replication_stall: float = 0.0
    tokens_revoked: float = 0.0
    backend_busy: float = 0.0


_MOST = Faults(
    request_lost=0.05,
    answer_lost=0.08,
    upload_repeated=0.2,
    refused=0.08,
    cut_at_line=0.03,
    line_corrupted=0.05,
    line_duplicated=0.05,
    line_lost=0.05,
    cut=0.25,
    stall=0.1,
    offline=0.15,
    crash=0.15,
    crash_at_step=0.4,
    disconnect=0.06,
    cleared=0.06,
    restored=0.4,
    restart=0.1,
    silent_restart=0.08,
    redeploy=0.1,
    write_checkpoints_lost=0.08,
    compaction=0.5,
    replication_stall=0.15,
    tokens_revoked=0.1,
    backend_busy=0.2,
)


_PER_SECOND = (
    "cut",
    "stall",
    "offline",
    "crash",
    "crash_at_step",
    "restart",
    "silent_restart",
    "redeploy",
    "write_checkpoints_lost",
    "compaction",
    "replication_stall",
    "tokens_revoked",
    "backend_busy",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Times in virtual seconds."""

    seed: int
    devices: int = 2
    users: int = 1
    active_s: float = 15.0  # the time in which things happen and go wrong
    latency_s: float = 0.02  # the most that one message takes
    writes: float = 0.7  # local transactions of a device per second
    source_writes: float = 0.7  # transactions by others per second
    refusals: float = 0.0  # share of local transactions that the backend refuses for good
    batch: int = 50  # transactions in one upload
    token_lifetime_s: float = 3600.0
    faults: Faults = field(default_factory=Faults)

    @classmethod
    def of_seed(cls, seed: int) -> Plan:
        """Draw a plan."""
        draw = random.Random(f"{seed} plan")
        chosen = {
            spec.name: getattr(_MOST, spec.name) * draw.uniform(0.2, 1.0)
            for spec in fields(Faults)
            if draw.random() < ENABLED_SHARE
        }
        plan = cls(
            seed=seed,
            devices=draw.choice([2, 2, 2, 3, 4]),
            users=draw.choice([1, 2, 2]),
            active_s=draw.uniform(2.0, 7.0),
            latency_s=draw.choice([0.0, 0.02, 0.2, 1.0]),
            writes=draw.uniform(0.3, 2.5),
            source_writes=draw.uniform(0.3, 2.5),
            refusals=draw.choice([0.0, 0.0, 0.15]),
            batch=draw.choice([1, 3, 50]),
            faults=Faults(**chosen),
        )
        return plan._slowed(draw) if draw.random() < SLOW_SHARE else plan

    def _slowed(self, draw: random.Random) -> Plan:
        """A quiet minute or two, in which tokens expire, keepalives come and time-outs run out."""
        rates = {name: getattr(self.faults, name) / SLOWER for name in _PER_SECOND}
        return replace(
            self,
            devices=2,
            active_s=draw.uniform(40.0, 100.0),
            writes=self.writes / SLOWER,
            source_writes=self.source_writes / SLOWER,
            token_lifetime_s=draw.choice([35.0, 45.0, 60.0, 3600.0]),
            faults=replace(self.faults, **rates),
        )
