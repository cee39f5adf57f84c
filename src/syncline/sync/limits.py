"""Limits of sync streams, each with its unit and reason (protocol reference, 2.8 and 2.9)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BATCH_SPANS_MAX",
    "BULK_READS_MAX",
    "CACHE_BYTES_MAX",
    "CHUNK_BYTES_MAX",
    "CHUNK_OPS_MAX",
    "EXPIRY_WARNING_S",
    "FETCH_WAIT_S",
    "GIVE_WAY_MAX_S",
    "INTERRUPT_AFTER_OPS",
    "KEEPALIVE_INTERVAL_S",
    "KEEPALIVE_JITTER",
    "READ_OPS_MAX",
    "SMALL_READ_OPS_MAX",
    "VIEWS_MAX",
    "VIEW_BUCKETS_MAX",
    "VIEW_READS_MAX",
    "StreamLimits",
]

READ_OPS_MAX = 1000  # operations of one read of storage, over all its chunks
CHUNK_OPS_MAX = (
    500  # operations of one line: a cut connection loses at most the line under way and one in a client's buffer
)
CHUNK_BYTES_MAX = 1024 * 1024  # bytes of row data in a chunk; one larger row is a chunk of its own
SMALL_READ_OPS_MAX = 100  # operations up to which a session's read goes together with others'
BATCH_SPANS_MAX = 128  # buckets of such a read: the first sessions of a large fan-out do not wait for the last
BULK_READS_MAX = (
    3  # larger reads at the same time: below the threads of a storage reader, so that a small one finds a free one
)
VIEWS_MAX = 32  # sessions whose buckets and totals are read together: a reading stays one of a few milliseconds
VIEW_BUCKETS_MAX = 1000  # buckets that they are expected to have together: who has as many is read alone
VIEW_READS_MAX = 2  # such readings at the same time: while a large one is under way, others go on
FETCH_WAIT_S = (
    30.0  # seconds that a session waits for its turn to read; then its stream ends, and the client comes again
)
GIVE_WAY_MAX_S = 0.02  # seconds that a piece of a large download waits while small changes are on their way
CACHE_BYTES_MAX = 32 * 1024 * 1024  # bytes of encoded chunks kept for the sessions that share buckets, in one process
INTERRUPT_AFTER_OPS = (
    1000  # operations sent for a checkpoint, from which on a newer checkpoint takes over at a chunk's end
)
KEEPALIVE_INTERVAL_S = 20.0  # seconds between keepalive lines on HTTP; clients give up after about a minute of silence
KEEPALIVE_JITTER = 0.1  # share by which the interval varies, so that streams opened together do not tick together
EXPIRY_WARNING_S = 20.0  # seconds before a token's end at which the client is told to fetch the next one


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one connection may have; `api.parameters` of the configuration."""

    buckets_max: int = 1000  # buckets of a connection
    parameter_results_max: int = 1000  # parameter results of a connection at one checkpoint, before de-duplication
    connections_max: int = 200  # open streams of a process
    fetches_max: int = 10  # chunk reads of a process at the same time
