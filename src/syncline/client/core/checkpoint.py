"""PURE: the checkpoint that a client works towards, and what can come of applying it (client SQLite reference, section 9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import BucketChecksum, Checkpoint, CheckpointDiff

__all__ = ["Applied", "ApplyResult", "Blocked", "LocalCheckpoint", "Mismatch"]

INT64_MAX = 2**63 - 1
INT64_DIGITS_MAX = 19  # digits of it


@dataclass(frozen=True, slots=True)
class LocalCheckpoint:
    """State of every bucket that the service has promised for one op id.

    `write_checkpoint` is the newest write checkpoint of this client that the service has seen replicated, None for none.
    """

    last_op_id: int
    write_checkpoint: int | None
    buckets: dict[str, BucketChecksum] = field(default_factory=dict[str, BucketChecksum])

    @classmethod
    def of_line(cls, line: Checkpoint) -> LocalCheckpoint:
        """The checkpoint that a full `checkpoint` line describes. Raises RemoteProtocolError for a number that is none."""
        return cls(
            last_op_id=_number("last_op_id", line.last_op_id),
            write_checkpoint=_optional_number("write_checkpoint", line.write_checkpoint),
            buckets={bucket.bucket: bucket for bucket in line.buckets},
        )

    def with_diff(self, line: CheckpointDiff) -> LocalCheckpoint:
        """The checkpoint after a `checkpoint_diff` line. A diff without a write checkpoint clears it (protocol, 2.4).

        Raises RemoteProtocolError for a number that is none.
        """
        buckets = {name: bucket for name, bucket in self.buckets.items() if name not in set(line.removed_buckets)}
        buckets.update((bucket.bucket, bucket) for bucket in line.updated_buckets)
        return LocalCheckpoint(
            last_op_id=_number("last_op_id", line.last_op_id),
            write_checkpoint=_optional_number("write_checkpoint", line.write_checkpoint),
            buckets=buckets,
        )

    def up_to(self, priority: int | None) -> Iterable[BucketChecksum]:
        """The buckets that a (partial) completion covers: all for None, else those at least as urgent as `priority`."""
        return [bucket for bucket in self.buckets.values() if priority is None or bucket.priority <= priority]


@dataclass(frozen=True, slots=True)
class Applied:
    """The checkpoint is visible in the tables."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Downloaded and valid, but local writes have to reach the source first. `reason`: `pending_uploads` or `write_checkpoint`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """These buckets did not have the promised checksum; they are deleted and will be downloaded again."""

    buckets: list[str]


ApplyResult = Applied | Blocked | Mismatch


def _number(field: str, text: str) -> int:
    """A number of a line: digits that fit a signed 64-bit integer, which is what SQLite holds."""
    if not (text.isascii() and text.isdecimal()) or len(text) > INT64_DIGITS_MAX or int(text) > INT64_MAX:
        raise RemoteProtocolError(f"The service sent a checkpoint whose {field} is not a number of 64 bits.")
    return int(text)


def _optional_number(field: str, text: str | None) -> int | None:
    return None if text is None else _number(field, text)
