"""Is the source set up for replication? What is missing comes with the SQL that supplies it.

`check_source` asks for what replication cannot do without; the service repeats it while it runs, so it is one cheap query or two.
`setup_sql` is for whoever sets a source up: the same, and the role's rights, and room for a second slot, and a bound for the log that
slots keep. Facts: replication reference, 1 and 9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg

from syncline.errors import SourceNotReady
from syncline.replication.postgres.connection import Row

__all__ = ["MissingSetup", "SetupStep", "check_source", "missing_by_part", "missing_setup", "setup_sql"]

VERSION_MIN = 140000  # logical messages reach pgoutput from Postgres 14 on
SPARE_SLOTS = 2  # of ours: that of the version which serves, and that of its replacement while it is copied
SLOTS_AND_SENDERS_DEFAULT = 10  # Postgres' own default of both settings: what is written where fewer are needed
KEPT_LOG_MIN_MB = 1024  # MB of log below which a copy of any size is likely to lose its slot
KEPT_LOG_ADVISED_MB = 10 * 1024  # MB of log that we advise to keep at least

RESTART_NOTE = "-- Then restart the server: the settings above are read when it starts."
RELOAD = "SELECT pg_reload_conf();"


@dataclass(frozen=True, slots=True)
class SetupStep:
    """Something that the source lacks: why it is needed, in one sentence, and the statements that supply it."""

    problem: str
    statements: tuple[str, ...]
    code: str = "PSYNC_S1120"
    is_required: bool = True  # False: replication works without it, until something unusual happens
    needs_restart: bool = False  # of the server, after the statements


class MissingSetup(NamedTuple):
    """What a source lacks: settings of the server, the publication, room for slots and their log, rights of the role."""

    settings: list[SetupStep]
    publication: list[SetupStep]
    room: list[SetupStep]
    rights: list[SetupStep]


async def check_source(connection: psycopg.AsyncConnection[Row], publication: str) -> None:
    """Raise SourceNotReady where replication cannot work; its hint holds the SQL for everything that is missing."""
    steps = await _required(connection, publication)
    if steps:
        where = "Run on the source, then restart it:\n" if any(step.needs_restart for step in steps) else ""
        if not where and steps[0].code == "PSYNC_S1141":
            where = "Run on the source, as the owner of the tables:\n"
        statements = "\n".join(statement for step in steps for statement in step.statements)
        problem = " ".join(step.problem for step in steps)
        raise SourceNotReady(problem, code=steps[0].code, hint=where + statements)


async def missing_setup(
    connection: psycopg.AsyncConnection[Row], publication: str, *, slot_name_prefix: str
) -> list[SetupStep]:
    """Everything that a good set-up has and this source lacks, in the order in which it is to be run.

    `connection` is the service's own role's: its rights are looked at. `slot_name_prefix` tells our slots from others. Raises
    SourceNotReady for a version that cannot be used at all.
    """
    return [step for part in await missing_by_part(connection, publication, slot_name_prefix) for step in part]


async def missing_by_part(
    connection: psycopg.AsyncConnection[Row], publication: str, slot_name_prefix: str
) -> MissingSetup:
    """The same by what it is about. Raises SourceNotReady for a version that cannot be used at all."""
    _check_version(connection)
    return MissingSetup(
        settings=await _settings(connection),
        publication=await _publication(connection, publication),
        room=await _room(connection, slot_name_prefix),
        rights=await _rights(connection, publication),
    )


async def setup_sql(connection: psycopg.AsyncConnection[Row], publication: str, *, slot_name_prefix: str) -> str:
    """The SQL for `psql` that supplies exactly what is missing, with the reasons as comments; empty where nothing is."""
    return _printed(await missing_setup(connection, publication, slot_name_prefix=slot_name_prefix))


def _printed(steps: Sequence[SetupStep]) -> str:
    lines: list[str] = []
    for step in steps:
        lines += [f"-- {step.problem}", *step.statements]
    return "\n".join([*lines, RESTART_NOTE] if any(step.needs_restart for step in steps) else lines)


async def _required(connection: psycopg.AsyncConnection[Row], publication: str) -> list[SetupStep]:
    _check_version(connection)
    return [*await _settings(connection), *await _publication(connection, publication)]


def _check_version(connection: psycopg.AsyncConnection[Row]) -> None:
    version = connection.info.server_version
    if version < VERSION_MIN:
        raise SourceNotReady(
            f"The source runs Postgres {version // 10000}; 14 or newer is needed.",
            code="PSYNC_S1101",
            hint="Upgrade the source: older versions cannot put markers into the replication stream.",
        )


async def _settings(connection: psycopg.AsyncConnection[Row]) -> list[SetupStep]:
    cursor = await connection.execute(
        "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int"
    )
    row = await cursor.fetchone()
    assert row is not None
    wal_level, slots_max, senders_max = row
    steps: list[SetupStep] = []
    if wal_level != "logical":
        statement = "ALTER SYSTEM SET wal_level = 'logical';"
        text = f"The source's wal_level is {wal_level}; replication needs logical."
        steps.append(SetupStep(text, (statement,), needs_restart=True))
    for name, value in (("max_replication_slots", slots_max), ("max_wal_senders", senders_max)):
        if value < 1:
            statement = f"ALTER SYSTEM SET {name} = {SLOTS_AND_SENDERS_DEFAULT};"
            steps.append(
                SetupStep(f"The source's {name} is 0; replication needs one.", (statement,), needs_restart=True)
            )
    return steps


async def _publication(connection: psycopg.AsyncConnection[Row], publication: str) -> list[SetupStep]:
    cursor = await connection.execute(
        "SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s",
        (publication,),
    )
    row = await cursor.fetchone()
    name = _quoted(publication)
    if row is None:
        text = f"The source has no publication named {publication}."
        return [SetupStep(text, (f"CREATE PUBLICATION {name} FOR ALL TABLES;",), code="PSYNC_S1141")]
    missing = [kind for kind, there in zip(("insert", "update", "delete", "truncate"), row, strict=False) if not there]
    steps: list[SetupStep] = []
    if missing:
        text = f"The publication {publication} does not publish {', '.join(missing)}."
        statement = f"ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate');"
        steps.append(SetupStep(text, (statement,), code="PSYNC_S1142"))
    if row[4]:
        text = f"The publication {publication} has publish_via_partition_root, which hides the partitions."
        statement = f"ALTER PUBLICATION {name} SET (publish_via_partition_root = false);"
        steps.append(SetupStep(text, (statement,), code="PSYNC_S1143"))
    return steps


def _quoted(name: str) -> str:
    """A name as SQL; plain where it may be, for people read it."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


async def _room(connection: psycopg.AsyncConnection[Row], slot_name_prefix: str) -> list[SetupStep]:
    """Slots and walsenders beside those of others, and a bound for the log that slots keep."""
    cursor = await connection.execute(
        "SELECT count(*), current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int,"
        " (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),"
        " pg_database_size(current_database()) / 1048576"
        " FROM pg_replication_slots WHERE NOT starts_with(slot_name, %s)",
        (slot_name_prefix,),
    )
    row = await cursor.fetchone()
    assert row is not None
    others, slots_max, senders_max, kept_mb, database_mb = row
    needed = others + SPARE_SLOTS
    steps: list[SetupStep] = []
    for name, value in (("max_replication_slots", slots_max), ("max_wal_senders", senders_max)):
        if 0 < value < needed:
            text = f"The source's {name} is {value}; {others} slots of others and {SPARE_SLOTS} of ours have to fit."
            statement = f"ALTER SYSTEM SET {name} = {max(needed, SLOTS_AND_SENDERS_DEFAULT)};"
            steps.append(SetupStep(text, (statement,), is_required=False, needs_restart=True))
    if kept_mb < KEPT_LOG_MIN_MB:
        advised_gb = max(KEPT_LOG_ADVISED_MB, database_mb) // 1024
        why = (
            "has no limit: while the service is down, its slot can fill the disk"
            if kept_mb == -1
            else f"is {kept_mb} MB: a slot that needs more log while tables are copied is lost, and the copy begins again"
        )
        statement = f"ALTER SYSTEM SET max_slot_wal_keep_size = '{advised_gb}GB';"
        steps.append(SetupStep(f"The source's max_slot_wal_keep_size {why}.", (statement, RELOAD), is_required=False))
    return steps


_READABLE = """
SELECT format('%%I.%%I', schemaname, tablename), has_table_privilege(format('%%I.%%I', schemaname, tablename), 'SELECT'),
       row_security_active(format('%%I.%%I', schemaname, tablename))
  FROM pg_publication_tables WHERE pubname = %s ORDER BY 1
"""


async def _rights(connection: psycopg.AsyncConnection[Row], publication: str) -> list[SetupStep]:
    """What the connection's own role may not do. A hosted Postgres may give the right to replicate by membership in a role."""
    cursor = await connection.execute(
        "SELECT quote_ident(rolname), rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_roles AS given"
        " WHERE given.rolname = 'rds_replication' AND pg_has_role(given.oid, 'MEMBER')) FROM pg_roles WHERE rolname = current_user"
    )
    row = await cursor.fetchone()
    assert row is not None
    role, may_replicate = row
    steps: list[SetupStep] = []
    if not may_replicate:
        steps.append(SetupStep(f"The role {role} may not replicate.", (f"ALTER ROLE {role} WITH REPLICATION;",)))
    tables = await (await connection.execute(_READABLE, (publication,))).fetchall()
    hidden = [name for name, may_read, _ in tables if not may_read]
    if hidden:
        grants = tuple(f"GRANT SELECT ON {name} TO {role};" for name in hidden)
        steps.append(SetupStep(f"The role {role} may not read {len(hidden)} of the published tables.", grants))
    if any(filtered for _, _, filtered in tables):
        text = f"Row-level security hides rows of published tables from the role {role}."
        steps.append(SetupStep(text, (f"ALTER ROLE {role} BYPASSRLS;",), code="PSYNC_S1145"))
    return steps
