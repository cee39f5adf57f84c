"""The source: can it be reached, and is it set up for replication? Facts: replication reference, 1 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.source_facts import SourceFacts, ask_source
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.errors import ConfigError, SourceError, SyncConfigError
from syncline.replication.postgres.source import PUBLICATION

if TYPE_CHECKING:
    from syncline.replication.inspection import SourceTable
    from syncline.replication.postgres.checks import SetupStep

__all__ = ["publication", "reachable", "replica_identity", "rights", "row_security", "synced_tables", "wal_level"]

HIDDEN = "PSYNC_S1145"
_POOLER = "pooler.supabase.com"
_TABLES_SHOWN_MAX = 10  # tables that one problem names


def reachable(case: Case) -> Verdict:
    """Whether the source answers. What the other checks want to know is asked here."""
    assert case.loaded is not None
    if case.loaded.unset_of_databases:
        return unjudged(f"{', '.join(case.loaded.unset_of_databases)} not set here")
    config = case.loaded.config
    try:
        case.source = ask_source(config)
    except (SourceError, ConfigError) as exc:
        fix = exc.hint or f"Is the server of {config.source.masked} up, and may this machine reach it?"
        if config.source.host.endswith(_POOLER):
            fix += (
                "\nThis is Supabase's pooler, which cannot replicate: connect to db.<project>.supabase.co, port 5432."
            )
        return fault(f"[{exc.error_code}] {exc.message}", fix)
    return healthy()


def wal_level(case: Case) -> Verdict:
    """The settings without which nothing is replicated; what is only better is noted."""
    setup = _facts(case).setup
    notes = [f"{step.problem} {' '.join(step.statements)}" for step in setup.room]
    return _steps(setup.settings, notes)


def rights(case: Case) -> Verdict:
    """Whether the role may replicate and read, and pg_hba.conf lets its replication connection in."""
    assert case.config is not None
    facts = _facts(case)
    missing = [step for step in facts.setup.rights if step.code != HIDDEN and not _is_about_reading(step)]
    if missing:
        return _steps(missing)
    unreadable = [table for table in _concerned(case) if not table.is_readable]
    if unreadable:
        role = case.config.source.user.replace('"', '""')
        grants = "\n".join(f'GRANT SELECT ON {_quoted(table)} TO "{role}";' for table in unreadable)
        return fault(f"The role may not read {_names(unreadable)}.", grants)
    if facts.refusal is not None:
        refusal = facts.refusal
        return fault(f"No replication connection is let in: [{refusal.error_code}] {refusal.message}", refusal.hint)
    return healthy()


def publication(case: Case) -> Verdict:
    """Whether the publication is there, publishes everything, and has the tables of the sync config."""
    assert case.config is not None
    facts = _facts(case)
    on_supabase = case.config.source.host.endswith((".supabase.co", ".supabase.com"))
    hint = "\n-- In the SQL editor of Supabase: it makes no publication of this name by itself." if on_supabase else ""
    if facts.setup.publication:
        verdict = _steps(facts.setup.publication)
        return fault(verdict.problem, verdict.fix + hint)
    left_out = [table for table in synced_tables(case) or () if not table.is_published and not table.is_partitioned]
    if left_out:
        statements = "\n".join(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE {_quoted(table)};" for table in left_out)
        return fault(f"Tables of the sync config are not in the publication: {_names(left_out)}.", statements + hint)
    return healthy()


def row_security(case: Case) -> Verdict:
    """Whether row-level security hides rows from the role: they would never reach a device."""
    steps = [step for step in _facts(case).setup.rights if step.code == HIDDEN]
    hidden = [table for table in _concerned(case) if table.hides_rows]
    if not steps or not hidden:
        return healthy()
    return fault(f"[{HIDDEN}] {steps[0].problem} Tables: {_names(hidden)}.", "\n".join(steps[0].statements))


def replica_identity(case: Case) -> Verdict:
    """Whether updates and deletes say which row they are about; without that Postgres refuses them on published tables."""
    without = [table for table in synced_tables(case) or () if not table.key_columns and not table.is_partitioned]
    if not without:
        return healthy()
    statements = "\n".join(f"ALTER TABLE {_quoted(table)} REPLICA IDENTITY FULL;" for table in without)
    return fault(
        f"Tables without a replica identity: {_names(without)}. Their rows cannot be updated or deleted.",
        f"Add a primary key to each, or:\n{statements}",
    )


def synced_tables(case: Case) -> list[SourceTable] | None:
    """The source's tables that the sync config means; None where there is no config that can be used."""
    from syncline.service.sync_configs import compile_plan

    text = case.sync_config()
    if text is None or case.source is None:
        return None
    try:
        patterns = compile_plan(text).table_patterns
    except SyncConfigError:
        return None  # its own check says so
    return [table for table in case.source.tables if any(p.matches(table.schema, table.name) for p in patterns)]


def _concerned(case: Case) -> list[SourceTable]:
    """The tables of the sync config; without one all that are published. What nobody syncs may be hidden from the role."""
    synced = synced_tables(case)
    return [table for table in _facts(case).tables if table.is_published] if synced is None else synced


def _is_about_reading(step: SetupStep) -> bool:
    return step.statements[0].startswith("GRANT SELECT")


def _facts(case: Case) -> SourceFacts:
    assert case.source is not None, "these checks need the one of the source"
    return case.source


def _steps(steps: Sequence[SetupStep], notes: Sequence[str] = ()) -> Verdict:
    required = [step for step in steps if step.is_required]
    if not required:
        return healthy(*notes)
    fix = "\n".join(statement for step in required for statement in step.statements)
    restart = "\n-- Then restart the server." if any(step.needs_restart for step in required) else ""
    problem = " ".join(f"[{step.code}] {step.problem}" for step in required)
    return fault(problem, f"{fix}{restart}", *notes)


def _names(tables: Sequence[SourceTable]) -> str:
    more = f" and {len(tables) - _TABLES_SHOWN_MAX} more" if len(tables) > _TABLES_SHOWN_MAX else ""
    return ", ".join(f"{table.schema}.{table.name}" for table in tables[:_TABLES_SHOWN_MAX]) + more


def _quoted(table: SourceTable) -> str:
    return f'"{table.schema}"."{table.name}"'
