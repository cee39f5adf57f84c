-- The source: the app's tables. Those of the login are not published, so no device can ever get them.
CREATE TABLE IF NOT EXISTS lists (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  owner_id text NOT NULL
);
CREATE TABLE IF NOT EXISTS todos (
  id uuid PRIMARY KEY,
  list_id uuid NOT NULL REFERENCES lists ON DELETE CASCADE,
  title text NOT NULL,
  done boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS accounts (
  name text PRIMARY KEY,
  salt bytea NOT NULL,
  password bytea NOT NULL  -- scrypt
);
CREATE TABLE IF NOT EXISTS logins (
  token bytea PRIMARY KEY,  -- SHA-256: who reads this table cannot sign in with it
  name text NOT NULL REFERENCES accounts ON DELETE CASCADE
);
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'powersync') THEN
    CREATE PUBLICATION powersync FOR TABLE lists, todos;
  END IF;
END $$;
