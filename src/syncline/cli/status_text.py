"""The answer of `diagnostics` as lines for people (the order of sections and keys: command line reference, 4)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

__all__ = ["status_text"]

NO_VALUE = "—"


def status_text(answer: dict[str, Any]) -> str:
    """All sections; those of sync configs only where there is one."""
    lines = ["═══ Connections ═══", *_connections(answer.get("connections", []))]
    for key, title in (("active_sync_rules", "Active"), ("deploying_sync_rules", "Deploying")):
        if key in answer:
            lines += ["", f"═══ {title} Sync Config ═══", *_sync_config(answer[key])]
    return "\n".join(lines)


def _connections(connections: Iterable[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for connection in connections:
        lines.append(f"• {connection.get('id', NO_VALUE)}")
        if "postgres_uri" in connection:
            lines.append(f"  Postgres URI: {connection['postgres_uri']}")
        lines.append(f"  Status: {'connected' if connection.get('connected') else 'disconnected'}")
        lines += [f"  {_error(error)}" for error in connection.get("errors", [])]
    return lines


def _sync_config(status: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if status.get("errors"):
        lines += ["Errors:", *(f"  {_error(error)}" for error in status["errors"]), ""]
    if status.get("connections"):
        lines.append("Connections:")
        for connection in status["connections"]:
            lines += _replication(connection)
    if "content" in status:
        lines += ["Content:", *(f"  {line}".rstrip() for line in status["content"].splitlines())]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _replication(connection: dict[str, Any]) -> list[str]:
    slot = f" (slot: {connection['slot_name']})" if connection.get("slot_name") else ""
    lines = [f"  • {connection.get('id', NO_VALUE)}{slot}"]
    lines.append(f"    Initial replication done: {str(bool(connection.get('initial_replication_done'))).lower()}")
    if connection.get("last_lsn"):
        lines.append(f"    Last LSN: {connection['last_lsn']}")
    for key, title in (("last_keepalive_ts", "Last keepalive"), ("last_checkpoint_ts", "Last checkpoint")):
        if connection.get(key):
            lines.append(f"    {title}: {_time(connection[key])}")
    if connection.get("replication_lag_bytes") is not None:
        lines.append(f"    Replication lag: {connection['replication_lag_bytes']} bytes")
    if connection.get("wal_status") not in (None, "reserved"):
        lines.append(f"    WAL status: {connection['wal_status']}")
    if connection.get("tables"):
        lines.append("    Tables:")
        for table in connection["tables"]:
            lines += _table(table)
    return lines


def _table(table: dict[str, Any]) -> list[str]:
    keys = ", ".join(table.get("replication_id", [])) or NO_VALUE
    used = bool(table.get("data_queries") or table.get("parameter_queries"))
    lines = [
        f"      - {table.get('schema')}.{table.get('name')} (replication_id: {keys})",
        f"        used_for_replication: {'yes' if used else 'no'}",
    ]
    return [*lines, *(f"      {_error(error)}" for error in table["errors"])] if table.get("errors") else [*lines, ""]


def _error(error: dict[str, Any]) -> str:
    at = f" ({_time(error['ts'])})" if error.get("ts") else ""
    return f"• [{error.get('level', 'fatal')}] {error.get('message', '')}{at}"


def _time(text: str) -> str:
    """A time as the API writes it, and by this machine's clock."""
    try:
        local = datetime.fromisoformat(text).astimezone()
    except ValueError:
        return text
    return f"{text} ({local:%Y-%m-%d %H:%M:%S})"
