"""The statements that set up a source, by its kind. Facts: replication reference, 1 and 9; service configuration reference, 2."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SOURCE_KINDS", "SourceKind"]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of database: its name for people, its statements, and whether Syncline replicates it."""

    title: str
    statements: str
    is_supported: bool = False


_ROLE = """\
-- A role that can read and replicate, and nothing else. BYPASSRLS: what a user sees is decided by the sync config, not by row security.
CREATE ROLE syncline LOGIN REPLICATION BYPASSRLS PASSWORD 'choose-one';
GRANT USAGE ON SCHEMA public TO syncline;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO syncline;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO syncline;
"""
_PUBLICATION = """\
-- What is replicated. Only some tables: CREATE PUBLICATION powersync FOR TABLE lists, todos;
CREATE PUBLICATION powersync FOR ALL TABLES;
"""

SOURCE_KINDS = {
    "postgresql": SourceKind(
        "Postgres",
        f"""\
-- Postgres 14 or newer, as a superuser, in the database that is to be replicated.
ALTER SYSTEM SET wal_level = logical;
-- At most so much log is kept for a service that does not read it; then it copies everything again.
ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';
-- Restart the server now: wal_level is read when it starts.

{_ROLE}
{_PUBLICATION}""",
        is_supported=True,
    ),
    "supabase": SourceKind(
        "Supabase",
        f"""\
-- In the SQL editor. wal_level is logical already; the publication has to be made here too.
-- Connect directly (db.<project>.supabase.co, port 5432): a pooler cannot replicate.
{_ROLE}
{_PUBLICATION}""",
        is_supported=True,
    ),
    "mysql": SourceKind(
        "MySQL",
        """\
-- In my.cnf, then restart the server:
--   server-id = 1
--   log_bin = binlog
--   binlog_format = ROW
--   binlog_row_image = FULL
--   gtid_mode = ON
--   enforce_gtid_consistency = ON
CREATE USER 'syncline'@'%' IDENTIFIED BY 'choose-one';
GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO 'syncline'@'%';
GRANT SELECT, SHOW VIEW ON app.* TO 'syncline'@'%'; -- app: the database that is to be replicated
""",
    ),
    "mongodb": SourceKind(
        "MongoDB",
        """\
// A replica set or a sharded cluster; change streams need one. In mongosh:
use app // the database that is to be replicated
db.createCollection("_powersync_checkpoints")
db.createRole({
  role: "syncline",
  privileges: [
    { resource: { db: "app", collection: "" }, actions: ["find", "changeStream", "listCollections", "collStats"] },
    { resource: { db: "app", collection: "_powersync_checkpoints" }, actions: ["insert", "update", "remove"] },
  ],
  roles: [],
})
db.createUser({ user: "syncline", pwd: passwordPrompt(), roles: ["syncline"] })
// For whole documents in the change stream, each collection that is synced:
db.runCommand({ collMod: "lists", changeStreamPreAndPostImages: { enabled: true } })
""",
    ),
    "mssql": SourceKind(
        "SQL Server",
        """\
-- As a member of db_owner, in the database that is to be replicated. SQL Server Agent must run.
EXEC sys.sp_cdc_enable_db;
CREATE TABLE dbo._powersync_checkpoints (id int IDENTITY PRIMARY KEY, last_updated datetime NOT NULL DEFAULT GETDATE());
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'_powersync_checkpoints',
  @role_name = N'syncline_reader', @supports_net_changes = 0;
-- Each table that is synced:
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'lists',
  @role_name = N'syncline_reader', @supports_net_changes = 0;
CREATE LOGIN syncline WITH PASSWORD = 'choose-one';
CREATE USER syncline FOR LOGIN syncline;
ALTER ROLE db_datareader ADD MEMBER syncline;
ALTER ROLE syncline_reader ADD MEMBER syncline;
GRANT INSERT, UPDATE ON dbo._powersync_checkpoints TO syncline;
GRANT VIEW DATABASE STATE TO syncline;
""",
    ),
}
"""By what is written behind --type."""
