"""MySQL and MariaDB: the persister with connections as uploads want them."""

from __future__ import annotations

from syncline.backend.dead_letters.letters import DeadLetterLimits
from syncline.backend.limits import POOL_CONNECTIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.persisters.sqlalchemy.persister import SQLAlchemyPersister
from syncline.errors import ConfigError

__all__ = ["MySQLPersister"]


class MySQLPersister(SQLAlchemyPersister):
    """Writes to MySQL 8 or newer, or MariaDB 10.6 or newer: `MySQLPersister("mysql://user:password@host/database")`.

    Needs the extra `mysql`. Connections are in strict mode, in UTC and in READ COMMITTED. Tables must be InnoDB. Raises ConfigError for
    another URL.
    """

    def __init__(
        self,
        url: str,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        transaction_seconds_max: float = TRANSACTION_SECONDS_MAX,
        dead_letter_limits: DeadLetterLimits | None = None,
    ) -> None:
        if not url.startswith(("mysql:", "mysql+", "mariadb:", "mariadb+")):
            raise ConfigError("This is no MySQL URL.", hint="mysql://user:password@host/database")
        super().__init__(
            url,
            connections_max=connections_max,
            transaction_seconds_max=transaction_seconds_max,
            dead_letter_limits=dead_letter_limits,
        )
