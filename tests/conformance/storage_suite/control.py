"""What administrators keep in a storage: deployed configs, revoked users, reports of connections."""

from __future__ import annotations

from dataclasses import replace

from syncline.storage.base import BucketStorage
from syncline.storage.control_model import (
    CONNECTION_REPORTS_MAX,
    DEPLOYMENTS_KEPT,
    MS_PER_DAY,
    ConnectionReport,
)
from syncline.storage.model import SnapshotProgress
from tests.conformance.storage_suite.builders import begun, committed, put

__all__ = ["ControlSuite"]

REPORT = ConnectionReport("u", "c", "agent", connected_ms=1000, disconnected_ms=None, token_expires_s=60)


class ControlSuite:
    """What administrators keep in a storage, beside the replicated data."""

    async def test_deployments_are_kept_with_numbers_above_all_versions(self, storage: BucketStorage) -> None:
        writer, control = storage.open_writer(), storage.open_control()
        assert list(await control.deployments()) == []
        begun(writer, 2**60)
        first = await control.deploy("streams: {}", now_ms=0, random_bits=0)
        assert (first.number, first.sync_config) == (2**60 + 1, "streams: {}")
        second = await control.deploy(None, now_ms=5, random_bits=0)
        assert second.number > first.number
        await control.close()
        writer.close()
        again = storage.open_control()
        assert list(await again.deployments()) == [first, second]
        await again.close()

    async def test_only_the_newest_deployments_are_remembered(self, storage: BucketStorage) -> None:
        control = storage.open_control()
        made = [await control.deploy(f"# {n}", now_ms=0, random_bits=n) for n in range(DEPLOYMENTS_KEPT + 3)]
        assert list(await control.deployments()) == made[3:]
        await control.close()

    async def test_versions_are_told_as_they_stand(self, storage: BucketStorage) -> None:
        writer, control = storage.open_writer(), storage.open_control()
        assert list(await control.versions()) == []
        version = begun(writer)
        table = writer.add_table(version, schema="public", name="lists", relation_id=7, key_columns=["id", "b"])
        writer.save_snapshot_progress(table.id, SnapshotProgress(1, 2, 3, 4))
        [report] = await control.versions()
        assert (report.version, list(report.tables)) == (writer.versions()[0], list(writer.tables(version)))
        assert (report.position, report.checkpoint_position) == ("", "")
        committed(writer, version, "B", put("10#a[]", "1"))
        writer.record_error(version, "not now")
        [report] = await control.versions()
        assert (report.position, report.checkpoint_position, report.version.last_error) == ("B", "B", "not now")
        writer.close()
        await control.close()

    async def test_revocations_hold_until_their_time(self, storage: BucketStorage) -> None:
        control = storage.open_control()
        long_name, odd_name = "x" * 10_000, "nul \0 and half \ud83d"
        for user_id in (long_name, odd_name, "u"):
            await control.revoke(user_id, until_ms=50)
        await control.revoke("u", until_ms=100)
        assert await control.revocations(now_ms=10) == {long_name: 50, odd_name: 50, "u": 100}
        assert await control.revocations(now_ms=50) == {"u": 100}
        await control.close()
        again = storage.open_control()
        assert await again.revocations(now_ms=0) == {"u": 100}
        await again.revoke("u", until_ms=0)  # taken back
        assert await again.revocations(now_ms=1) == {}
        await again.close()

    async def test_reports_of_one_user_client_and_day_are_added_up(self, storage: BucketStorage) -> None:
        control = storage.open_control()
        await control.report_connections([])
        await control.report_connections([REPORT, replace(REPORT, client_id="d", connected_ms=2000)])
        ended = replace(
            REPORT, connections=0, connected_ms=1500, disconnected_ms=3000, operations_sent=5, bytes_sent=70
        )
        await control.report_connections([ended])
        await control.report_connections([replace(REPORT, user_id="v\0", connected_ms=MS_PER_DAY)])
        expected = replace(REPORT, disconnected_ms=3000, operations_sent=5, bytes_sent=70)
        [second, first] = await control.connection_reports(user_id="u")
        assert (first, second.client_id) == (expected, "d")
        newest = (await control.connection_reports())[0]
        assert (newest.user_id, newest.day) == ("v\0", 1)
        assert await control.expire_connection_reports(before_ms=MS_PER_DAY) == 2
        assert [report.user_id for report in await control.connection_reports()] == ["v\0"]
        await control.close()

    async def test_a_reading_of_reports_is_bounded(self, storage: BucketStorage) -> None:
        control = storage.open_control()
        many = [replace(REPORT, client_id=str(n), connected_ms=n) for n in range(CONNECTION_REPORTS_MAX + 1)]
        await control.report_connections(many)
        found = await control.connection_reports()
        assert len(found) == CONNECTION_REPORTS_MAX
        assert found[0].client_id == str(CONNECTION_REPORTS_MAX)
        await control.close()

    async def test_sizes_of_buckets_are_those_of_one_version(self, storage: BucketStorage) -> None:
        writer, control = storage.open_writer(), storage.open_control()
        version = begun(writer)
        row = put("10#todos|0[]", "1")
        committed(writer, version, "B", row, put("10#todos|0[]", "2"), put("10#lists|0[]", "1"))
        sizes = await control.bucket_sizes(version)
        assert (sizes.bucket_count, sizes.op_count, sizes.is_cut) == (2, 3, False)
        assert sizes.streams == {"todos": (1, 2), "lists": (1, 1)}
        row_bytes = len((row.data or "").encode())
        assert [(one.name, one.op_count, one.estimated_bytes) for one in sizes.largest] == [
            ("10#todos|0[]", 2, 2 * row_bytes),
            ("10#lists|0[]", 1, row_bytes),
        ]
        gone = await control.bucket_sizes(version + 1)
        assert (gone.bucket_count, gone.streams, gone.largest) == (0, {}, ())
        writer.close()
        await control.close()
