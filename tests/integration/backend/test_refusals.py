from __future__ import annotations

from typing import Any

import pytest

from syncline.backend import TablePolicy
from tests.integration.backend.conftest import Uploads, delete, make_backend, patch, put

UUID = "6c1b3c9e-0000-4000-8000-000000000001"
HOSTILE = "x'); DROP TABLE lists; --"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (put("b"), "NOT_NULL_VIOLATION"),
        (patch("a", name=None), "NOT_NULL_VIOLATION"),
        (put("b", name="x", slug="taken"), "UNIQUE_VIOLATION"),
        (put("b", name="x", stars=6), "CHECK_VIOLATION"),
        (put("b", name="x", parent_id="nowhere"), "FOREIGN_KEY_VIOLATION"),
        (put("b", name="x", stars="many"), "INVALID_DATA"),
        (put("b", name="x", stars=2**40), "INVALID_DATA"),
        (put("b", name="zero\0"), "INVALID_DATA"),
        (put("zero\0", name="x"), "INVALID_DATA"),
        (put("b", name="x", unknown=1), "SCHEMA_MISMATCH"),
        (patch("a") | {"op_data": {'name" = 1; --': "x"}}, "SCHEMA_MISMATCH"),
        (put("b", table="lists; DROP TABLE lists"), "SCHEMA_MISMATCH"),
        (put("b", table="syncline_uploads"), "SCHEMA_MISMATCH"),
        (put("not a uuid", table="odd"), "INVALID_DATA"),
        (delete("zero\0"), "INVALID_DATA"),
    ],
)
async def test_a_refusal_names_its_kind_and_its_operation(uploads: Uploads, bad: dict[str, Any], code: str) -> None:
    await uploads.succeed(put("a", name="1", slug="taken"))
    assert await uploads.code(patch("a", note="changed"), bad, put("c", name="3")) == (code, 1)
    assert uploads.database.execute("SELECT id, note FROM lists") == [("a", "none")]


async def test_a_refusal_quotes_no_value(uploads: Uploads) -> None:
    await uploads.succeed(put("a", name="1", slug="secret"))
    [result] = await uploads.send([put("b", name="2", slug="secret")])
    assert "secret" not in str(result)
    assert "lists_slug_key" in result["message"]


async def test_what_the_database_refuses_by_its_own_code_is_named(uploads: Uploads) -> None:
    uploads.database.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = NEW.note; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON lists FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    for sqlstate, code in [
        ("42501", "UNAUTHORIZED"),
        ("P0001", "UNCLASSIFIED_ERROR"),
        ("23P01", "CONSTRAINT_VIOLATION"),
    ]:
        assert await uploads.code(put("a", name="1", note=sqlstate)) == (code, 0)


async def test_values_and_ids_are_never_sql(uploads: Uploads) -> None:
    await uploads.succeed(put(HOSTILE, name=HOSTILE, note="100%s %(x)s {}"))
    await uploads.succeed(patch(HOSTILE, note="%"))
    assert uploads.database.execute("SELECT id, name, note, owner_id FROM lists") == [(HOSTILE, HOSTILE, "%", "ann")]
    await uploads.succeed(put("b", name="x"), user=HOSTILE)
    await uploads.succeed(delete(HOSTILE))
    assert uploads.database.execute("SELECT id, owner_id FROM lists") == [("b", HOSTILE)]


async def test_names_with_quotes_and_percent_signs_are_names(uploads: Uploads) -> None:
    def named(value: str) -> dict[str, Any]:
        return {'a "b" 5%s': value}

    await uploads.succeed(put(UUID, table="odd", **named("1")), put(UUID, table="odd", **named("2")))
    await uploads.succeed(patch(UUID, table="odd", **named("3")), patch(UUID[:-1] + "2", table="odd", **named("x")))
    assert uploads.database.execute('SELECT "a ""b"" 5%s" FROM "odd ""name"" 100%"') == [("3",)]
    await uploads.succeed(delete(UUID, table="odd"))
    assert uploads.database.execute('SELECT count(*) FROM "odd ""name"" 100%"') == [(0,)]


@pytest.mark.parametrize(
    ("policy", "missing"),
    [(TablePolicy(owner=None, table="nowhere"), "does not exist"), (TablePolicy(owner="team"), "no column team")],
)
async def test_a_policy_for_what_the_database_has_not_is_named(
    uploads: Uploads, policy: TablePolicy, missing: str
) -> None:
    wrong = Uploads(make_backend(uploads.persister, {"lists": policy}), uploads.persister, uploads.database)
    [result] = await wrong.send([put("a", name="1")])
    assert result["failed_operation"]["error_code"] == "SCHEMA_MISMATCH"
    assert missing in result["message"]
