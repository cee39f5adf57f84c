"""The rows of `ps_stream_subscriptions` (client SQLite reference, section 12). Runs in the writer thread, inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from syncline.client.core.subscriptions import LocalSubscription
from syncline.protocol.lines import StreamDescription

__all__ = ["TTL_DEFAULT_S", "SubscriptionStore"]

TTL_DEFAULT_S = 86_400  # seconds that a subscription lives on after its last use
_MICROSECONDS = 1_000_000


class SubscriptionStore:
    """Reads and writes subscriptions. `active` names the (stream, parameters text) pairs that the app holds right now."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self) -> tuple[LocalSubscription, ...]:
        """All subscriptions, in the order in which a request lists them."""
        return tuple(
            LocalSubscription(
                row_id=row_id,
                stream=stream,
                params_text=params,
                active=bool(active),
                is_default=bool(is_default),
                priority=priority,
                ttl_s=ttl,
                expires_at_us=expires,
                last_synced_at_us=synced,
            )
            for row_id, stream, params, active, is_default, priority, ttl, expires, synced in self._connection.execute(
                "SELECT id, stream_name, local_params, active, is_default, local_priority, ttl, expires_at, last_synced_at"
                " FROM ps_stream_subscriptions ORDER BY id"
            )
        )

    def subscribe(self, stream: str, params_text: str, *, ttl_s: int | None, priority: int | None, now_us: int) -> None:
        """Add or renew an explicit subscription. A priority can only become more urgent later, as in the reference."""
        ttl = TTL_DEFAULT_S if ttl_s is None else ttl_s
        self._connection.execute(
            "INSERT INTO ps_stream_subscriptions(stream_name, local_params, local_priority, ttl, expires_at)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream_name, local_params) DO UPDATE SET"
            " local_priority = min(coalesce(excluded.local_priority, local_priority), local_priority),"
            " ttl = excluded.ttl, expires_at = excluded.expires_at",
            (stream, params_text, priority, ttl, now_us + ttl * _MICROSECONDS),
        )

    def unsubscribe(self, stream: str, params_text: str) -> None:
        """End the explicit subscription at once."""
        self._connection.execute(
            "UPDATE ps_stream_subscriptions SET ttl = NULL WHERE stream_name = ? AND local_params = ?",
            (stream, params_text),
        )

    def refresh(self, active: Iterable[tuple[str, str]], *, now_us: int) -> None:
        """Extend the lives of `active` subscriptions; drop expired ones and those that nobody wants."""
        self._connection.executemany(
            "UPDATE ps_stream_subscriptions SET expires_at = ? + ttl * 1000000"
            " WHERE stream_name = ? AND local_params = ? AND ttl IS NOT NULL",
            [(now_us, stream, params) for stream, params in active],
        )
        self._connection.execute(
            "DELETE FROM ps_stream_subscriptions WHERE expires_at < ? OR (ttl IS NULL AND NOT active)", (now_us,)
        )

    def record_streams(self, streams: Iterable[StreamDescription]) -> None:
        """Note what the service serves: existing names are active, default streams get a row, others are inactive."""
        self._connection.execute("UPDATE ps_stream_subscriptions SET active = 0, is_default = 0")
        for stream in streams:
            self._connection.execute(
                "UPDATE ps_stream_subscriptions SET active = 1, is_default = ? WHERE stream_name = ?",
                (int(stream.is_default), stream.name),
            )
            if stream.is_default:
                self._connection.execute(
                    "INSERT INTO ps_stream_subscriptions(stream_name, active, is_default) VALUES (?, 1, 1)"
                    " ON CONFLICT (stream_name, local_params) DO NOTHING",
                    (stream.name,),
                )
        self._connection.execute("DELETE FROM ps_stream_subscriptions WHERE ttl IS NULL AND NOT active")

    def mark_synced(self, row_ids: Iterable[int], *, now_us: int) -> None:
        """Note that these streams are complete on the device."""
        self._connection.executemany(
            "UPDATE ps_stream_subscriptions SET last_synced_at = ? WHERE id = ?", [(now_us, row) for row in row_ids]
        )
