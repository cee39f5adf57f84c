-- The source: ordinary tables. Ids come from the devices, and every row has an owner. Run it once:  psql "$PS_SOURCE_URI" -f tables.sql
CREATE TABLE lists (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  owner_id text NOT NULL
);
CREATE TABLE todos (
  id uuid PRIMARY KEY,
  list_id uuid REFERENCES lists ON DELETE CASCADE,
  title text NOT NULL,
  done boolean NOT NULL DEFAULT false,
  owner_id text NOT NULL
);
CREATE PUBLICATION powersync FOR TABLE lists, todos;
