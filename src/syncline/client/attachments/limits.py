"""Limits of the attachment queue, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "ARCHIVED_MAX",
    "ATTEMPTS_MAX",
    "CHUNK_BYTES",
    "ERROR_CHARS_MAX",
    "FILE_BYTES_MAX",
    "FILE_NAME_CHARS_MAX",
    "INTERVAL_S",
    "ORPHAN_AGE_S",
    "RETRY_CAP_S",
    "STATE_PAGE",
    "THROTTLE_S",
    "TRANSFERS_MAX",
    "TRANSFER_IDLE_S",
    "TRANSFER_TIMEOUT_S",
]

FILE_BYTES_MAX = 256 * 1024 * 1024  # bytes of one attachment: what a device and a mobile network can be asked to carry
CHUNK_BYTES = 64 * 1024  # bytes of a file held in memory at a time
TRANSFERS_MAX = 3  # uploads, downloads and deletions at a time
ATTEMPTS_MAX = 30  # failures of one attachment in a row; then it rests until `retry()` or the next start
RETRY_CAP_S = 300.0  # seconds: the longest pause between two attempts
ARCHIVED_MAX = 100  # files that nothing refers to any more and that stay on the device, in case they are wanted again
INTERVAL_S = 30.0  # seconds between two looks at the queue when nothing has changed
THROTTLE_S = 0.03  # seconds between two looks at the references, so that a burst of changes is one look
TRANSFER_TIMEOUT_S = 1800.0  # seconds for one transfer, whatever it waits for
TRANSFER_IDLE_S = 30.0  # seconds without a byte, after which a transfer over HTTP has failed
ORPHAN_AGE_S = 3600.0  # seconds after which a file without a record is what a crash has left; a younger one may be about to get one
STATE_PAGE = 500  # records read at a time when all of them are looked through
FILE_NAME_CHARS_MAX = (
    120  # characters of a local file's name: file systems allow 255 bytes, and temporary names add some
)
ERROR_CHARS_MAX = 300  # characters of an error's text that are kept with a record
