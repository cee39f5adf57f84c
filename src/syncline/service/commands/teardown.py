"""`syncline teardown TEARDOWN`: drop the replication slots and remove bucket storage. Nothing of the source's data is touched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from syncline import __version__
from syncline.errors import ConfigError, SourceError, StorageUnavailable
from syncline.replication.postgres.source import PostgresSource
from syncline.service.config import ServiceConfig
from syncline.service.conninfo import conninfo
from syncline.service.storage_admin import StorageAdmin, open_admin

__all__ = ["check_word", "teardown"]

WORD = "TEARDOWN"


def check_word(word: str | None) -> None:
    """Raise ConfigError (PSYNC_S0102) unless the word is the one that says that it is meant."""
    if word != WORD:
        raise ConfigError(
            "Teardown was not acknowledged.",
            code="PSYNC_S0102",
            hint=f"It drops the replication slots and removes bucket storage. If that is meant: syncline teardown {WORD}",
        )


def teardown(config: ServiceConfig, tell: Callable[[str], None]) -> None:
    """Slots first: their names are in storage. Where one cannot be dropped, storage stays, and the command can be repeated.

    Raises StorageUnavailable where nothing is stored, or (PSYNC_S1003) while a service replicates; SourceUnavailable.
    """
    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        if admin.stored_layout() == 0:
            raise StorageUnavailable(f"{admin.name} is empty: there is nothing to tear down.")
        slots = _slots(admin)
        asyncio.run(_drop_slots(conninfo(config.source, closing), slots, tell))
        admin.migrate_down(0)
        tell(f"{admin.name} was removed.")


def _slots(admin: StorageAdmin) -> list[str]:
    with contextlib.closing(admin.open().open_writer()) as writer:
        return [version.slot_name for version in writer.versions()]


async def _drop_slots(source_conninfo: str, slots: list[str], tell: Callable[[str], None]) -> None:
    source = PostgresSource(source_conninfo, application_name=f"syncline/{__version__} teardown")
    try:
        for slot in slots:
            await source.drop_slot(slot)
            tell(f"The replication slot {slot} was dropped.")
    except SourceError as exc:
        statements = "\n".join(f"SELECT pg_drop_replication_slot('{slot}');" for slot in slots)
        hint = f"Nothing was removed. Once the source can be reached, try again, or run on it what drops the slots:\n{statements}"
        raise type(exc)(exc.message, code=exc.error_code, hint=f"{exc.hint}\n{hint}".strip()) from exc
    finally:
        await source.close()
