"""PURE: encoded chunks that several sessions want, bounded in bytes.

A chunk is known by where it begins. The first session that reads there sets where it ends; all others get the same bytes, so each
operation of a shared bucket is read and encoded once per form. What compaction does to stored operations later leaves the chunk
right: checksums and positions stay, and a CLEAR counts for everything before it.
"""

from __future__ import annotations

from syncline.sync.encoding import EncodedChunk, OpsForm

__all__ = ["ChunkCache"]

ENTRY_OVERHEAD_BYTES = 400  # bytes of an entry beside its operations: objects, key, place in the table
_SHARE_MAX = 8  # a chunk larger than this part of the cache is not kept: it would drive out everything else

_Key = tuple[OpsForm, str, int]


class ChunkCache:
    """The chunks used last, within `bytes_max`. Bucket names hold their version, so nothing here outlives its meaning."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._chunks: dict[_Key, EncodedChunk] = {}  # the one used last stands last
        self.bytes = 0
        self.hits = 0

    def get(self, form: OpsForm, bucket: str, after: int, *, upto: int, checkpoint_op: int) -> EncodedChunk | None:
        """The chunk that begins at `after`, for a session whose bucket ends at `upto` at its checkpoint.

        None too where the known chunk goes beyond the checkpoint, or ends where a bucket ended once, which would cut a download into
        the pieces in which the operations were made.
        """
        key = (form, bucket, after)
        chunk = self._chunks.get(key)
        if chunk is None or chunk.next_after > checkpoint_op or not (chunk.has_more or chunk.next_after >= upto):
            return None
        self._chunks[key] = self._chunks.pop(key)
        self.hits += 1
        return chunk

    def put(self, form: OpsForm, chunk: EncodedChunk) -> None:
        """Keep a chunk; the ones unused for longest make room."""
        size = _size(chunk)
        if size > self._bytes_max // _SHARE_MAX:
            return
        key = (form, chunk.bucket, chunk.after)
        old = self._chunks.pop(key, None)
        if old is not None:
            self.bytes -= _size(old)
        self._chunks[key] = chunk
        self.bytes += size
        while self.bytes > self._bytes_max:
            self.bytes -= _size(self._chunks.pop(next(iter(self._chunks))))

    def __len__(self) -> int:
        return len(self._chunks)


def _size(chunk: EncodedChunk) -> int:
    return len(chunk.ops) + ENTRY_OVERHEAD_BYTES
