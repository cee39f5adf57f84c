"""The endpoints of dead letters: a user's own by default, all of them for whom `SyncBackend(dead_letters_admin=…)` accepts.

Somebody else's letter looks as if it were not there. Claims of tokens are never answered.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import msgspec

from syncline.backend.dead_letters.handling import DeadLetterSettled, DeadLetterUnknown
from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterFilter, DeadLetterState
from syncline.backend.http.messages import BackendResponse, json_response, message_response
from syncline.backend.http.routing import Call, Route
from syncline.backend.limits import DEAD_LETTERS_LISTED_MAX
from syncline.backend.ownership import claim_of
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import ConfigError, RequestInvalid
from syncline.protocol.crud import CrudTransaction, TransactionResult

__all__ = ["DEAD_LETTER_ROUTES", "DeadLetterDocument", "DeadLetterPage", "IsAdmin", "holds_claim"]

IsAdmin = Callable[[AuthenticatedUser], bool]
"""Whether a user may see and settle the letters of all users."""

_NO_STORE = {"cache-control": "no-store"}


def holds_claim(name: str, value: str) -> IsAdmin:
    """Users whose token has `value` in a claim, or in its list: `dead_letters_admin=holds_claim("app_metadata.role", "admin")`."""

    def is_admin(user: AuthenticatedUser) -> bool:
        held = claim_of(user.claims, name)
        return held == value or (isinstance(held, list) and value in cast("list[Any]", held))

    return is_admin


class DeadLetterDocument(msgspec.Struct, omit_defaults=True):
    """A letter as it is answered; names as in `DeadLetter`."""

    id: str
    state: DeadLetterState
    created_at: datetime
    user_id: str
    client_id: str | None
    code: str
    message: str
    transaction: CrudTransaction
    details: Any = None
    operation_index: int | None = None
    settled_at: datetime | None = None
    occurrences: int = 1
    last_at: datetime | None = None
    retries: int = 0


class DeadLetterPage(msgspec.Struct):
    """Letters, oldest first. `next` is for `?after=`; null once there are no more."""

    letters: list[DeadLetterDocument]
    next: str | None


async def answer_list(call: Call) -> BackendResponse:
    """A page of letters. `?state=`, `?code=`, `?client_id=`, `?after=`, `?limit=`; for admins `?user_id=` and `?all=true`."""
    query = {name: _text(value) for name, value in call.request.query.items()}
    user_id: str | None = call.user.user_id
    if query.get("all") == "true" or query.get("user_id", user_id) != user_id:
        if not call.backend.may_see_all_letters(call.user):
            return message_response(403, "Only an admin may see the dead letters of others.")
        user_id = query.get("user_id")
    where = DeadLetterFilter(
        user_id=user_id, client_id=query.get("client_id"), state=_state(query.get("state")), code=query.get("code")
    )
    try:
        letters = await call.backend.dead_letters.list(
            where, after=query.get("after", ""), limit=_limit(query.get("limit"))
        )
    except ConfigError as exc:
        return message_response(404, exc.message)
    page = DeadLetterPage([_document(letter) for letter in letters], letters[-1].id if letters else None)
    return json_response(page, headers=_NO_STORE)


async def answer_one(call: Call) -> BackendResponse:
    """One letter."""
    try:
        return json_response(_document(await _visible(call)), headers=_NO_STORE)
    except (ConfigError, DeadLetterUnknown) as exc:
        return message_response(404, str(exc))


async def answer_retry(call: Call) -> BackendResponse:
    """Apply a letter's transaction again; the verdict, always with 200. A user's own is judged by the token of this request."""
    try:
        letter = await _visible(call)
        claims = call.user.claims if letter.user_id == call.user.user_id else None
        return json_response(await call.backend.dead_letters.retry(letter.id, claims=claims))
    except (ConfigError, DeadLetterUnknown) as exc:
        return message_response(404, str(exc))
    except DeadLetterSettled as exc:
        return message_response(409, str(exc))


async def answer_discard(call: Call) -> BackendResponse:
    """Give a letter up; the letter as it is then."""
    try:
        letter = await _visible(call)
        return json_response(_document(await call.backend.dead_letters.discard(letter.id)), headers=_NO_STORE)
    except (ConfigError, DeadLetterUnknown) as exc:
        return message_response(404, str(exc))
    except DeadLetterSettled as exc:
        return message_response(409, str(exc))


async def _visible(call: Call) -> DeadLetter:
    """The letter of the path. Raises DeadLetterUnknown for none, and for somebody else's."""
    letter = await call.backend.dead_letters.get(_text(call.parameters["id"]))
    if letter is None or (letter.user_id != call.user.user_id and not call.backend.may_see_all_letters(call.user)):
        raise DeadLetterUnknown
    return letter


def _document(letter: DeadLetter) -> DeadLetterDocument:
    return DeadLetterDocument(**{name: getattr(letter, name) for name in DeadLetterDocument.__struct_fields__})


def _text(text: str) -> str:
    """Refuses what no database can look for. Raises RequestInvalid."""
    if "\0" in text:
        raise RequestInvalid(["no parameter may have a zero character"])
    return text


def _state(text: str | None) -> DeadLetterState | None:
    try:
        return None if text is None else DeadLetterState(text)
    except ValueError:
        raise RequestInvalid([f"state must be one of {', '.join(DeadLetterState)}"]) from None


def _limit(text: str | None) -> int:
    if text is None:
        return DEAD_LETTERS_LISTED_MAX
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= DEAD_LETTERS_LISTED_MAX):
        raise RequestInvalid([f"limit must be 1 to {DEAD_LETTERS_LISTED_MAX}"])
    return int(text)


DEAD_LETTER_ROUTES = (
    Route(
        "GET",
        "/api/dead-letters",
        answer_list,
        "Refused transactions, a page at a time",
        answers=DeadLetterPage,
        statuses=(200, 400, 403, 404, 503),
        query=(
            ("state", "open, retried or discarded"),
            ("code", "The error code of the refusal"),
            ("client_id", "The device that sent it"),
            ("after", "`next` of the page before"),
            ("limit", f"Letters of a page, 1 to {DEAD_LETTERS_LISTED_MAX}"),
            ("user_id", "For admins: letters of one user"),
            ("all", "For admins: `true` for the letters of all users"),
        ),
    ),
    Route(
        "GET",
        "/api/dead-letters/{id}",
        answer_one,
        "One refused transaction",
        answers=DeadLetterDocument,
        statuses=(200, 400, 404, 503),
    ),
    Route(
        "POST",
        "/api/dead-letters/{id}/retry",
        answer_retry,
        "Apply a refused transaction again",
        body_bytes_max=0,
        answers=TransactionResult,
        statuses=(200, 400, 404, 409, 503),
    ),
    Route(
        "POST",
        "/api/dead-letters/{id}/discard",
        answer_discard,
        "Give a refused transaction up",
        body_bytes_max=0,
        answers=DeadLetterDocument,
        statuses=(200, 400, 404, 409, 503),
    ),
)
