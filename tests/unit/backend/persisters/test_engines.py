from __future__ import annotations

import builtins
from typing import Any

import pytest

from syncline.backend.persisters.sqlalchemy import MySQLPersister, SQLitePersister
from syncline.backend.persisters.sqlalchemy.engines import make_engine
from syncline.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("mysql://root:pw@127.0.0.1/app", "asyncmy"),
        ("mariadb://root@127.0.0.1/app", "asyncmy"),
        ("postgresql://ann@127.0.0.1/app", "psycopg"),
        ("sqlite:////tmp/app.db", "aiosqlite"),
        ("postgresql+psycopg://ann@127.0.0.1/app", "psycopg"),
    ],
)
def test_a_url_without_a_driver_gets_the_tested_one(url: str, driver: str) -> None:
    assert make_engine(url, connections_max=1, seconds_max=1).dialect.driver == driver


@pytest.mark.parametrize("url", ["", "no url", "mysql"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="no database URL"):
        make_engine(url, connections_max=1, seconds_max=1)


@pytest.mark.parametrize("url", ["mysql+pymysql://127.0.0.1/app", "sqlite+pysqlite:////tmp/a.db", "nothing+none://x/y"])
def test_a_driver_that_is_not_async_is_told(url: str) -> None:
    with pytest.raises(ConfigError):
        make_engine(url, connections_max=1, seconds_max=1)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_sqlite_needs_a_file(path: str) -> None:
    with pytest.raises(ConfigError, match="in memory"):
        SQLitePersister(path)


def test_another_database_is_no_mysql() -> None:
    with pytest.raises(ConfigError, match="no MySQL URL"):
        MySQLPersister("postgresql://127.0.0.1/app")


def test_a_driver_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_asyncmy(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "asyncmy":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_asyncmy)
    with pytest.raises(ConfigError) as caught:
        make_engine("mysql://127.0.0.1/app", connections_max=1, seconds_max=1)
    assert "syncline[backend,mysql]" in caught.value.hint
