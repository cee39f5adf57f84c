"""MySQL and MariaDB: strict mode, exact comparison whatever the collation is, times without `Z`, errors by number."""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.limits import BODY_BYTES_MAX
from syncline.backend.persisters import device_values
from syncline.backend.persisters.base import RetryLater
from syncline.backend.persisters.sqlalchemy.databases.base import (
    UNCLASSIFIED,
    USER_ID_CHARACTERS_MAX,
    Database,
    Expression,
)
from syncline.backend.persisters.sqlalchemy.tables import Column, ColumnKind, Table
from syncline.errors import ConfigError

__all__ = ["SESSION_SQL", "MySQLDatabase"]

log = logging.getLogger(__name__)

SESSION_SQL = (
    "SET time_zone = '+00:00', sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES'),"
    " innodb_lock_wait_timeout = {lock_seconds}"
)
"""What a connection of our own begins with. In strict mode a value that does not fit is an error, not a shorter value."""

_COLUMNS = sa.text(
    "SELECT c.column_name, c.data_type, c.column_type, c.extra, t.engine FROM information_schema.columns c"
    " JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
    " WHERE c.table_schema = DATABASE() AND c.table_name = :name ORDER BY c.ordinal_position"
)
_JSON_CHECKS = sa.text(
    "SELECT constraint_name FROM information_schema.check_constraints"
    " WHERE constraint_schema = DATABASE() AND table_name = :name AND check_clause LIKE 'json_valid(%'"
)
_KINDS = (
    dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), ColumnKind.INTEGER)
    | dict.fromkeys(("float", "double"), ColumnKind.REAL)
    | dict.fromkeys(("datetime", "timestamp"), ColumnKind.TIMESTAMP)
    | dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), ColumnKind.TEXT)
    | dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), ColumnKind.BYTES)
    | {"decimal": ColumnKind.DECIMAL, "date": ColumnKind.DATE, "time": ColumnKind.TIME, "json": ColumnKind.JSON}
)
_FLAGS = ("tinyint(1)", "bit(1)")  # how booleans are declared
_WITHOUT_TRANSACTIONS = frozenset({"myisam", "aria", "memory", "csv", "archive", "blackhole", "merge", "mrg_myisam"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_CONFLICTS = frozenset({1213, 1020})  # deadlock; MariaDB: the row has changed since the snapshot
_CODES = (
    dict.fromkeys((1048, 1364, 1263), "NOT_NULL_VIOLATION")
    | dict.fromkeys((1062, 1169, 1586), "UNIQUE_VIOLATION")
    | dict.fromkeys((1216, 1217, 1451, 1452), "FOREIGN_KEY_VIOLATION")
    | dict.fromkeys((3819, 4025), "CHECK_VIOLATION")
    | dict.fromkeys((1369, 1557, 1761, 1762), "CONSTRAINT_VIOLATION")
    | dict.fromkeys(
        (1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1426, 1441, 1525, 1690, 1918, 3140, 3141, 3143, 3156, 4078),
        "INVALID_DATA",
    )
    | dict.fromkeys((1054, 1109, 1146, 1136, 1906, 3105), "SCHEMA_MISMATCH")
    | dict.fromkeys((1142, 1143, 1227, 1370), "UNAUTHORIZED")
)
# Waits, resources, a server that goes down or is for reading at the moment, and whatever the driver says of the connection (2000-2999).
_PASSING = frozenset(
    {1021, 1037, 1038, 1040, 1041, 1044, 1045, 1053, 1077, 1114, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1180, 1203}
    | {1205, 1213, 1020, 1226, 1290, 1317, 1614, 1615, 1792, 1836, 1927, 1969, 3024, 3032, 3100, 3101, 3168, 3572}
)

_SIGNAL, _NUMBERS_OF_THE_APP = 1644, 10_000


class MySQLDatabase(Database):
    """See `Database`. `is_prepared`: the engine's connections begin with SESSION_SQL, and in READ COMMITTED."""

    def __init__(self, *, is_prepared: bool) -> None:
        # In REPEATABLE READ a query sees the rows of the first one, a write those of now: a guard would judge an old row.
        self.isolation_level = None if is_prepared else "READ COMMITTED"
        self._is_mariadb = False

    async def prepare(self, connection: AsyncConnection) -> None:
        """Refuse a server, or an engine of the app's, that cuts values instead of refusing them."""
        self._is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
        mode = str((await connection.execute(sa.text("SELECT @@sql_mode"))).scalar_one())
        if "STRICT_" not in mode and "TRADITIONAL" not in mode:
            raise ConfigError(
                "The MySQL connections are not in strict mode: a value that does not fit would be cut, and nobody told.",
                hint="Add STRICT_ALL_TABLES to sql_mode, or give SQLAlchemyPersister the URL instead of the engine.",
            )
        packet_bytes = int((await connection.execute(sa.text("SELECT @@max_allowed_packet"))).scalar_one())
        if packet_bytes < 2 * BODY_BYTES_MAX:
            log.warning(
                "max_allowed_packet of the MySQL server is %d: a large upload, or its dead letter, will not go through",
                packet_bytes,
                extra={"event": "backend.small_packets", "hint": f"Set it to {2 * BODY_BYTES_MAX} or more."},
            )

    def key_type(self) -> sa.types.TypeEngine[str]:
        """Compared by code points, spaces at the end included."""
        return mysql.VARCHAR(USER_ID_CHARACTERS_MAX, charset="utf8mb4", collation=self._collation)

    def text_type(self) -> sa.types.TypeEngine[str]:
        """TEXT ends at 64 KiB."""
        return mysql.LONGTEXT(charset="utf8mb4", collation=self._collation)

    def time_type(self) -> sa.types.TypeEngine[datetime]:
        """DATETIME alone has no fractions of a second."""
        return mysql.DATETIME(fsp=6)

    def letter_id_type(self) -> sa.types.TypeEngine[str]:
        """Sorted by bytes."""
        return mysql.VARCHAR(36, charset="ascii", collation="ascii_bin")

    @property
    def _collation(self) -> str:
        return "utf8mb4_nopad_bin" if self._is_mariadb else "utf8mb4_0900_bin"

    async def lock_device(self, connection: AsyncConnection, devices: sa.Table, user_id: str, client_id: str) -> None:
        """In one statement that asks for the exclusive lock at once: a failed INSERT would hold a shared one, and deadlock."""
        insert = mysql.insert(devices).values(user_id=user_id, client_id=client_id)
        await connection.execute(insert.on_duplicate_key_update(client_id=insert.inserted.client_id))

    async def read_table(self, connection: AsyncConnection, name: str) -> Table | None:
        """A table of the connection's database. Raises RetryLater for one that knows no transactions."""
        rows = (await connection.execute(_COLUMNS, {"name": name})).all()
        if not rows:
            return None
        if str(rows[0][4]).lower() in _WITHOUT_TRANSACTIONS:
            log.error("%s cannot take part in transactions: ALTER TABLE %s ENGINE = InnoDB", name, name)
            raise RetryLater(f"The table {name} of this backend cannot take part in transactions.")
        json_columns = await self._json_columns(connection, name) if self._is_mariadb else set[str]()
        return Table(name, [_column([str(part) for part in row], json_columns) for row in rows])

    async def _json_columns(self, connection: AsyncConnection, name: str) -> set[str]:
        """MariaDB has no JSON: such a column is a text with a check, which bears the column's name."""
        return {str(column) for (column,) in await connection.execute(_JSON_CHECKS, {"name": name})}

    def value(self, column: Column, value: Any) -> Any:
        """Numbers as numbers: compared with a text, MySQL would take 'abc' for 0."""
        if column.kind is ColumnKind.BOOLEAN:
            return _flag(value)
        if column.kind is ColumnKind.TIMESTAMP:
            return device_values.instant(value).strftime("%Y-%m-%d %H:%M:%S.%f")
        if column.kind is ColumnKind.BYTES and isinstance(value, str) and _UUID.fullmatch(value):
            return uuid.UUID(value).bytes  # binary(16); no base64 has a dash
        return super().value(column, value)

    def expression(self, column: Column, value: Any) -> Expression:
        """A TIMESTAMP is read by the zone of the connection, which an engine of the app's may have set."""
        expression = super().expression(column, value)
        if column.has_zone and value is not None:
            return sa.func.convert_tz(expression, "+00:00", sa.literal_column("@@session.time_zone"))
        return expression

    def equal(self, element: Expression, column: Column, value: Any) -> Expression:
        """Plainly, for the index, and by code points: to most collations 'Ann' is 'ann', and 'ann ' too."""
        expression = self.expression(column, value)
        if column.kind is not ColumnKind.TEXT:
            return element == expression
        return sa.and_(element == expression, _exactly(element) == _exactly(expression))

    def undone_alone(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        """Needs nothing here: a statement that fails leaves the transaction as it was."""
        del connection
        return contextlib.nullcontext()

    def selected(self, element: Expression, column: Column) -> Expression:
        """Instants in UTC."""
        if column.has_zone:
            return sa.func.convert_tz(element, sa.literal_column("@@session.time_zone"), "+00:00")
        return element

    def device_value(self, value: Any, column: Column) -> Any:
        """BIT is read as bytes, TIME as a duration."""
        if isinstance(value, bytes) and column.kind in (ColumnKind.BOOLEAN, ColumnKind.INTEGER):
            return int.from_bytes(value, "big")
        if isinstance(value, timedelta):
            return str((datetime.min + value).time()) if timedelta(0) <= value < timedelta(days=1) else str(value)
        return super().device_value(value, column)

    def is_conflict(self, exc: DBAPIError) -> bool:
        """By number."""
        return _number(exc) in _CONFLICTS

    def refusal_code(self, exc: DBAPIError) -> str | None:
        """By number; what the app's own triggers signal is fatal, and not classified."""
        number = _number(exc)
        if number in _CODES:
            return _CODES[number]
        passing = exc.connection_invalidated or number is None or number in _PASSING or 2000 <= number < 3000
        return None if passing else UNCLASSIFIED

    def is_deliberate(self, exc: DBAPIError) -> bool:
        """SIGNAL, with its own number or one that the app chose beyond the server's."""
        number = _number(exc) or 0
        return number == _SIGNAL or number >= _NUMBERS_OF_THE_APP

    def detail(self, exc: DBAPIError) -> str:
        """The number, and the name of a key or constraint, which stands behind the last value that the text quotes."""
        number = _number(exc)
        assert exc.orig is not None
        named = re.search(r"for key '([^']*)'$|CONSTRAINT `([^`]*)`", str(exc.orig.args[-1]))
        return ", ".join(str(part) for part in (number, *(named.groups() if named else ())) if part)


def _column(row: list[str], json_columns: set[str]) -> Column:
    name, data_type, column_type, extra, _ = row
    data_type, column_type = "json" if name in json_columns else data_type.lower(), column_type.lower()
    kind = ColumnKind.BOOLEAN if column_type in _FLAGS else _KINDS.get(data_type, ColumnKind.OTHER)
    generated = any(word in extra.upper() for word in ("VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT GENERATED"))
    return Column(name, kind, data_type, generated=generated, has_zone=data_type == "timestamp")


def _flag(value: Any) -> int:
    """tinyint(1) holds small numbers too."""
    try:
        return int(device_values.flag(value))
    except ValueError:
        return device_values.whole(value)


def _exactly(element: Expression) -> Expression:
    return sa.cast(sa.cast(element, mysql.CHAR(charset="utf8mb4")), sa.BINARY())


def _number(exc: DBAPIError) -> int | None:
    arguments = cast("tuple[Any, ...]", exc.orig.args if exc.orig is not None else ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None
