"""`syncline compact`: compact bucket storage once, at full speed, and forget expired checkpoint requests.

A running service compacts in the background, and it alone may write: beside it there is nothing to do but the checkpoint requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from syncline.errors import StorageUnavailable
from syncline.replication.compactor import COMMAND_STEP_OPS, CompactionCounts, CompactionLimits, compaction_steps
from syncline.service.config import ServiceConfig
from syncline.service.exit_codes import EXIT_FAILED, EXIT_OK, CommandInvalid
from syncline.service.storage_admin import StorageAdmin, open_admin
from syncline.storage.base import StorageWriter
from syncline.storage.model import BucketSize, Version, VersionState

__all__ = ["CompactRequest", "check_buckets", "compact"]

LEASE_HELD = "PSYNC_S1003"
CANDIDATES_MAX = 1_000  # buckets asked for at a time; the next question brings the others


@dataclass(frozen=True, slots=True)
class CompactRequest:
    """What to compact. `buckets` are full names, none for all; `lookups` None: all of them unless buckets are named."""

    buckets: tuple[str, ...] = ()
    lookups: bool | None = None
    incremental_only: bool = (
        False  # only buckets with many new operations, as the service itself does in the background
    )

    @property
    def with_lookups(self) -> bool:
        """Whether parameter lookups are compacted too."""
        return not self.buckets if self.lookups is None else self.lookups


def check_buckets(text: str | None) -> tuple[str, ...]:
    """The names of `-b a,b`; a comma inside brackets belongs to the name. Raises CommandInvalid for a short name."""
    names = tuple(_split(text or ""))
    short = [name for name in names if "[" not in name]
    if short:
        raise CommandInvalid(
            f"These are no full bucket names: {', '.join(short)}.",
            hint='A full name ends in brackets, as in "global[]"; the name of a stream or definition alone is none.',
        )
    return names


def compact(config: ServiceConfig, request: CompactRequest, tell: Callable[[str], None]) -> int:
    """Compact what `request` says; an exit code. Raises StorageUnavailable where storage cannot be reached."""
    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        if admin.stored_layout() == 0:
            raise StorageUnavailable(f"{admin.name} is empty: there is nothing to compact.")
        try:
            writer = admin.open().open_writer()
        except StorageUnavailable as exc:
            if exc.error_code != LEASE_HELD:
                raise
            code = _beside_a_service(exc, request, tell)
        else:
            with contextlib.closing(writer):
                versions = [version for version in writer.versions() if version.state is not VersionState.STOPPED]
                for version in versions:
                    tell(_told(version, _compact_version(writer, version, request, _horizon(admin, version))))
                if not versions:
                    tell("Nothing is replicated: there is nothing to compact.")
            code = EXIT_OK
        expired = asyncio.run(_expire_requests(admin, config))
        tell(f"Expired checkpoint requests deleted: {expired}.")
        return code


def _beside_a_service(exc: StorageUnavailable, request: CompactRequest, tell: Callable[[str], None]) -> int:
    tell(f"{exc.message} It compacts by itself, all the time: nothing was compacted here.")
    if request.buckets:
        tell("To compact the named buckets at once, stop it first.")
    return EXIT_FAILED if request.buckets else EXIT_OK


def _compact_version(
    writer: StorageWriter, version: Version, request: CompactRequest, horizon: int
) -> CompactionCounts:
    counts = CompactionCounts()
    for size in _sizes(writer, version, request):
        for _ in compaction_steps(writer, size, counts, step_ops=COMMAND_STEP_OPS):
            pass
    while request.with_lookups and horizon:
        removed = writer.compact_lookups(version.number, before_op=horizon, rows_max=COMMAND_STEP_OPS)
        counts.removed_lookups += removed
        if not removed:
            break
    return counts


def _sizes(writer: StorageWriter, version: Version, request: CompactRequest) -> Iterator[BucketSize]:
    """The buckets to compact. A named one is looked at whatever is new in it; one that is not there has nothing to look at."""
    if request.buckets:
        for name in request.buckets:
            if name.startswith(version.bucket_prefix):
                yield BucketSize(name, 0, 0)
        return
    limits, done = CompactionLimits(), set[str]()
    while sizes := [
        size
        for size in writer.compaction_candidates(version.number, buckets_max=CANDIDATES_MAX + len(done))
        if size.bucket not in done
    ]:
        for size in sizes:
            done.add(size.bucket)
            many = size.new_ops >= limits.new_ops_min and size.new_ops >= limits.new_ops_share * size.op_count
            if many or not request.incremental_only:
                yield size


def _horizon(admin: StorageAdmin, version: Version) -> int:
    """The op id below which lookups may go: that of the visible checkpoint. A reader that is behind it begins anew, and is right."""

    async def read() -> int:
        reader = admin.open().open_reader()
        try:
            checkpoint = await reader.checkpoint(version.number)
        finally:
            await reader.close()
        return checkpoint.op_id if checkpoint else 0

    return asyncio.run(read())


async def _expire_requests(admin: StorageAdmin, config: ServiceConfig) -> int:
    checkpoints = admin.open().open_write_checkpoints()
    try:
        minutes = config.settings.api.parameters.checkpoint_request_retention_minutes
        return await checkpoints.expire_requests(older_than_s=minutes * 60)
    finally:
        await checkpoints.close()


def _told(version: Version, counts: CompactionCounts) -> str:
    return (
        f"Version {version.number}: {counts.buckets} buckets, {counts.moved_ops} operations reduced to their checksums,"
        f" {counts.removed_ops} removed, {counts.removed_lookups} parameter lookups removed."
    )


def _split(text: str) -> Sequence[str]:
    """Parts between commas outside of brackets: bucket names hold JSON."""
    names, depth, begin = list[str](), 0, 0
    for index, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            names.append(text[begin:index].strip())
            begin = index + 1
    return [name for name in (*names, text[begin:].strip()) if name]
