-- Layout 2: what administrators keep. Only adds to layout 1. Times are milliseconds since 1970.

-- Sync configs that were deployed through the API; the newest counts.
CREATE TABLE {schema}.deployment (
  number bigint PRIMARY KEY,                     -- that of the version it asks for
  sync_config text,                              -- NULL: copy again what the service's configuration says
  deployed_ms bigint NOT NULL
);

CREATE TABLE {schema}.revocation (
  user_id_hash bytea PRIMARY KEY,
  user_id bytea NOT NULL,                        -- UTF-8 of a token's `sub`
  until_ms bigint NOT NULL
);

-- Who had streams open, added up by user, client and day (days since 1970, UTC).
CREATE TABLE {schema}.connection_report (
  day integer NOT NULL,
  user_id_hash bytea NOT NULL,
  client_id_hash bytea NOT NULL,
  user_id bytea NOT NULL,
  client_id bytea NOT NULL,
  user_agent text NOT NULL,
  connected_ms bigint NOT NULL,
  disconnected_ms bigint,                        -- NULL while a stream is open
  token_expires_s bigint NOT NULL,
  connections bigint NOT NULL,
  operations_sent bigint NOT NULL,
  bytes_sent bigint NOT NULL,
  PRIMARY KEY (day, user_id_hash, client_id_hash)
);
CREATE INDEX connection_report_user ON {schema}.connection_report (user_id_hash, day);
