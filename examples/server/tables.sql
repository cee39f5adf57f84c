-- The source: ordinary tables. Ids come from the devices, and every row has an owner.
CREATE TABLE lists (
  id uuid PRIMARY KEY,
  name text NOT NULL CHECK (name <> ''),
  owner_id text NOT NULL
);
CREATE TABLE todos (
  id uuid PRIMARY KEY,
  list_id uuid REFERENCES lists ON DELETE CASCADE,
  title text NOT NULL,
  done boolean NOT NULL DEFAULT false,
  due timestamptz,
  photo_id text,
  owner_id text NOT NULL
);
CREATE TABLE notes (
  id uuid PRIMARY KEY,
  list_id uuid REFERENCES lists ON DELETE CASCADE,
  text text NOT NULL,
  owner_id text NOT NULL
);
CREATE TABLE history (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  event text NOT NULL,
  owner_id text NOT NULL
);
CREATE TABLE readings (  -- comes from gateways, and goes to no device: it is not published
  id uuid PRIMARY KEY,
  sensor text NOT NULL,
  value double precision NOT NULL,
  batch integer NOT NULL,
  measured_at timestamptz NOT NULL,
  owner_id text NOT NULL
);
CREATE PUBLICATION powersync FOR TABLE lists, todos, notes, history;

INSERT INTO lists VALUES (gen_random_uuid(), 'Getting started', 'alice');
INSERT INTO history (event, owner_id) SELECT 'Something happened, for the ' || n || 'th time', 'alice' FROM generate_series(1, 10000) n;
