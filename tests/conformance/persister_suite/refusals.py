"""What is refused for good, with which code, and that nothing of a client's is ever SQL."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.backend import TablePolicy
from tests.conformance.persister_suite.subject import Lacking
from tests.conformance.persister_suite.uploads import Uploads, delete, patch, put

__all__ = ["RefusalSuite"]

HOSTILE = "x'); DROP TABLE lists; --\\"
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    (put("b"), "NOT_NULL_VIOLATION"),
    (patch("a", name=None), "NOT_NULL_VIOLATION"),
    (put("b", name="x", slug="taken"), "UNIQUE_VIOLATION"),
    (put("c", name="x", slug="taken"), "UNIQUE_VIOLATION"),
    (patch("c", slug="taken"), "UNIQUE_VIOLATION"),
    (put("b", name="x", stars=6), "CHECK_VIOLATION"),
    (patch("a", stars=7), "CHECK_VIOLATION"),
    (put("b", name="x", parent_id="nowhere"), "FOREIGN_KEY_VIOLATION"),
    (delete("p"), "FOREIGN_KEY_VIOLATION"),
    (put("b", name="x", stars="many"), "INVALID_DATA"),
    (put("b", name="x", stars="1.5"), "INVALID_DATA"),
    (put("b", name="x", stars=2**70), "INVALID_DATA"),
    (put("b", name="x", unknown=1), "SCHEMA_MISMATCH"),
    (put("b", name="x", Note="x"), "SCHEMA_MISMATCH"),
    (patch("a") | {"op_data": {'name" = 1; --': "x"}}, "SCHEMA_MISMATCH"),
    (patch("a") | {"op_data": {"name` = 1; --": "x"}}, "SCHEMA_MISMATCH"),
    (put("b", table="lists; DROP TABLE lists"), "SCHEMA_MISMATCH"),
    (put("b", table="syncline_uploads"), "SCHEMA_MISMATCH"),
)


class RefusalSuite:
    """Refusals have the same codes on every database."""

    @pytest.mark.requirement(148, 235)
    async def test_a_refusal_names_its_kind_and_its_operation(self, uploads: Uploads) -> None:
        await uploads.succeed(put("a", name="1", slug="taken"), put("p", name="parent"))
        await uploads.succeed(put("c", name="child", parent_id="p"))
        for bad, code in REFUSED:
            crud = [patch("a", note="changed"), bad, put("d", name="3")]
            assert await uploads.code(*crud) == (code, 1), bad
        rows = await uploads.rows("SELECT id, note FROM lists ORDER BY id")
        assert rows == [("a", "none"), ("c", "none"), ("p", "none")]

    async def test_a_unique_key_is_never_taken_for_the_rows_id(self, uploads: Uploads) -> None:
        """An upsert that fires on any unique key would change the row that has the slug."""
        await uploads.succeed(put("a", name="mine", slug="taken"))
        assert await uploads.code(put("b", name="x", slug="taken"), user="ann") == ("UNIQUE_VIOLATION", 0)
        assert await uploads.code(put("b", name="x", slug="taken"), user="bob") == ("UNIQUE_VIOLATION", 0)
        assert await uploads.rows("SELECT id, name FROM lists") == [("a", "mine")]

    async def test_a_refusal_quotes_no_value(self, uploads: Uploads, caplog: pytest.LogCaptureFixture) -> None:
        await uploads.succeed(put("a", name="1", slug="a secret"))
        for bad in (
            put("b", name="2", slug="a secret"),
            put("b", name="x", stars="a secret"),
            put("b", name="x", parent_id="a secret"),
        ):
            [result] = await uploads.send([bad])
            assert "a secret" not in str(result) + caplog.text

    @pytest.mark.requirement(143)
    async def test_values_and_ids_are_never_sql(self, uploads: Uploads) -> None:
        await uploads.succeed(put(HOSTILE, name=HOSTILE, note="100%s %(x)s {} :name ? \\'"))
        await uploads.succeed(patch(HOSTILE, name="%"))
        stored = await uploads.rows("SELECT id, name, note, owner_id FROM lists")
        assert stored == [(HOSTILE, "%", "100%s %(x)s {} :name ? \\'", "ann")]
        await uploads.succeed(put("b", name="x"), user=HOSTILE)
        await uploads.succeed(delete(HOSTILE))
        assert await uploads.rows("SELECT id, owner_id FROM lists") == [("b", HOSTILE)]

    async def test_names_with_quotes_and_percent_signs_are_names(self, uploads: Uploads) -> None:
        def named(value: str) -> dict[str, Any]:
            return {'a "b" 5%s': value}

        await uploads.succeed(put("1", table="odd", **named("1")), put("1", table="odd", **named("2")))
        await uploads.succeed(patch("1", table="odd", **named("3")), patch("2", table="odd", **named("x")))
        assert await uploads.rows("SELECT {odd_column} FROM {odd_table}") == [("3",)]
        await uploads.succeed(delete("1", table="odd"))
        assert await uploads.rows("SELECT * FROM {odd_table}") == []

    async def test_a_policy_for_what_the_database_has_not_is_named(self, uploads: Uploads) -> None:
        for policy, missing in (
            (TablePolicy(owner=None, table="nowhere"), "does not exist"),
            (TablePolicy(owner="team"), "no column team"),
        ):
            [result] = await uploads.with_tables(lists=policy).send([put("a", name="1")])
            assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
            assert missing in result["message"]

    async def test_a_changed_table_is_seen_before_a_device_is_refused(self, uploads: Uploads) -> None:
        await uploads.succeed(put("1", table="changing", name="x"))
        assert await uploads.code(put("1", table="changing", late="1")) == ("SCHEMA_MISMATCH", 0)
        await uploads.rows("ALTER TABLE changing ADD COLUMN late integer")
        try:
            await uploads.succeed(put("1", table="changing", late="1"))
            assert await uploads.rows("SELECT late FROM changing") == [(1,)]
            assert await uploads.code(put("1", table="changing", late="one")) == ("INVALID_DATA", 0)
        finally:
            await uploads.rows("ALTER TABLE changing DROP COLUMN late")
        assert await uploads.code(put("1", table="changing", late="1")) == ("SCHEMA_MISMATCH", 0)

    @pytest.mark.requirement(160)
    async def test_a_user_without_the_right_is_refused_as_unauthorised(self, uploads: Uploads) -> None:
        subject = uploads.subject
        if Lacking.PRIVILEGES in subject.lacks:
            pytest.skip(f"This database has not: {Lacking.PRIVILEGES}.")
        persister = subject.persister(await subject.make_reader(uploads.observer))
        reader = Uploads.over(persister, subject, uploads.observer)
        await reader.backend.open()
        try:
            await reader.succeed(patch("nowhere", table="changing", name="x"))
            assert await reader.code(put("a", name="1")) == ("UNAUTHORIZED", 0)
        finally:
            await reader.backend.close()
