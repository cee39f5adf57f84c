"""Revoking a user now: open streams end, new ones are refused until a time, in all processes and over restarts.

Also keeps the reports of connections: both are what this process tells storage of its streams, and hears of the others'.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from syncline.api.admin.bodies import text_field
from syncline.api.admin.status import iso_time
from syncline.api.stream_registry import OpenStream, StreamRegistry
from syncline.auth.revocation import RevocationList
from syncline.errors import RequestInvalid, SynclineError
from syncline.storage.base import StorageControl
from syncline.storage.control_model import MS_PER_DAY, ConnectionReport

__all__ = ["REVOCATION_DAYS_MAX", "UserControl", "revocation_of"]

log = logging.getLogger(__name__)

KEEP_INTERVAL_S = 2.0  # seconds until another process hears of a revocation, and between two writings of reports
EXPIRY_INTERVAL_S = 3600.0  # seconds between two looks for reports that are too old
REPORTS_KEPT_DAYS = 90  # days that reports of connections are kept
REVOCATION_DEFAULT_S = (
    86_400 + 60
)  # seconds: no token that was valid now is valid any more then (lifetime and clock tolerance)
REVOCATION_DAYS_MAX = 3650
STREAMS_SHOWN_MAX = 1000  # open streams that one answer lists


def revocation_of(fields: dict[str, Any], *, now_s: float) -> tuple[str, int]:
    """User and time (ms since 1970) of a request: `until` is an ISO time or seconds since 1970. Raises RequestInvalid."""
    user_id = text_field(fields, "user_id")
    until = fields.get("until")
    if until is None:
        until_s = now_s + REVOCATION_DEFAULT_S
    elif isinstance(until, (int, float)) and not isinstance(until, bool) and abs(until) < 2**53:
        until_s = float(until)
    elif isinstance(until, str):
        try:
            moment = datetime.fromisoformat(until)
        except ValueError as exc:
            raise RequestInvalid(["until must be an ISO time, or seconds since 1970"]) from exc
        if moment.tzinfo is None:
            raise RequestInvalid(["until must name its time zone, such as 2026-01-31T12:00:00Z"])
        until_s = moment.timestamp()
    else:
        raise RequestInvalid(["until must be an ISO time, or seconds since 1970"])
    if not 0 <= until_s <= now_s + REVOCATION_DAYS_MAX * 86_400:
        raise RequestInvalid([f"until must be at most {REVOCATION_DAYS_MAX} days from now"])
    return user_id, int(until_s * 1000)


class UserControl:
    """Revokes users and keeps reports. `run` follows what other processes revoke."""

    def __init__(
        self,
        control: StorageControl,
        registry: StreamRegistry,
        revocations: RevocationList,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._registry = registry
        self._revocations = revocations
        self._clock = clock
        self._known: dict[str, int] = {}

    async def revoke(self, fields: dict[str, Any]) -> dict[str, Any]:
        """End a user's streams and refuse new ones; what was done. Raises RequestInvalid."""
        user_id, until_ms = revocation_of(fields, now_s=self._clock())
        await self._control.revoke(user_id, until_ms=until_ms)
        ended = self._apply(user_id, until_ms)
        # Whom it is about is said in no log: ids of users may be personal data.
        log.warning("A user was revoked; %d streams end", ended, extra={"event": "admin.revoked", "streams": ended})
        return {"user_id": user_id, "until": iso_time(until_ms), "streams_ended": ended}

    async def connections(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Open streams of this process, and reports by day of all. Raises RequestInvalid."""
        user_id = text_field(fields, "user_id") if fields.get("user_id") is not None else None
        await self._store_reports()
        reports = await self._control.connection_reports(user_id=user_id)
        streams = self._registry.streams(user_id)[:STREAMS_SHOWN_MAX]
        return {
            "open": [_shown_stream(stream) for stream in streams],
            "days": [_shown_report(report) for report in reports],
        }

    async def begin(self) -> None:
        """Hear of what is revoked, before the first request is answered."""
        await self._follow()

    async def run(self) -> None:
        """Follow revocations and store reports, until cancelled. What cannot be stored waits."""
        expired_s = 0.0
        while True:
            try:
                await self._follow()
                await self._store_reports()
                if self._clock() - expired_s >= EXPIRY_INTERVAL_S:
                    expired_s = self._clock()
                    before_ms = int(expired_s * 1000) - REPORTS_KEPT_DAYS * MS_PER_DAY
                    await self._control.expire_connection_reports(before_ms=before_ms)
            except SynclineError as exc:
                log.warning("Reports of connections cannot be stored: %s", exc, extra={"event": "admin.control_error"})
            except Exception:
                log.exception("Following revocations failed", extra={"event": "admin.control_crash"})
            await asyncio.sleep(KEEP_INTERVAL_S)

    async def close(self) -> None:
        """Store the last reports."""
        try:
            await self._store_reports()
        except SynclineError as exc:
            log.warning("Reports of connections cannot be stored: %s", exc, extra={"event": "admin.control_error"})

    async def _follow(self) -> None:
        found = await self._control.revocations(now_ms=int(self._clock() * 1000))
        for user_id, until_ms in found.items():
            if self._known.get(user_id) != until_ms:
                self._apply(user_id, until_ms)
            else:
                self._registry.end(user_id)  # a stream that was being opened when its user was revoked
        for user_id in self._known.keys() - found.keys():
            self._revocations.lift(user_id)  # taken back, or its time has passed
        self._known = found

    def _apply(self, user_id: str, until_ms: int) -> int:
        """The newest word counts, also where it is a shorter one. How many streams were ended."""
        if until_ms <= self._clock() * 1000:
            self._known[user_id] = until_ms
            self._revocations.lift(user_id)
            return 0
        self._revocations.revoke(user_id, until_ms / 1000)
        self._known[user_id] = until_ms
        return self._registry.end(user_id)

    async def _store_reports(self) -> None:
        reports = self._registry.take_reports()
        if not reports:
            return
        try:
            await self._control.report_connections(reports)
        except SynclineError:
            self._registry.give_back(reports)
            raise


def _shown_stream(stream: OpenStream) -> dict[str, Any]:
    return {
        "user_id": stream.user_id,
        "client_id": stream.client_id,
        "user_agent": stream.user_agent,
        "transport": stream.transport,
        "connected_at": iso_time(stream.opened_ms),
        "token_expires_at": iso_time(stream.token_expires_s * 1000),
        "operations_sent": stream.operations_sent,
        "bytes_sent": stream.bytes_sent,
    }


def _shown_report(report: ConnectionReport) -> dict[str, Any]:
    ended_ms = report.disconnected_ms
    return {
        "day": iso_time(report.day * MS_PER_DAY)[:10],
        "user_id": report.user_id,
        "client_id": report.client_id,
        "user_agent": report.user_agent,
        "connected_at": iso_time(report.connected_ms),
        "disconnected_at": None if ended_ms is None else iso_time(ended_ms),
        "token_expires_at": iso_time(report.token_expires_s * 1000),
        "connections": report.connections,
        "operations_sent": report.operations_sent,
        "bytes_sent": report.bytes_sent,
    }
