-- The todo model of the field's demos.
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

INSERT INTO lists (id, name, owner_id)
  VALUES ('11111111-0000-4000-8000-000000000001', 'Getting Started', 'a11ce000-0000-4000-8000-000000000001');
INSERT INTO todos (description, list_id, completed) VALUES
  ('Start the server', '11111111-0000-4000-8000-000000000001', true),
  ('Write a todo here, and look for it in Postgres', '11111111-0000-4000-8000-000000000001', false);
