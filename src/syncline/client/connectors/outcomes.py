"""PURE: what a backend has said about a transaction, and how an HTTP answer is read.

Few cases, so that a connector cannot forget one: a transaction was accepted, refused, left to the app, or it is unsettled and will be
sent again. Only the first three can leave the queue. Which status means what: write path reference, 3, "Poison transactions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncline.client.connectors.backend_client import Answer
from syncline.client.dead_letters import Refusal
from syncline.client.errors import ServiceError

__all__ = [
    "NEVER_PERMANENT",
    "Accepted",
    "LeftToApp",
    "Outcome",
    "Rejected",
    "RequestTooLarge",
    "Skipped",
    "Unsettled",
    "refusal_in_body",
    "refusal_of_status",
    "require_success",
]

NEVER_PERMANENT = frozenset({401, 403, 407, 408, 425, 429})
"""4xx statuses that say nothing about the writes: who asks, when, and through what. The transaction is kept."""

_HINTS = {
    403: "The writes stay in the queue. Compare the user's rights and the token's claims with what the backend wants.",
    404: "Is this the right address, and has the backend this route? Nothing was taken off the queue.",
    405: "Is this the right address, and does its route take this method? Nothing was taken off the queue.",
    413: "One transaction alone is too large for the backend: raise its limit on the size of a request.",
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """One entry that the backend refused while it took the others; `index` counts from 0 within the transaction."""

    index: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Accepted:
    """The backend has the transaction for good, except what it `skipped`."""

    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The backend will never take the transaction.

    `closed`: it wants nothing more of the device, so the refusal cannot block. `kept`: it says that it keeps the transaction durably.
    `applied`: so many entries at its beginning are in effect nevertheless, because this backend takes single entries.
    """

    refusal: Refusal
    closed: bool = False
    kept: bool = False
    applied: int = 0


@dataclass(frozen=True, slots=True)
class LeftToApp:
    """The backend wants the app to decide: give the transaction up, or keep it."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Not taken, or nobody knows: it stays in the queue, and `error` is shown until the next attempt.

    `counts`: the backend itself failed at this transaction, which `UploadPolicy.max_attempts` bounds. `not_attempted`: it has ended the
    batch before this transaction; what was settled before it is progress, and the next request begins here.
    """

    error: Exception
    counts: bool = False
    not_attempted: bool = False


Outcome = Accepted | Rejected | LeftToApp | Unsettled


class RequestTooLarge(ServiceError):
    """The backend answered 413: send fewer transactions at a time."""


def require_success(answer: Answer, url: str, *, forbidden_is_final: bool = False) -> Refusal | None:
    """None for a success, a Refusal for a 4xx that is final. Raises ServiceError for everything that has to be sent again.

    Success is a 2xx of the backend itself: a page of HTML comes from something in between.
    """
    if answer.ok:
        if answer.is_page:
            raise ServiceError(
                f"{url} answered HTTP {answer.status} with an HTML page.",
                status_code=answer.status,
                hint="A proxy or a network's login page answered in the backend's place. Nothing was taken off the queue.",
            )
        return None
    refusal = refusal_of_status(answer, forbidden_is_final=forbidden_is_final)
    if refusal is None:
        raise failed(answer, url)
    return refusal


def failed(answer: Answer, url: str) -> ServiceError:
    """The error for an answer that settles nothing."""
    kind = RequestTooLarge if answer.status == 413 else ServiceError
    location = (
        f", which redirects to {answer.headers['location']}"
        if 300 <= answer.status < 400 and "location" in answer.headers
        else ""
    )
    words = f": {answer.message}" if answer.message and not answer.is_page else "."
    return kind(
        f"{url} answered HTTP {answer.status}{location}{words}",
        status_code=answer.status,
        hint=_HINTS.get(answer.status, ""),
        retry_after_s=answer.retry_after_s,
    )


def refusal_of_status(answer: Answer, *, forbidden_is_final: bool = False) -> Refusal | None:
    """The refusal that a 4xx means; None for success, for 3xx and 5xx, and for what is never permanent."""
    if not 400 <= answer.status < 500 or answer.status == 413:
        return None
    if answer.status in NEVER_PERMANENT and not (answer.status == 403 and forbidden_is_final):
        return None
    document = _document(answer)
    code = next((document[name] for name in ("error_code", "code") if isinstance(document.get(name), str)), "")
    details = document.get("details")
    return Refusal(code or f"HTTP_{answer.status}", answer.message, status_code=answer.status, details=details)


def refusal_in_body(answer: Answer) -> Refusal | None:
    """The refusal that a 2xx carries in its body: `success: false`, or a list of what was rejected or failed; None for none.

    A status alone is not success: apps have lost writes that a backend had listed under `rejected` (write path reference, 8).
    """
    document = _document(answer)
    listed = next((document[name] for name in ("rejected", "failed", "errors") if document.get(name)), None)
    if document.get("success") is not False and listed is None:
        return None
    code = document.get("error_code") or document.get("code")
    return Refusal(
        code if isinstance(code, str) else "REJECTED", answer.message, status_code=answer.status, details=listed
    )


def _document(answer: Answer) -> dict[str, Any]:
    try:
        found = answer.json()
    except ServiceError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # of any JSON
