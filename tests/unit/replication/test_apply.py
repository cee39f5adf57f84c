"""Changes to operations, on real SQLite storage, with a row evaluator written by hand: rows (id, bucket, text)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.ops import OpType, put_checksum, remove_checksum
from syncline.replication import apply as apply_module
from syncline.replication.apply import ChangeApplier, TableNeedsCopy
from syncline.replication.source import UNCHANGED, ChangeKind, Column, Relation, RowChange, RowValue
from syncline.storage.model import FlushBatch, OpRow, StoredTable, row_key, row_key_prefix, subkey_text
from syncline.storage.sqlite import SqliteStorage
from syncline.sync_config.plan import EvaluatedLookup, EvaluatedRow, RowEvaluation, RowEvaluator, SyncPlan

RELATION = Relation(
    id=7,
    schema="public",
    name="t",
    columns=(
        Column("id", 25, "text", in_key=True),
        Column("bucket", 25, "text", in_key=False),
        Column("note", 25, "text", in_key=False, toastable=True),
    ),
)


class HandWrittenPlan:
    """Row (id, bucket, note) stands in `10#bucket[]`; a lookup `l[id]` leads to the bucket. No bucket: nowhere."""

    events = ()

    def row_evaluator(self, schema: str, name: str, columns: Sequence[str], bucket_prefix: str) -> RowEvaluator:
        return HandWrittenEvaluator(bucket_prefix)


class HandWrittenEvaluator:
    def __init__(self, bucket_prefix: str) -> None:
        self._bucket_prefix = bucket_prefix

    def __call__(self, row: Sequence[SyncValue], /) -> RowEvaluation:
        row_id, bucket, note = row
        if bucket is None:
            return RowEvaluation([], [], [])
        rows = [EvaluatedRow(f"{self._bucket_prefix}{bucket}[]", "t", str(row_id), f'{{"note":"{note}"}}')]
        return RowEvaluation(rows, [EvaluatedLookup(f"l[{row_id}]", f'["{bucket}"]')], [])

    def batch(self, rows: Iterable[Sequence[SyncValue]], /) -> list[RowEvaluation]:
        return [self(row) for row in rows]


class World:
    def __init__(self, folder: Path) -> None:
        self.storage = SqliteStorage(folder)
        self.writer = self.storage.open_writer()
        version = self.writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
        self.writer.finish_snapshot(10)
        self.applier = ChangeApplier(self.writer, version, cast("SyncPlan", HandWrittenPlan()))
        self.table: StoredTable = self.writer.add_table(
            10, schema="public", name="t", relation_id=7, key_columns=["id"]
        )
        self.applier.follow(RELATION, self.table)
        self.commits = 0

    def apply(self, *changes: RowChange) -> None:
        self.applier.add(changes)
        self.applier.flush()
        self.commits += 1
        self.writer.commit(10, f"{self.commits:08}")

    async def ops(self, bucket: str) -> list[OpRow]:
        reader = self.storage.open_reader()
        chunks = await reader.chunks(
            10,
            [(f"10#{bucket}[]", 0)],
            checkpoint_op=10**9,
            ops_max=100_000,
            chunk_ops_max=10**6,
            chunk_bytes_max=10**9,
        )
        await reader.close()
        return [op for chunk in chunks for op in chunk.ops]

    async def story(self, bucket: str) -> list[str]:
        return [f"{op.op} {op.object_id}" for op in await self.ops(bucket)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def insert(row_id: str, bucket: str | None, note: str = "n") -> RowChange:
    return RowChange(ChangeKind.INSERT, RELATION, (row_id, bucket, note))


def update(row_id: str, bucket: str | None, note: RowValue = "n", *, old_id: str | None = None) -> RowChange:
    return RowChange(ChangeKind.UPDATE, RELATION, (row_id, bucket, note), (old_id,) if old_id else None)


def delete(row_id: str) -> RowChange:
    return RowChange(ChangeKind.DELETE, RELATION, None, (row_id,))


async def test_an_insert_is_a_put_with_the_protocol_s_checksum(world: World) -> None:
    world.apply(insert("1", "a"))
    [op] = await world.ops("a")
    assert (op.op, op.object_type, op.object_id, op.data) == (OpType.PUT, "t", "1", '{"note":"n"}')
    assert op.checksum == put_checksum("t", "1", '{"note":"n"}')
    assert op.subkey == subkey_text(row_key(row_key_prefix("public", "t"), ["1"]))


async def test_every_update_in_a_transaction_is_an_operation_of_its_own(world: World) -> None:
    world.apply(insert("1", "a"), update("1", "a", "x"), update("1", "a", "y"))
    assert await world.story("a") == ["PUT 1", "PUT 1", "PUT 1"]


async def test_a_row_that_moves_is_put_first_and_removed_then(world: World) -> None:
    world.apply(insert("1", "a"))
    world.apply(update("1", "b"))
    [put], [_, removed] = await world.ops("b"), await world.ops("a")
    assert removed.op is OpType.REMOVE
    assert removed.checksum == remove_checksum(put.subkey or "")
    assert put.op_id < removed.op_id


async def test_a_changed_key_is_a_remove_of_the_old_row_then_a_put_of_the_new(world: World) -> None:
    world.apply(insert("1", "a"))
    world.apply(update("2", "a", old_id="1"))
    assert await world.story("a") == ["PUT 1", "REMOVE 1", "PUT 2"]


async def test_a_deleted_row_is_removed_once_even_when_the_source_sends_it_again(world: World) -> None:
    world.apply(insert("1", "a"), delete("1"))
    world.apply(delete("1"))
    assert await world.story("a") == ["PUT 1", "REMOVE 1"]


async def test_a_row_that_fits_no_query_any_more_is_removed(world: World) -> None:
    world.apply(insert("1", "a"))
    world.apply(update("1", None))
    world.apply(update("1", "a"))
    assert await world.story("a") == ["PUT 1", "REMOVE 1", "PUT 1"]


async def test_truncate_removes_every_row_of_the_table_and_later_rows_stay(world: World) -> None:
    world.apply(*(insert(str(number), "a") for number in range(5)))
    world.apply(insert("9", "a"), RowChange(ChangeKind.TRUNCATE, RELATION, None), insert("7", "a"))
    story = await world.story("a")
    assert sorted(story[6:12]) == [f"REMOVE {number}" for number in (0, 1, 2, 3, 4, 9)]
    assert story[12:] == ["PUT 7"]


async def test_an_unchanged_large_value_is_taken_from_what_was_kept(world: World) -> None:
    note = "x" * 2000
    world.apply(insert("1", "a", note))
    world.apply(update("1", "b", UNCHANGED))
    [op] = await world.ops("b")
    assert op.data == f'{{"note":"{note}"}}'


async def test_an_unchanged_large_value_survives_a_key_change(world: World) -> None:
    note = "x" * 2000
    world.apply(insert("1", "a", note))
    world.apply(update("2", "a", UNCHANGED, old_id="1"))
    world.apply(update("2", "b", UNCHANGED))
    [op] = await world.ops("b")
    assert note in (op.data or "")


def test_a_value_that_was_thought_too_small_to_be_left_out_asks_for_a_copy_of_the_table(world: World) -> None:
    world.apply(insert("1", "a", "small"))
    with pytest.raises(TableNeedsCopy, match=r"public\.t"):
        world.apply(update("1", "b", UNCHANGED))
    world.applier.copy(RELATION, [("1", "a", "small")], look_up=True)
    world.apply(update("1", "b", UNCHANGED))


def test_a_row_that_the_new_copy_did_not_find_asks_for_no_further_one(world: World) -> None:
    world.apply(insert("1", "a", "small"))
    with pytest.raises(TableNeedsCopy):
        world.apply(update("1", "b", UNCHANGED))
    world.applier.copy(RELATION, [("2", "a", "small")], look_up=True)  # row 1 is gone from the source by now
    world.apply(update("1", "b", UNCHANGED))  # would ask for a copy for ever, and nothing behind it would arrive


async def test_an_incomplete_update_of_a_row_that_is_not_there_is_left_out(world: World) -> None:
    world.apply(update("1", "b", UNCHANGED))
    assert await world.story("b") == []


async def test_lookups_are_written_only_where_they_differ(world: World) -> None:
    reader = world.storage.open_reader()
    world.apply(insert("1", "a"))
    before = await reader.checkpoint(10)
    assert before is not None
    world.apply(update("1", "a", "other note"))
    changes = await reader.changes(10, before)
    assert changes is not None
    assert changes.lookups == frozenset()
    world.apply(update("1", "b"))
    changes = await reader.changes(10, before)
    assert changes is not None
    assert changes.lookups == {"l[1]"}
    await reader.close()


async def test_a_second_copy_of_a_table_takes_back_what_the_first_one_left(world: World) -> None:
    world.applier.copy(RELATION, [("1", "a", "n"), ("2", "a", "n")], look_up=False)
    world.applier.copy(RELATION, [("1", "b", "n"), ("2", "a", "n")], look_up=True)
    world.apply()
    assert await world.story("a") == ["PUT 1", "PUT 2", "REMOVE 1", "PUT 2"]


async def test_large_rows_are_flushed_before_they_fill_the_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_module, "FLUSH_BYTES_MAX", 10_000)
    flushed: list[int] = []
    flush = world.writer.flush

    def counting_flush(version: int, batch: FlushBatch) -> int:
        flushed.append(len(batch.rows))
        return flush(version, batch)

    monkeypatch.setattr(world.writer, "flush", counting_flush)
    for bucket in ("a", None):  # also where a row stands in no bucket, and only its values are kept
        flushed.clear()
        world.apply(*(insert(f"{bucket}{number}", bucket, "x" * 3000) for number in range(20)))
        assert len(flushed) >= 5
        assert max(flushed) <= 4


async def test_what_stands_at_the_end_is_the_table_however_the_flushes_fall(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a flush is reached many times inside one transaction; the reduced buckets are the table all the same."""
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    monkeypatch.setattr(apply_module, "FLUSH_ROWS_MAX", 3)
    table: dict[str, tuple[str, str]] = {}
    for _ in range(30):
        changes: list[RowChange] = []
        for _ in range(draw.randrange(12)):
            row_id, bucket, note = str(draw.randrange(6)), draw.choice("abc"), draw.choice(["n", "m", "x" * 2000])
            if row_id not in table:
                changes.append(insert(row_id, bucket, note))
                table[row_id] = bucket, note
            elif draw.random() < 0.3:
                changes.append(delete(row_id))
                del table[row_id]
            elif draw.random() < 0.3 and (new_id := str(draw.randrange(6, 9))) not in table:
                changes.append(update(new_id, bucket, note, old_id=row_id))
                del table[row_id]
                table[new_id] = bucket, note
            else:
                kept = len(table[row_id][1]) >= 500 and draw.random() < 0.5
                changes.append(update(row_id, bucket, UNCHANGED if kept else note))
                table[row_id] = bucket, table[row_id][1] if kept else note
        world.apply(*changes)
    for bucket in "abc":
        rows: dict[str, str] = {}
        for op in await world.ops(bucket):
            assert op.object_id is not None
            if op.op is OpType.PUT:
                assert op.data is not None
                rows[op.object_id] = op.data
            else:
                del rows[op.object_id]
        assert rows == {row_id: f'{{"note":"{note}"}}' for row_id, (place, note) in table.items() if place == bucket}
