"""`syncline check schema` and `syncline check policies`: whether device, sync config, source and backend agree, for CI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.options import SYNC_CONFIG
from syncline.cli.output import OUTPUT, Output, write_result
from syncline.cli.project import API_URL, DIRECTORY, AdminAddress, admin_address

if TYPE_CHECKING:
    from syncline.cli.schema_check.findings import Finding
    from syncline.cli.schema_check.report import SchemaReport

__all__ = ["check_policies", "check_schema"]


ALLOW: list[str] = typer.Option(
    [], "--allow", help="What is meant: TABLE, TABLE.COLUMN, RULE, or RULE:TABLE.COLUMN. Repeat it for more."
)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The sync config that is compared, and what passes."""

    sync_config: Path | None = SYNC_CONFIG
    allow: list[str] = ALLOW
    strict: bool = typer.Option(False, "--strict", help="Advice fails the check too.")
    directory: str = DIRECTORY
    api_url: str | None = API_URL

    def config_text(self, *, with_api_url: bool = True) -> str:
        """The file that is named, or the project's, or what the running service has. Raises CommandFailed."""
        from syncline.cli.project import SYNC_CONFIG_FILE
        from syncline.cli.schema_sources import service_sync_config, sync_config_of

        path = self.sync_config
        text = sync_config_of(path or Path(self.directory) / SYNC_CONFIG_FILE, is_required=path is not None)
        if text is not None:
            return text
        return service_sync_config(admin_address(self.directory, self.api_url if with_api_url else None))

    def report(self, *findings: Finding, notes: Sequence[str] = ()) -> SchemaReport:
        """The report over what was found, without what is allowed."""
        from syncline.cli.schema_check.allowing import allow
        from syncline.cli.schema_check.report import SchemaReport

        return SchemaReport(allow(findings, self.allow), tuple(notes), self.strict)


@spread_options
def check_schema(
    client: str = typer.Option(..., "--client", help="app.schema:SCHEMA, a schema as JSON, or a device's database."),
    source: str | None = typer.Option(
        None, "--source", "--source-uri", help="Ask this Postgres for its columns, no service."
    ),
    offline: bool = typer.Option(False, "--offline", help="Ask nobody: types and the source's rules are left out."),
    *,
    options: CheckOptions,
    output: Output = OUTPUT,
) -> None:
    """Compare the device's schema, the sync config and the source: tables, columns, types, NULL, ids, unique indexes.

    Ends with 1 where they do not agree.
    """
    with failures_told(), extra_needed("service"):
        if offline and source:
            raise CommandFailed("--offline and --source exclude each other.", exit_code=EXIT_USAGE)
        report = _schema_report(client, source, offline, options)
        write_result(report.as_value(), output, lambda: report.as_text("Device, sync config and source"))
    raise typer.Exit(EXIT_OK if report.passed else EXIT_FAILED)


@spread_options
def check_policies(
    backend: str = typer.Option(..., "--backend", help="The SyncBackend of the app: app.main:backend."),
    *,
    options: CheckOptions,
    output: Output = OUTPUT,
) -> None:
    """Compare a backend's policies with the sync config: owners that it does not fill, writes that would vanish.

    Ends with 1 where they do not agree.
    """
    with failures_told(), extra_needed("backend", "service"):
        from syncline.backend.core import SyncBackend
        from syncline.cli.schema_check.owner_rules import owner_findings
        from syncline.cli.schema_check.policy_rules import policy_findings
        from syncline.cli.schema_check_inputs.imported import imported
        from syncline.service.sync_configs import compile_plan

        plan = compile_plan(options.config_text())
        found = imported(backend, SyncBackend, option="--backend")
        report = options.report(*policy_findings(plan, found.policies), *owner_findings(plan))
        write_result(report.as_value(), output, lambda: report.as_text("Backend and sync config"))
    raise typer.Exit(EXIT_OK if report.passed else EXIT_FAILED)


def _schema_report(client: str, source: str | None, offline: bool, options: CheckOptions) -> SchemaReport:
    from syncline.cli.schema_check.alignment import Alignment
    from syncline.cli.schema_check.owner_rules import owner_findings
    from syncline.cli.schema_check.rules import schema_findings
    from syncline.cli.schema_check_inputs.device_tables import device_tables
    from syncline.cli.schema_check_inputs.source_demands import demands_of_service, demands_of_source
    from syncline.cli.schema_check_inputs.synced_queries import synced_queries
    from syncline.cli.schema_generation.tables import client_tables
    from syncline.cli.schema_sources import ask_service, ask_source
    from syncline.service.sync_configs import compile_plan

    device = device_tables(client)
    text = options.config_text(with_api_url=not (offline or source))
    plan = compile_plan(text)
    notes: list[str] = []
    columns = demands = None
    if offline:
        notes.append("The source was not asked: types, NULL, ids and unique indexes were not compared.")
    elif source:
        columns, demands = ask_source(source), demands_of_source(source)
    else:
        address: AdminAddress = admin_address(options.directory, options.api_url)
        columns = ask_service(address)
        demands, reason = demands_of_service(address)
        if demands is None:
            notes.append(f"NULL and unique indexes were not compared: {reason} (or give --source).")
    synced = client_tables(text, columns)
    notes += synced.notes
    alignment = Alignment(device, synced.tables, synced_queries(plan), columns, demands)
    return options.report(*schema_findings(alignment), *owner_findings(plan), notes=notes)
