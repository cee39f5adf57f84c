from __future__ import annotations

import pytest

from syncline.testing.memory_source import MemorySource, RowChange, SourceTransaction


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({"lists": ["id", "name", "done"]})


def test_a_transaction_is_one_entry_of_the_log(source: MemorySource) -> None:
    heard: list[SourceTransaction] = []
    source.listen(heard.append)
    with source.transaction() as writer:
        writer.insert("lists", "a", name="A", done=True)
        writer.insert("lists", "b", name="B")
        assert writer.update("lists", "a", name="AA")
        assert source.rows("lists") == []  # nothing is visible before the end
    assert heard == source.log
    assert [transaction.position for transaction in source.log] == [1] == [source.head]
    assert source.rows("lists") == [{"id": "a", "name": "AA", "done": 1}, {"id": "b", "name": "B", "done": None}]


def test_a_failed_block_changes_nothing(source: MemorySource) -> None:
    def fail() -> None:
        with source.transaction() as writer:
            writer.insert("lists", "a", name="A")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert source.head == 0
    assert source.get("lists", "a") is None


def test_updates_and_deletes_of_absent_rows_say_so(source: MemorySource) -> None:
    with source.transaction() as writer:
        assert not writer.update("lists", "a", name="A")
        assert not writer.delete("lists", "a")
        writer.insert("lists", "a", name="A")
        assert writer.delete("lists", "a")
    assert source.log[0].changes == (RowChange("lists", "a", None),)
    assert source.rows("lists") == []


def test_values_are_those_of_synced_rows(source: MemorySource) -> None:
    with source.transaction() as writer:
        writer.insert("lists", "a", name=True, done=[1, {"x": None}])
    assert source.rows("lists") == [{"id": "a", "name": 1, "done": '[1,{"x":null}]'}]


def test_columns_may_have_any_name() -> None:
    odd = MemorySource({"lists": ["table", "row_id", "self"]})
    with odd.transaction() as writer:
        writer.insert("lists", "a", table="t", row_id="r")
        assert writer.update("lists", "a", row_id="s")
    assert odd.rows("lists") == [{"id": "a", "table": "t", "row_id": "s", "self": None}]


def test_unknown_tables_and_columns_are_named(source: MemorySource) -> None:
    with source.transaction() as writer:
        with pytest.raises(ValueError, match=r"no table 'todos'; it has lists"):
            writer.insert("todos", "a")
        with pytest.raises(ValueError, match=r"no column title; it has id, name, done"):
            writer.insert("lists", "a", title="A")
        with pytest.raises(ValueError, match="type bytes"):
            writer.insert("lists", "a", name=b"A")
