"""Every operation can be reached from the command line and from a program: a route of the service, or a function."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from syncline.cli.main import COMMANDS, TABLE

ROOT = Path(__file__).parents[2]
SERVICE = json.loads((ROOT / "docs/reference/openapi.json").read_text("utf-8"))["paths"]
BACKEND = json.loads((ROOT / "docs/reference/write-api.openapi.json").read_text("utf-8"))["paths"]
ADMIN, RULES = "/api/admin/v1", "/api/sync-rules/v1"

OPERATIONS: dict[str, tuple[str, str]] = {
    # what an operator or developer does: (the command, the route or the function "module:name")
    "run the service": ("start", "syncline.service.embedding:SyncService"),
    "test source and storage": ("test-connection", "syncline.service.commands.check_connection:check_connection"),
    "migrate storage": ("migrate", "syncline.service.commands.migrate:migrate"),
    "compact storage": ("compact", "syncline.service.commands.compact:compact"),
    "remove storage and slots": ("teardown", "syncline.service.commands.teardown:teardown"),
    "show how replication stands": ("status", f"{ADMIN}/diagnostics"),
    "check a sync config": ("validate", f"{ADMIN}/validate"),
    "check a service's configuration": ("validate", "syncline.service.config:load_config"),
    "deploy a sync config": ("deploy", f"{RULES}/deploy"),
    "describe a sync config": ("deploy", f"{RULES}/validate"),
    "fetch the sync config": ("pull", f"{RULES}/current"),
    "copy everything again": ("reprocess", f"{RULES}/reprocess"),
    "copy everything again, by connection": ("reprocess", f"{ADMIN}/reprocess"),
    "list the source's tables": ("generate schema", f"{ADMIN}/schema"),
    "run SQL on the source": ("source sql", f"{ADMIN}/execute-sql"),
    "end a user's streams": ("users revoke", f"{ADMIN}/revoke"),
    "show who is connected": ("users connections", f"{ADMIN}/connections"),
    "show what a source lacks": ("source setup", "syncline.replication.postgres.checks:setup_sql"),
    "show the configuration in effect": ("fetch config", "syncline.service.config:load_config"),
    "sign a token": ("generate token", "syncline.auth.signer:TokenSigner"),
    "check a device's schema": ("check schema", "syncline.cli.schema_check.rules:schema_findings"),
    "check a backend's policies": ("check policies", "syncline.backend.policy_check:check_policies"),
    "list refused writes": ("dead-letters list", "/api/dead-letters"),
    "show a refused write": ("dead-letters show", "/api/dead-letters/{id}"),
    "apply a refused write again": ("dead-letters retry", "/api/dead-letters/{id}/retry"),
    "give a refused write up": ("dead-letters discard", "/api/dead-letters/{id}/discard"),
    "show how values become values of Postgres": ("backend types", "syncline.backend.type_table:format_type_table"),
    "print the write API": ("openapi", "syncline.backend.http.openapi:openapi_text"),
    "list a device's queue": ("queue ls", "syncline.client.upload_queue:UploadQueue"),
    "show a queued write": ("queue show", "syncline.client.upload_queue:UploadQueue"),
    "queue a device's refused write again": ("queue retry", "syncline.client.dead_letters:DeadLetters"),
    "give a queued write up": ("queue discard", "syncline.client.upload_queue:UploadQueue"),
    "summarise what a device has": ("inspect", "syncline.cli.device_file.summary:summary_of"),
    "list a user's buckets": ("buckets", "/sync/stream"),
    "watch a user's operations": ("tail", "/sync/stream"),
    "find out why nothing syncs": ("doctor", "syncline.cli.doctor.case:examine"),
    "explain a row": ("explain row", "syncline.sync_config.explain:explain_row"),
    "explain a user": ("explain user", "syncline.sync_config.explain:explain_connection"),
    "explain a stream": ("explain stream", "syncline.sync_config.explain:explain_connection"),
    "show who sees a row": ("who", "syncline.sync_config.explain:explain_visibility"),
    "rewrite sync rules as streams": ("migrate sync-rules", "syncline.sync_config.migration:migrate_to_streams"),
}
OF_CLIENTS = {
    "/sync/stream",
    "/write-checkpoint2.json",
    "/write-checkpoint.json",
    "/sync/checkpoint-request",
    "/openapi.json",
}
ABOUT_FILES = {  # of a person's own machine: there is nothing to call
    "init", "init self-hosted", "link self-hosted", "fetch instances", "fetch status", "configure ide", "login", "logout", "demo",
    "docker configure", "docker start", "docker stop", "docker reset", "deploy sync-config", "pull instance", "token decode",
    "dlq ls", "dlq show", "dlq retry", "dlq discard", "skill install",
}  # fmt: skip
FAMILIES = {"keys"}  # whose functions are a folder's methods


@pytest.mark.requirement(260)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_has_a_command_and_a_route_or_function(operation: str) -> None:
    words, target = OPERATIONS[operation]
    assert TABLE.command(words) is not None
    if target.startswith("/"):
        assert target in SERVICE | BACKEND
    else:
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.requirement(260)
def test_no_route_and_no_command_is_forgotten() -> None:
    reached = {target for _, target in OPERATIONS.values()}
    probes = {path for path in SERVICE if path.startswith("/probes/")}
    assert set(SERVICE) - reached - OF_CLIENTS - probes == set()
    told = {words for words, _ in OPERATIONS.values()} | ABOUT_FILES
    shown = {command.words for command in COMMANDS if not command.hidden and command.words.split()[0] not in FAMILIES}
    assert shown - told == set()
