"""What is remembered of source rows."""

from __future__ import annotations

from syncline.storage.base import BucketStorage
from syncline.storage.model import CurrentRow, FlushBatch, Membership
from tests.conformance.storage_suite.builders import begun

__all__ = ["RowSuite"]


class RowSuite:
    """What is remembered of source rows."""

    def test_current_rows_come_back_as_they_were_flushed(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        row = CurrentRow((Membership("10#a[]", "todos", "1"),), (("l[1]", "[1]"),), ("é", 2**60, 1.5, b"\x00", None))
        plain = CurrentRow((), ())
        writer.flush(version, FlushBatch(rows={(1, b"a"): row, (1, b"b"): plain, (2, b"a"): plain}))
        assert writer.current_rows(1, [b"a", b"b", b"c"]) == {b"a": row, b"b": plain}
        assert writer.table_rows(1, after=b"", limit=1) == [(b"a", row)]
        assert writer.table_rows(1, after=b"a", limit=10) == [(b"b", plain)]
        writer.flush(version, FlushBatch(rows={(1, b"a"): None}))
        assert writer.current_rows(1, [b"a", b"b"]) == {b"b": plain}
        writer.close()
