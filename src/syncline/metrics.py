"""What a process counts: plain numbers, added to where the work is done, in whole batches. Names: docs/reference/service-config.md, 6.

Who counts (streams, the replicator) is handed a `ServiceMetrics` and calls its methods; nobody needs a metrics library for that. A
`MetricsSnapshot` goes to whoever exports them (`syncline.service.metrics`), also from another process.

Each number is written by one thread only: those of streams by the API's event loop, those of replication by the replicator's.
"""

from __future__ import annotations

import msgspec

__all__ = ["MetricsSnapshot", "ServiceMetrics"]


class MetricsSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one process at one time; `msgspec` encodes it for the way between processes. None: not known here."""

    data_synced_bytes: int = 0
    data_sent_bytes: int = 0
    operations_synced: int = 0
    concurrent_connections: int = 0
    data_replicated_bytes: int = 0
    rows_replicated: int = 0
    transactions_replicated: int = 0
    chunks_replicated: int = 0
    replication_lag_s: float | None = None
    replication_storage_bytes: int | None = None
    operation_storage_bytes: int | None = None
    parameter_storage_bytes: int | None = None


class ServiceMetrics:
    """Counts of this process since it started. Adding costs an addition: call once per batch, line or chunk, never per row."""

    def __init__(self) -> None:
        self._data_synced_bytes = 0
        self._data_sent_bytes = 0
        self._operations_synced = 0
        self._connections = 0
        self._data_replicated_bytes = 0
        self._rows_replicated = 0
        self._transactions_replicated = 0
        self._chunks_replicated = 0
        self._lag_s: float | None = None
        self._sizes: tuple[int, int, int] | None = None

    def stream_opened(self) -> None:
        """A stream's response has begun."""
        self._connections += 1

    def stream_closed(self) -> None:
        """A stream that was counted as opened is over."""
        self._connections -= 1

    def operations_synced(self, operations: int, data_bytes: int) -> None:
        """So many operations were put into data lines of a stream, with so many bytes of lines before compression."""
        self._operations_synced += operations
        self._data_synced_bytes += data_bytes

    def data_synced(self, data_bytes: int) -> None:
        """So many bytes of other lines (checkpoints, keepalives) were put into a stream, before compression."""
        self._data_synced_bytes += data_bytes

    def data_sent(self, data_bytes: int) -> None:
        """So many bytes of streams went out, as they are on the wire."""
        self._data_sent_bytes += data_bytes

    def replicated(self, *, rows: int = 0, transactions: int = 0, chunks: int = 0, data_bytes: int = 0) -> None:
        """A batch came from the source: rows copied or changed, whole transactions, readings of its log, bytes of messages."""
        self._rows_replicated += rows
        self._transactions_replicated += transactions
        self._chunks_replicated += chunks
        self._data_replicated_bytes += data_bytes

    def lag(self, seconds: float) -> None:
        """How far replication is behind the source's clock; 0 where nothing waits."""
        self._lag_s = max(seconds, 0.0)

    def storage_sized(self, *, current_rows_bytes: int, ops_bytes: int, lookups_bytes: int) -> None:
        """What storage takes at present."""
        self._sizes = (current_rows_bytes, ops_bytes, lookups_bytes)

    def snapshot(self) -> MetricsSnapshot:
        """The numbers as of now; callable from any thread."""
        sizes = self._sizes
        return MetricsSnapshot(
            data_synced_bytes=self._data_synced_bytes,
            data_sent_bytes=self._data_sent_bytes,
            operations_synced=self._operations_synced,
            concurrent_connections=self._connections,
            data_replicated_bytes=self._data_replicated_bytes,
            rows_replicated=self._rows_replicated,
            transactions_replicated=self._transactions_replicated,
            chunks_replicated=self._chunks_replicated,
            replication_lag_s=self._lag_s,
            replication_storage_bytes=sizes[0] if sizes else None,
            operation_storage_bytes=sizes[1] if sizes else None,
            parameter_storage_bytes=sizes[2] if sizes else None,
        )
