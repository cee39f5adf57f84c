"""The rules about what may be written: a backend's policies against the sync config. Pure.

The comparison itself is `syncline.backend.policy_check`; here its results become findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncline.backend.policy_check import PolicyProblem, check_policies, synced_tables
from syncline.cli.schema_check.findings import Finding, Rule, Severity

if TYPE_CHECKING:
    from syncline.backend.policies import TablePolicy
    from syncline.sync_config import CompiledPlan

__all__ = ["policy_findings"]

_RULES = {
    PolicyProblem.READ_ONLY_TABLE: (Rule.READ_ONLY_TABLE, Severity.ADVICE),  # right for tables that nobody changes
    PolicyProblem.READ_ONLY_COLUMN: (Rule.READ_ONLY_COLUMN, Severity.ADVICE),
    PolicyProblem.INVISIBLE_TABLE: (Rule.INVISIBLE_TABLE, Severity.DRIFT),
    PolicyProblem.INVISIBLE_COLUMN: (Rule.INVISIBLE_COLUMN, Severity.DRIFT),
    PolicyProblem.OWNER_NOT_INJECTED: (Rule.OWNER_NOT_INJECTED, Severity.DRIFT),
}


def policy_findings(plan: CompiledPlan, policies: Mapping[str, TablePolicy]) -> tuple[Finding, ...]:
    """Where a backend's policies and a sync config do not agree: writes that would vanish from the device, or be refused."""
    return tuple(
        Finding(*_RULES[found.problem], found.table, found.column, f"{found.message}.", found.hint)
        for found in check_policies(policies, synced_tables(plan))
    )
