"""How large the buckets of the active config are: the largest ones, and those of each stream together."""

from __future__ import annotations

from typing import Any

from syncline.storage.base import StorageControl, StorageReader

__all__ = ["Sizes"]


class Sizes:
    """Answers `buckets`."""

    def __init__(self, reader: StorageReader, control: StorageControl) -> None:
        self._reader = reader
        self._control = control

    async def __call__(self) -> dict[str, Any]:
        """Operations and estimated bytes. `is_cut`: there are more buckets than are looked at."""
        version = await self._reader.active_version()
        if version is None:
            return {"version": None, "streams": [], "largest": [], "buckets": 0, "operations": 0, "is_cut": False}
        sizes = await self._control.bucket_sizes(version.number)
        return {
            "version": version.number,
            "buckets": sizes.bucket_count,
            "operations": sizes.op_count,
            "is_cut": sizes.is_cut,
            "streams": [
                {"name": name, "buckets": buckets, "operations": operations}
                for name, (buckets, operations) in sorted(sizes.streams.items(), key=lambda entry: -entry[1][1])
            ],
            "largest": [
                {"name": one.name, "operations": one.op_count, "bytes": one.estimated_bytes} for one in sizes.largest
            ],
        }
