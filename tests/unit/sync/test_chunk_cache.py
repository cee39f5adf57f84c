from __future__ import annotations

from syncline.sync.chunk_cache import ENTRY_OVERHEAD_BYTES, ChunkCache
from syncline.sync.encoding import EncodedChunk, OpsForm

FORM = OpsForm.RAW_JSON
ENTRY_BYTES = 100 + ENTRY_OVERHEAD_BYTES


def encoded(bucket: str, after: int, next_after: int, *, has_more: bool = False, size: int = 100) -> EncodedChunk:
    return EncodedChunk(bucket, after, next_after, has_more, b"x" * size, 1, None, 0)


def test_a_chunk_is_found_by_where_it_begins_and_by_its_form() -> None:
    cache = ChunkCache(100_000)
    cache.put(FORM, encoded("a", 5, 9))
    found = cache.get(FORM, "a", 5, upto=9, checkpoint_op=20)
    assert found is not None
    assert found.next_after == 9
    assert cache.get(FORM, "a", 4, upto=9, checkpoint_op=20) is None
    assert cache.get(OpsForm.BSON, "a", 5, upto=9, checkpoint_op=20) is None
    assert cache.get(FORM, "b", 5, upto=9, checkpoint_op=20) is None


def test_no_chunk_goes_to_a_session_whose_checkpoint_it_passes() -> None:
    cache = ChunkCache(100_000)
    cache.put(FORM, encoded("a", 0, 9, has_more=True))
    assert cache.get(FORM, "a", 0, upto=8, checkpoint_op=8) is None


def test_a_chunk_that_ended_with_its_bucket_is_of_no_use_once_the_bucket_goes_on() -> None:
    cache = ChunkCache(100_000)
    cache.put(FORM, encoded("a", 0, 9))
    assert cache.get(FORM, "a", 0, upto=12, checkpoint_op=12) is None
    cache.put(FORM, encoded("a", 0, 12, has_more=True))
    assert cache.get(FORM, "a", 0, upto=20, checkpoint_op=20) is not None


def test_the_chunks_unused_for_longest_make_room_within_the_bytes() -> None:
    cache = ChunkCache(10 * ENTRY_BYTES)
    for number in range(10):
        cache.put(FORM, encoded(f"bucket {number}", 0, 9))
    assert len(cache) == 10
    assert cache.get(FORM, "bucket 0", 0, upto=9, checkpoint_op=9) is not None
    cache.put(FORM, encoded("one more", 0, 9))
    assert cache.bytes <= 10 * ENTRY_BYTES
    assert cache.get(FORM, "bucket 0", 0, upto=9, checkpoint_op=9) is not None
    assert cache.get(FORM, "bucket 1", 0, upto=9, checkpoint_op=9) is None


def test_the_same_place_again_replaces_what_was_there() -> None:
    cache = ChunkCache(10 * ENTRY_BYTES)
    for _ in range(100):
        cache.put(FORM, encoded("a", 0, 9))
    assert (len(cache), cache.bytes) == (1, ENTRY_BYTES)


def test_a_chunk_that_would_drive_out_everything_else_is_not_kept() -> None:
    cache = ChunkCache(10 * ENTRY_BYTES)
    cache.put(FORM, encoded("small", 0, 9))
    cache.put(FORM, encoded("large", 0, 9, size=5 * ENTRY_BYTES))
    assert len(cache) == 1
