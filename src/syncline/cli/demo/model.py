"""The canonical todo app: tables in Postgres, who sees what, and the schema of the devices."""

from __future__ import annotations

from syncline.client import Column, Schema, Table

__all__ = ["ALICE", "BOB", "NAMES", "SCHEMA", "SOURCE_SQL", "SYNC_CONFIG"]

ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
NAMES = {ALICE: "Alice", BOB: "Bob"}

SOURCE_SQL = f"""
CREATE TABLE lists (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now(),
  name text NOT NULL,
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
CREATE PUBLICATION powersync FOR TABLE lists, todos;
INSERT INTO lists (id, name, owner_id) VALUES
  ('11111111-0000-4000-8000-000000000001', 'Getting Started', '{ALICE}'),
  ('22222222-0000-4000-8000-000000000002', 'Home repairs', '{BOB}');
INSERT INTO todos (description, list_id, created_by) VALUES
  ('Run the demo', '11111111-0000-4000-8000-000000000001', '{ALICE}'),
  ('Write a first row', '11111111-0000-4000-8000-000000000001', '{ALICE}'),
  ('Mend the tap', '22222222-0000-4000-8000-000000000002', '{BOB}');
"""  # noqa: S608 - only the two constants above are put in

SYNC_CONFIG = """\
# Who sees what. Every device gets its user's lists, and the todos in them.
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
                Column.integer("completed"),
            ],
            indexes={"list": ["list_id"]},
        ),
    ]
)
