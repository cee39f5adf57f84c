"""Advice on tables that have no owner column of their own (`syncline.sync_config.advice`), as findings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncline.cli.schema_check.findings import Finding, Rule, Severity
from syncline.sync_config.advice import AdviceKind, advise, owner_columns

if TYPE_CHECKING:
    from syncline.sync_config import CompiledPlan

__all__ = ["owner_findings"]


def owner_findings(plan: CompiledPlan) -> tuple[Finding, ...]:
    """Tables whose rows reach their users only through other tables: an owner column on each syncs with less work."""
    # All tables count as written, and all owners as filled: what the backend does is asked by `check policies`.
    injected = {pattern.name: set[str]() for pattern in plan.table_patterns}
    for owner in owner_columns(plan):
        injected.setdefault(owner.table.name, set()).add(owner.column)
    return tuple(
        Finding(Rule.NO_OWNER_COLUMN, Severity.ADVICE, found.table.name, "", f"{found.message}.", found.hint)
        for found in advise(plan, injected)
        if found.kind is AdviceKind.NO_OWNER_COLUMN
    )
