"""Whether the service runs and is ready, and what it says of its replication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from syncline.cli.admin_client import AdminClient
from syncline.cli.doctor.case import Case
from syncline.cli.doctor.clocks import ahead_of_us_s
from syncline.cli.doctor.http import Answer, NoAnswer, ask
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import AdminAddress

__all__ = ["admin_api", "first_copy", "reachable", "ready", "reported"]

PROBE_TIMEOUT_S = 10.0  # seconds for a probe
STARTUP, READINESS, LIVENESS = "/probes/startup", "/probes/readiness", "/probes/liveness"


def reachable(case: Case) -> Verdict:
    """Whether a sync service answers at the address."""
    if not case.service_url:
        return unjudged("nothing names the service: --api-url does, or cli.yaml")
    try:
        answer = ask("GET", f"{case.service_url}{LIVENESS}", timeout_s=PROBE_TIMEOUT_S)
        case.service_clock_s = ahead_of_us_s(answer)
        if answer.status == 404:  # the probes may be switched off
            answer = ask("POST", f"{case.service_url}/sync/stream", body=b"{}", timeout_s=PROBE_TIMEOUT_S)
            if not answer.error[0].startswith("PSYNC_"):
                return fault(
                    f"{case.service_url} answers, and is no sync service: HTTP {answer.status}.",
                    "Is this the address of the app's backend? --api-url is that of the sync service, which has /sync/stream.",
                )
    except NoAnswer as exc:
        return fault(
            f"The service at {case.service_url} cannot be reached: {exc}.",
            f"Start it: syncline start -c {case.config_path}\nOr name its address with --api-url; does `port` of the"
            " configuration match, and does `host` let others in than this machine?",
        )
    return healthy()


def ready(case: Case) -> Verdict:
    """What the probes say: whether the source has been reached, streams are served, and replication lives."""
    try:
        answers = {path: _probe(case, path) for path in (STARTUP, READINESS, LIVENESS)}
    except NoAnswer as exc:
        return fault(f"A probe has no answer: {exc}.", "Look at the service's log.")
    if any(answer.status == 404 for answer in answers.values()):
        return unjudged("the service has no HTTP probes (healthcheck.probes.use_http)")
    if answers[STARTUP].status != 200:
        return fault(
            "The service has not reached its source since it was started.", "Its log says why; so may `status`."
        )
    if answers[READINESS].status != 200:
        return fault(
            "The service serves no streams yet: no sync config is active.",
            "Wait for the first copy of the tables: syncline status. Where no config was deployed: syncline deploy",
        )
    if answers[LIVENESS].status != 200:
        return fault(
            "The service's replication shows no sign of life.", "Its log says where it stands; restart it if it hangs."
        )
    return healthy()


def admin_api(case: Case) -> Verdict:
    """Whether the admin API lets us in; the next checks ask it."""
    token = case.admin.token if case.admin else _configured_token(case)
    if not token:
        return unjudged("no token for the admin API is known: set PS_ADMIN_TOKEN to one of the service's api.tokens")
    origin = case.admin.token_from if case.admin else str(case.config_path)
    try:
        case.diagnostics = AdminClient(AdminAddress(case.service_url, token, "--api-url", origin)).diagnostics()
    except CommandFailed as exc:
        return fault(exc.message, exc.hint or "Look at the service's log.")
    return healthy()


def first_copy(case: Case) -> Verdict:
    """Whether a version serves: while the first copy runs, devices wait."""
    assert case.diagnostics is not None
    if case.diagnostics.get("active_sync_rules"):
        return healthy(*_copying(case))
    if case.diagnostics.get("deploying_sync_rules"):
        told = " ".join(_copying(case)) or "No table is copied yet."
        return fault(f"The first copy of the tables is not done. {told}", "Wait: syncline status shows how far it is.")
    return fault("No sync config is deployed.", "Name one in service.yaml (sync_config.path), or: syncline deploy")


def reported(case: Case) -> Verdict:
    """What the service itself holds for wrong; warnings are notes."""
    assert case.diagnostics is not None
    fatal: list[str] = []
    warnings: list[str] = []
    states = [case.diagnostics.get(key) for key in ("active_sync_rules", "deploying_sync_rules")]
    for part in [*_objects(case.diagnostics, "connections"), *states]:
        for error in _objects(part, "errors"):
            (fatal if error.get("level") == "fatal" else warnings).append(str(error.get("message", "")))
    warnings = list(dict.fromkeys(warnings))
    if fatal:
        return fault("\n".join(dict.fromkeys(fatal)), "See syncline status, and the service's log.", *warnings)
    return healthy(*warnings)


def _probe(case: Case, path: str) -> Answer:
    return ask("GET", f"{case.service_url}{path}", timeout_s=PROBE_TIMEOUT_S)


def _configured_token(case: Case) -> str:
    """A token of the configuration: who may read the file may use it. Not one that stands in for a variable."""
    if case.loaded is None or case.loaded.unset:
        return ""
    tokens: Sequence[str] = case.loaded.config.settings.api.tokens
    return tokens[0] if tokens else ""


def _copying(case: Case) -> list[str]:
    """How far the copy of each table is that is being copied."""
    assert case.diagnostics is not None
    tables = [
        table
        for connection in _objects(case.diagnostics.get("deploying_sync_rules"), "connections")
        for table in _objects(connection, "tables")
    ]
    copies = [(table, cast("dict[str, Any]", table["snapshot"])) for table in tables if table.get("snapshot")]
    return [f"{table['schema']}.{table['name']}: {copy.get('share', 0):.0%} copied." for table, copy in copies]


def _objects(state: object, key: str) -> list[dict[str, Any]]:
    found: object = cast("dict[str, Any]", state).get(key) if isinstance(state, dict) else None
    return cast("list[dict[str, Any]]", found) if isinstance(found, list) else []
