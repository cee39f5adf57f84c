-- Layout 3 of control.db. Only adds to layout 2: a process of the release before goes on beside it.

-- Sync configs that were deployed through the API; the newest counts.
CREATE TABLE deployment (
  number INTEGER PRIMARY KEY,      -- that of the version it asks for
  sync_config TEXT,                -- NULL: copy again what the service's configuration says
  deployed_ms INTEGER NOT NULL     -- milliseconds since 1970, as all times here
);

CREATE TABLE revocation (
  user_id BLOB PRIMARY KEY,        -- UTF-8 of a token's `sub`
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Who had streams open, added up by user, client and day.
CREATE TABLE connection_report (
  day INTEGER NOT NULL,            -- days since 1970, UTC
  user_id BLOB NOT NULL,           -- UTF-8
  client_id BLOB NOT NULL,
  user_agent TEXT NOT NULL,
  connected_ms INTEGER NOT NULL,
  disconnected_ms INTEGER,         -- NULL while a stream is open
  token_expires_s INTEGER NOT NULL,
  connections INTEGER NOT NULL,
  operations_sent INTEGER NOT NULL,
  bytes_sent INTEGER NOT NULL,
  PRIMARY KEY (day, user_id, client_id)
) WITHOUT ROWID;
CREATE INDEX connection_report_user ON connection_report (user_id, day);
