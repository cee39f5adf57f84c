"""Whether the sync config can be used, and its tables are there."""

from __future__ import annotations

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.cli.validation.results import placed
from syncline.errors import ConfigError, SyncConfigError

__all__ = ["sync_config"]


def sync_config(case: Case) -> Verdict:
    """Compile it against the source's tables, where these are known. Tables that are not there are faults: they send nothing."""
    from syncline.service.sync_configs import compile_plan
    from syncline.sync_config.schema import SourceSchema

    if case.config is not None and case.config.has_sync_config:
        try:
            case.config.sync_config_text()
        except ConfigError as exc:
            return fault(exc.message, exc.hint)
    text = case.sync_config()
    if text is None:
        return unjudged("no file names a sync config: it is deployed through the service's API, or missing")
    schema = None
    if case.source is not None:
        tables = case.source.tables
        schema = SourceSchema({(t.schema, t.name): frozenset(column.name for column in t.columns) for t in tables})
    try:
        plan = compile_plan(text, schema)
    except SyncConfigError as exc:
        found = "\n".join(placed(problem.message, text, problem.start_offset) for problem in exc.problems)
        return fault(found, "Mend the sync config, then: syncline validate")
    warnings = [placed(problem.message, text, problem.start_offset) for problem in plan.warnings]
    if schema is not None:
        missing = [p for p in plan.table_patterns if schema.columns_of(p) is None and not p.name.endswith("%")]
        if missing:
            names = ", ".join(f"{pattern.schema}.{pattern.name}" for pattern in missing)
            return fault(
                f"The sync config reads tables that the source does not have: {names}.",
                "Create them, or mend their names; a table of another schema is written schema.table.",
                *warnings,
            )
    return healthy(*warnings)
