from __future__ import annotations

from uuid import RFC_4122, UUID

import apsw

from syncline.client.local.connection import UUIDS_AHEAD, open_writer

COUNT = 2 * UUIDS_AHEAD + 1


def made(connection: apsw.Connection, function: str) -> list[str]:
    sql = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {COUNT}) SELECT {function}() FROM n"
    )
    return [str(value) for (value,) in connection.execute(sql)]


def test_the_sql_functions_make_distinct_random_uuids() -> None:
    connection = open_writer(":memory:")
    texts = made(connection, "uuid") + made(connection, "gen_random_uuid")
    assert len(set(texts)) == 2 * COUNT
    for text in texts:
        parsed = UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, RFC_4122)


def test_connections_do_not_share_uuids() -> None:
    first, second = open_writer(":memory:"), open_writer(":memory:")
    assert not set(made(first, "uuid")) & set(made(second, "uuid"))
