"""Write checkpoints: counters of users."""

from __future__ import annotations

from syncline.storage.base import BucketStorage
from syncline.storage.model import WriteCheckpointCursor

__all__ = ["WriteCheckpointSuite"]


class WriteCheckpointSuite:
    """Write checkpoints: counters of users."""

    async def test_a_write_checkpoint_is_reached_when_replication_passed_its_position(
        self, storage: BucketStorage
    ) -> None:
        checkpoints = storage.open_write_checkpoints()
        [first] = await checkpoints.create(["u/c"], "B")
        assert await checkpoints.reached("u/c", "A") is None
        assert await checkpoints.reached("u/c", "B") == first
        assert await checkpoints.reached("other/c", "B") is None
        [second] = await checkpoints.create(["u/c"], "D")
        assert second > first
        assert await checkpoints.reached("u/c", "C") is None
        await checkpoints.close()

    async def test_write_checkpoints_of_many_users_are_read_together(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        users = [f"u{number}/c" for number in range(40)]
        values = dict(zip(users, await checkpoints.create(users, "B"), strict=True))
        [late] = await checkpoints.create(["late"], "D")
        asked = [*users[:30], "late", "unknown", "odd \x00 \N{SNOWMAN}"]
        assert await checkpoints.reached_all(asked, "A") == {}
        assert await checkpoints.reached_all(asked, "B") == {user: values[user] for user in users[:30]}
        assert (await checkpoints.reached_all(asked, "D"))["late"] == late
        assert await checkpoints.reached_all([], "D") == {}
        await checkpoints.close()

    async def test_newly_reached_reports_each_write_checkpoint_once(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        [one] = await checkpoints.create(["u1"], "B")
        found, cursor = await checkpoints.newly_reached("A", WriteCheckpointCursor())
        assert found == {}
        found, cursor = await checkpoints.newly_reached("C", cursor)
        assert found == {"u1": one}
        [two] = await checkpoints.create(["u2"], "B")  # stored when replication had passed it already
        found, cursor = await checkpoints.newly_reached("C", cursor)
        assert found == {"u2": two}
        found, cursor = await checkpoints.newly_reached("D", cursor)
        assert found == {}
        await checkpoints.close()

    async def test_a_rebuilt_storage_does_not_count_write_checkpoints_again(
        self, storage: BucketStorage, rebuilt: BucketStorage
    ) -> None:
        checkpoints = storage.open_write_checkpoints()
        old = [(await checkpoints.create(["u"], "A"))[0] for _ in range(3)]
        await checkpoints.close()
        fresh = rebuilt.open_write_checkpoints()
        [value] = await fresh.create(["u"], "A")
        assert (
            value >= old[0]
        )  # time-based: never below what a client may wait for, but for bursts within a millisecond
        await fresh.close()

    async def test_a_request_keeps_the_id_that_the_client_chose(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        assert await checkpoints.request("u/c", 7, "B") == 7
        assert await checkpoints.reached("u/c", "A") is None
        assert await checkpoints.reached("u/c", "B") == 7
        assert await checkpoints.request("u/c", 7, "D") == 7  # an equal one keeps its position
        assert await checkpoints.reached("u/c", "B") == 7
        assert await checkpoints.request("u/c", 3, "D") == 7  # a lower one changes nothing
        assert await checkpoints.reached("u/c", "B") == 7
        assert await checkpoints.request("u/c", 2**63 - 1, "D") == 2**63 - 1
        assert await checkpoints.reached("u/c", "C") is None
        assert await checkpoints.reached("u/c", "D") == 2**63 - 1
        await checkpoints.close()

    async def test_requests_are_reported_as_newly_reached_like_counters(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        await checkpoints.request("u", 7, "B")
        found, cursor = await checkpoints.newly_reached("A", WriteCheckpointCursor())
        assert found == {}
        found, cursor = await checkpoints.newly_reached("B", cursor)
        assert found == {"u": 7}
        await checkpoints.request("u", 7, "D")  # nothing new
        found, cursor = await checkpoints.newly_reached("B", cursor)
        assert found == {}
        await checkpoints.request("u", 8, "A")  # stored when replication had passed it already
        found, cursor = await checkpoints.newly_reached("B", cursor)
        assert found == {"u": 8}
        await checkpoints.close()

    async def test_a_counter_goes_on_above_a_request(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        await checkpoints.request("u", 2**50, "B")
        assert await checkpoints.create(["u"], "C") == [2**50 + 1]
        await checkpoints.close()

    async def test_requests_expire_and_counters_never_do(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        await checkpoints.request("asked", 7, "B")
        [counted] = await checkpoints.create(["counted"], "B")
        await checkpoints.create(["both"], "B")
        await checkpoints.request("both", 2**60, "B")  # has counted once: deleted, it might count again from below
        assert await checkpoints.expire_requests(older_than_s=3600) == 0
        assert await checkpoints.reached("asked", "B") == 7
        assert await checkpoints.expire_requests(older_than_s=-1) == 1  # as if an hour had passed
        assert await checkpoints.reached("asked", "B") is None
        assert await checkpoints.reached("counted", "B") == counted
        assert await checkpoints.reached("both", "B") == 2**60
        assert await checkpoints.request("asked", 5, "C") == 5
        await checkpoints.close()
