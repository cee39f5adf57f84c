"""Whether what devices may write agrees with what they are sent: the backend's policies against a compiled sync config.

A device shows its own write at once; what counts is what comes back. A write that the backend refuses, or that no stream brings back,
vanishes from the device at its next checkpoint, with no error in sight. Facts: docs/reference/write-path.md, 7.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncline.backend.ownership import Via
from syncline.backend.policies import TablePolicy

if TYPE_CHECKING:
    from syncline.sync_config import CompiledPlan

__all__ = ["OwnerFilter", "PolicyFinding", "PolicyProblem", "SyncedTable", "check_policies", "synced_tables"]

SUBJECT = "sub"  # the claim that is the user


class PolicyProblem(enum.StrEnum):
    """What does not agree."""

    READ_ONLY_TABLE = (
        "read_only_table"  # synced, but no policy: uploads are refused; right for tables that nobody changes
    )
    READ_ONLY_COLUMN = (
        "read_only_column"  # synced, but not among the policy's columns: a write of it refuses its transaction
    )
    INVISIBLE_TABLE = "invisible_table"  # writable, but in no stream: what is written vanishes from the device
    INVISIBLE_COLUMN = "invisible_column"  # writable, but in no stream's columns: its value vanishes from the device
    OWNER_NOT_INJECTED = "owner_not_injected"  # synced by a claim that the policy does not put into the column


@dataclass(frozen=True, slots=True)
class OwnerFilter:
    """Rows reach the connections whose token has the value of `column` in `claim`; `sub` is the user."""

    column: str
    claim: str


@dataclass(frozen=True, slots=True)
class SyncedTable:
    """What one query of a stream says of one table, as the device names it. `columns` None means all; `source` is the table itself.

    Rows come back by any one of the queries; by this one only where all `owner_filters` are met.
    """

    stream: str
    table: str
    columns: frozenset[str] | None = None
    owner_filters: tuple[OwnerFilter, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One disagreement, and what to do. `column` is empty where the whole table is meant."""

    problem: PolicyProblem
    table: str
    column: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.table}: {self.message}\n    hint: {self.hint}"


def check_policies(policies: Mapping[str, TablePolicy], synced: Iterable[SyncedTable]) -> tuple[PolicyFinding, ...]:
    """Compare the tables of `SyncBackend(tables=…)` with what is synced: `synced_tables(plan)`. Each finding comes once."""
    by_table: dict[str, list[SyncedTable]] = {}
    for entry in synced:
        by_table.setdefault(entry.table, []).append(entry)
    found: dict[PolicyFinding, None] = {}
    for table, entries in by_table.items():
        policy = policies.get(table)
        findings = [_read_only(table, entries)] if policy is None else _of_table(table, policy, entries)
        found.update(dict.fromkeys(findings))
    for table in policies:
        if table not in by_table:
            found[_invisible(table)] = None
    return tuple(found)


def synced_tables(plan: CompiledPlan) -> tuple[SyncedTable, ...]:
    """What a compiled sync config (`syncline.sync_config.compile_sync_config`) says of each table, once for every query."""
    # Here, because only who has a plan has the libraries that these need.
    from syncline.sync_config.advice import owner_columns
    from syncline.sync_config.compiler.expressions import ColumnValue

    filters: dict[tuple[str, object], list[OwnerFilter]] = {}
    for owner in owner_columns(plan):
        filters.setdefault((owner.stream, owner.table), []).append(OwnerFilter(owner.column, owner.parameter))
    found: dict[SyncedTable, None] = {}
    for stream, _, query in plan.stream_queries():
        name, pattern = stream.definition.name, query.table.pattern
        keys = {key.name for key in query.keys if isinstance(key, ColumnValue) and key.source == 0}
        owners = tuple(owner for owner in filters.get((name, pattern), ()) if owner.column in keys)
        found[SyncedTable(name, query.device_table, query.column_names, owners, pattern.name)] = None
    return tuple(found)


def _of_table(table: str, policy: TablePolicy, entries: Sequence[SyncedTable]) -> Iterator[PolicyFinding]:
    readable = None if any(entry.columns is None for entry in entries) else _union(entries)
    if policy.columns is not None and readable is not None:
        writable = {*policy.columns, "id"}
        for column in sorted(readable - writable - {*policy.kept_columns}):
            yield _read_only_column(table, column)
        for column in sorted(writable - readable - {"id"}):
            yield _invisible_column(table, column)
    filled = dict(policy.tenants)
    if isinstance(policy.owner, str):
        filled[policy.owner] = SUBJECT
    missing = [
        [(entry, owner) for owner in entry.owner_filters if filled.get(owner.column) != owner.claim]
        for entry in entries
        if entry.owner_filters
    ]
    if all(missing):  # else a row comes back to its writer by one way, and need not by the others
        for entry, owner in (pair for pairs in missing for pair in pairs):
            yield _not_injected(table, policy, entry, owner)


def _union(entries: Sequence[SyncedTable]) -> set[str]:
    return {column for entry in entries for column in entry.columns or ()}


def _read_only(table: str, entries: Sequence[SyncedTable]) -> PolicyFinding:
    return PolicyFinding(
        PolicyProblem.READ_ONLY_TABLE,
        table,
        "",
        f'stream "{entries[0].stream}" syncs it, but it has no policy: every upload to it is refused',
        f'tables={{"{table}": TablePolicy(…)}}; or keep devices from writing it.',
    )


def _read_only_column(table: str, column: str) -> PolicyFinding:
    return PolicyFinding(
        PolicyProblem.READ_ONLY_COLUMN,
        table,
        column,
        f"{column} is synced, but a device may not write it: a transaction that changes it is refused as a whole",
        "Add it to the policy's columns, or keep devices from writing it (a PUT has every column that is not NULL).",
    )


def _invisible(table: str) -> PolicyFinding:
    return PolicyFinding(
        PolicyProblem.INVISIBLE_TABLE,
        table,
        "",
        "devices may write it, but no stream syncs it: a row vanishes from the device once it is uploaded",
        "Add it to a stream; for a table that is only written, declare it insert-only on the device.",
    )


def _invisible_column(table: str, column: str) -> PolicyFinding:
    return PolicyFinding(
        PolicyProblem.INVISIBLE_COLUMN,
        table,
        column,
        f"devices may write {column}, but no stream syncs it: its value vanishes from the device once it is uploaded",
        "Select it in the stream, or take it out of the policy's columns.",
    )


def _not_injected(table: str, policy: TablePolicy, entry: SyncedTable, owner: OwnerFilter) -> PolicyFinding:
    option = f'owner="{owner.column}"' if owner.claim == SUBJECT else f'tenants={{"{owner.column}": "{owner.claim}"}}'
    also = " besides the parent table" if isinstance(policy.owner, Via) else ""
    return PolicyFinding(
        PolicyProblem.OWNER_NOT_INJECTED,
        table,
        owner.column,
        f'stream "{entry.stream}" syncs rows by {owner.column} = the token\'s {owner.claim}, but the policy does not fill'
        f" {owner.column}: a row without it vanishes from the device, and a row with another's shows up there",
        f"TablePolicy({option}){also}",
    )
