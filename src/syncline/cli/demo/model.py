"""The canonical todo app: tables in Postgres, who sees what, and the schema of the devices."""

from __future__ import annotations

from syncline.backend.conflicts import CONFLICTS_TABLE_SQL
from syncline.backend.persisters.postgres.dead_letter_tables import WRITE_RESULTS_TABLE_SQL
from syncline.client import Column, Schema, Table
from syncline.client.rejections import rejections_table

__all__ = [
    "ALICE",
    "ALICES_LIST",
    "BOB",
    "BOBS_LIST",
    "CONFLICTS_TABLE",
    "LIST_NAME_CHARACTERS_MAX",
    "NAMES",
    "SCHEMA",
    "SEED_SQL",
    "SYNC_CONFIG",
    "TABLES_SQL",
]

ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
NAMES = {ALICE: "Alice", BOB: "Bob"}
ALICES_LIST = "11111111-0000-4000-8000-000000000001"
BOBS_LIST = "22222222-0000-4000-8000-000000000002"

LIST_NAME_CHARACTERS_MAX = 60  # a CHECK of Postgres, so that there is a rule to break
CONFLICTS_TABLE = "write_conflicts"

TABLES_SQL = f"""
CREATE TABLE lists (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now(),
  name text NOT NULL CHECK (length(name) <= {LIST_NAME_CHARACTERS_MAX}),
  owner_id uuid NOT NULL
);
CREATE TABLE todos (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  description text NOT NULL,
  completed boolean NOT NULL DEFAULT false,
  created_by uuid,
  completed_by uuid,
  list_id uuid NOT NULL,
  photo_id uuid
);
{WRITE_RESULTS_TABLE_SQL}
{CONFLICTS_TABLE_SQL}
CREATE PUBLICATION powersync FOR TABLE lists, todos, powersync_write_results, write_conflicts;
"""

SEED_SQL = f"""
INSERT INTO lists (id, name, owner_id) VALUES
  ('{ALICES_LIST}', 'Getting Started', '{ALICE}'),
  ('{BOBS_LIST}', 'Home repairs', '{BOB}');
INSERT INTO todos (description, list_id, created_by, created_at) VALUES
  ('Run the demo', '{ALICES_LIST}', '{ALICE}', now()),
  ('Write a first row', '{ALICES_LIST}', '{ALICE}', now() + interval '1 ms'),
  ('Mend the tap', '{BOBS_LIST}', '{BOB}', now());
"""  # noqa: S608 - only constants from above are put in

SYNC_CONFIG = """\
# Who sees what. Every device gets its user's lists, the todos in them, and what became of the user's writes.
config:
  edition: 3

streams:
  lists:
    auto_subscribe: true
    priority: 1
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  todos:
    auto_subscribe: true
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
  rejections:
    auto_subscribe: true
    query: SELECT * FROM powersync_write_results WHERE user_id = auth.user_id()
  conflicts:
    auto_subscribe: true
    query: SELECT * FROM write_conflicts WHERE user_id = auth.user_id()
"""

SCHEMA = Schema(
    [
        Table("lists", [Column.text("created_at"), Column.text("name"), Column.text("owner_id")]),
        Table(
            "todos",
            [
                Column.text("list_id"),
                Column.text("created_at"),
                Column.text("completed_at"),
                Column.text("description"),
                Column.text("created_by"),
                Column.text("completed_by"),
                Column.text("photo_id"),
                Column.integer("completed"),
            ],
            indexes={"list": ["list_id"]},
            track_previous=True,  # the backend tells by it what somebody else has changed meanwhile
            track_previous_only_when_changed=True,
        ),
        rejections_table(),
        Table(
            CONFLICTS_TABLE,
            [
                *(
                    Column.text(name)
                    for name in (
                        "user_id",
                        "table_name",
                        "row_id",
                        "conflict_type",
                        "client_data",
                        "server_data",
                        "created_at",
                    )
                ),
                Column.integer("resolved"),
            ],
        ),
    ]
)
