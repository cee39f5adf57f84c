"""Whose data a file holds: noticed at sign-in, so that nobody sees, or uploads, what belongs to somebody else."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import apsw

from syncline.client.attachments.table import count_pending_uploads, forget_all
from syncline.client.connector import BackendConnector, Credentials
from syncline.client.credentials import FETCH_TIMEOUT_S
from syncline.client.dead_letters import clear_dead_letters, count_dead_letters
from syncline.client.errors import AccountChanged, PendingWrites
from syncline.client.local import layout
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.retry import RetryPolicy
from syncline.client.schema import Schema

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["AccountChange", "GuardedConnector", "admit", "adopt", "change_owner", "clear_account", "hold", "owner"]

# Keys in `ps_kv`; an official SDK that clears the file forgets them with the data, as it should. An app's own ids and those in tokens
# may be of two kinds for one user (42, auth0|42): each is compared with its own, and with the other where that is all there is.
_APP_ID = "py_account"
_TOKEN_ID = "py_account_token"  # noqa: S105 - the name of a key

_log = logging.getLogger(__name__)


class AccountChange(enum.Enum):
    """What a sign-in means for the file."""

    FIRST = "first"  # the file had no owner; what is in it, such as writes from before the sign-in, is the new owner's
    SAME = "same"  # the owner again
    OTHER = "other"  # somebody else: the file was cleared


def owner(connection: apsw.Connection) -> str | None:
    """The user whose data the file holds, as the app names them, or else their token; None for nobody's."""
    return _get(connection, _APP_ID) or _get(connection, _TOKEN_ID)


def admit(
    connection: apsw.Connection, schema: Schema, user_id: str, *, clear_local: bool, discard_pending: bool = False
) -> AccountChange:
    """Make the file the user's, in one transaction: cleared where it was another's, as it is otherwise.

    Raises PendingWrites where that would lose writes of the other user.
    """
    _check_id(user_id)
    with write_transaction(connection, local_writes=False):
        current = owner(connection)
        if current == _get(connection, _APP_ID) == user_id:
            return AccountChange.SAME
        if current not in (None, user_id):
            clear_account(connection, schema, clear_local=clear_local, discard_pending=discard_pending)
        _set(connection, _APP_ID, user_id)
    if current == user_id:
        return AccountChange.SAME
    return AccountChange.FIRST if current is None else AccountChange.OTHER


def adopt(connection: apsw.Connection, token_id: str, *, vouched: bool) -> bool:
    """Make the file that of a token's user where it is nobody's; says whether it is theirs now. Clears nothing.

    `vouched`: the app has said whose connection this is, so a token that is seen for the first time is that user's.
    """
    _check_id(token_id)
    known = _get(connection, _TOKEN_ID)
    if known is not None:
        return known == token_id
    if not vouched and _get(connection, _APP_ID) not in (None, token_id):
        return False
    with write_transaction(connection, local_writes=False):
        _set(connection, _TOKEN_ID, token_id)
    return True


def hold(connection: apsw.Connection, user_id: str) -> bool:
    """Whether the file is still the user's whom a connection was made for; another process may have cleared it, or signed in.

    A file that was cleared meanwhile is made theirs again.
    """
    if owner(connection) is None:
        with write_transaction(connection, local_writes=False):
            _set(connection, _APP_ID, user_id)
    return _get(connection, _APP_ID) in (None, user_id)


def change_owner(
    connection: apsw.Connection, schema: Schema, token_id: str, *, app_id: str | None, clear_local: bool
) -> None:
    """Clear the file and make it the user's of a token, whom the app calls `app_id` where it has said so. Raises PendingWrites."""
    with write_transaction(connection, local_writes=False):
        clear_account(connection, schema, clear_local=clear_local, discard_pending=False)
        _set(connection, _TOKEN_ID, token_id)
        if app_id is not None:
            _set(connection, _APP_ID, app_id)


def clear_account(
    connection: apsw.Connection, schema: Schema, *, clear_local: bool, discard_pending: bool, soft: bool = False
) -> None:
    """Delete what was synced or queued, in the caller's write transaction; no stream may be open.

    Raises PendingWrites while local writes or files wait for their upload, unless `discard_pending`. Records of attachments are the
    account's even where local-only tables stay. `soft` keeps downloaded operations, and therefore remembers whose they are.
    """
    # What a backend refused is a user's work too.
    count = CrudQueue(connection).stats()[0] + count_dead_letters(connection)
    files = count_pending_uploads(connection, schema)
    if (count or files) and not discard_pending:
        raise PendingWrites(count, files=files)
    kept = {key: _get(connection, key) for key in (_APP_ID, _TOKEN_ID)} if soft else {}
    forget_all(connection, schema)
    clear_dead_letters(connection)
    layout.clear(connection, clear_local, soft=soft)
    for key, user_id in kept.items():
        if user_id is not None:
            _set(connection, key, user_id)


def _get(connection: apsw.Connection, key: str) -> str | None:
    for (value,) in connection.execute("SELECT value FROM ps_kv WHERE key = ?", (key,)):
        return str(value)
    return None


def _set(connection: apsw.Connection, key: str, user_id: str) -> None:
    connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (key, user_id))


def _check_id(user_id: str) -> None:
    if not user_id:
        raise ValueError("The user id is empty: pass None where nobody is signed in.")


class GuardedConnector(BackendConnector):
    """Hands on what a connector says, as soon as it is certain that it speaks for the owner of the file.

    With a known owner nothing is uploaded before the connector's credentials have told whose they are, where the app did not say so
    itself (`confirmed`). Credentials of another user are refused with AccountChanged, and `change_account` is called once: it has to
    stop this connection. Credentials without a user id pass.
    """

    def __init__(
        self,
        connector: BackendConnector,
        *,
        hold: Callable[[], Awaitable[bool]],
        adopt: Callable[[str], Awaitable[bool]],
        has_owner: Callable[[], Awaitable[bool]],
        change_account: Callable[[str], None],
        confirmed: bool,
    ) -> None:
        """`hold` says whether the file is still that of the user whom the app has named. `adopt` makes it that of a token's user where it
        is nobody's, and says whether it is theirs now.
        """
        self._connector = connector
        self._hold = hold
        self._adopt = adopt
        self._has_owner = has_owner
        self._change_account = change_account
        self._confirmed = confirmed
        self._refused = False

    @property
    def upload_retry(self) -> RetryPolicy | None:  # pyright: ignore[reportIncompatibleVariableOverride] - follows the app's
        """The connector's own."""
        return self._connector.upload_retry

    def __getattr__(self, name: str) -> Any:
        """Whatever else a connector has, for those who know it."""
        return getattr(self._connector, name)

    async def fetch_credentials(self) -> Credentials | None:
        """The connector's credentials. Raises AccountChanged."""
        await self._check_hold()
        credentials = await self._connector.fetch_credentials()
        if isinstance(credentials, Credentials):
            if credentials.user_id is not None:
                await self._check(credentials.user_id)
            self._confirmed = True
        return credentials

    @property
    def post_checkpoint_request(self) -> Callable[[str, int], Awaitable[int]] | None:
        """The connector's own way to request checkpoints, where it has one."""
        return getattr(self._connector, "post_checkpoint_request", None)

    async def upload_data(self, db: SyncDatabase) -> None:
        """Let the connector upload. Raises AccountChanged."""
        await self._check_hold()
        if not self._confirmed and await self._has_owner():
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                await self.fetch_credentials()
        await self._connector.upload_data(db)

    async def _check_hold(self) -> None:
        if not await self._hold():
            raise AccountChanged(elsewhere=True)

    async def _check(self, user_id: str) -> None:
        if not self._refused and await self._adopt(user_id):
            return
        if not self._refused:
            self._refused = True
            _log.warning("Another user has signed in; the connection is made anew.", extra={"event": "account_changed"})
            self._change_account(user_id)
        self._confirmed = False
        raise AccountChanged(elsewhere=False)
