"""What every kind of backend has in common for a connector: it is sent transactions, and says what became of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import Answer
from syncline.client.connectors.outcomes import (
    Accepted,
    LeftToApp,
    Outcome,
    Rejected,
    Skipped,
    Unsettled,
    refusal_in_body,
    require_success,
)
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.crud import CrudEntry
from syncline.client.dead_letters import Refusal
from syncline.client.errors import ServiceError
from syncline.client.upload_queue import CrudTransaction
from syncline.errors import ClientError
from syncline.protocol.crud import OPERATIONS_MAX

__all__ = ["EntryUploader", "RequestUploader", "TransactionUploader", "is_attempt", "one_by_one", "within_limits"]

_GATEWAY = frozenset({502, 503, 504})  # said by something in front of the backend, or by one that is not up


class TransactionUploader(ABC):
    """How one kind of backend takes transactions.

    `max_transactions` and `max_operations` bound one request. A transaction is never split between requests: one that is larger than
    `max_operations` goes alone.
    """

    def __init__(self, *, max_transactions: int = 1, max_operations: int = OPERATIONS_MAX) -> None:
        if max_transactions < 1 or max_operations < 1:
            raise ValueError("max_transactions and max_operations must be at least 1.")
        self.max_transactions = max_transactions
        self.max_operations = max_operations

    @abstractmethod
    async def send(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        *,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome]:
        """Outcomes of the first of these transactions, in order; of all, unless one of them is unsettled.

        Raises NotSignedIn, AuthFailed, ConnectionFailed, ServiceError where the request as a whole failed (RequestTooLarge: send fewer):
        none of the transactions counts as sent then.
        """


class RequestUploader(TransactionUploader):
    """Backends that answer for a request as a whole.

    Where a request with several transactions is refused, they are sent again one by one: the refusal belongs to one of them.
    """

    async def send(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        *,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome]:
        """See TransactionUploader."""
        found = await self.post(transactions, backend, policy=policy)
        if found is None:
            return [Accepted() for _ in transactions]
        if isinstance(found, list):
            return found
        if len(transactions) == 1:
            return [Rejected(found)]

        async def alone(transaction: CrudTransaction) -> Outcome:
            found = await self.post([transaction], backend, policy=policy)
            if isinstance(found, list):
                return found[0]
            return Accepted() if found is None else Rejected(found)

        return await one_by_one(transactions, alone, policy)

    @abstractmethod
    async def post(
        self, transactions: Sequence[CrudTransaction], backend: AuthorizedBackend, *, policy: UploadPolicy
    ) -> Refusal | list[Outcome] | None:
        """One request; the refusal that it was answered with, None for success. Raises as `send`.

        A list where the answer has an outcome for each transaction: then none is sent again.
        """

    async def put_to(
        self, backend: AuthorizedBackend, method: str, path: str, value: object, *, policy: UploadPolicy
    ) -> Refusal | None:
        """Send JSON to a fixed address and read the answer, its body included."""
        return (await self.exchange(backend, method, path, value, policy=policy))[1]

    async def exchange(
        self, backend: AuthorizedBackend, method: str, path: str, value: object, *, policy: UploadPolicy
    ) -> tuple[Answer, Refusal | None]:
        """The same, with the answer itself."""
        answer = await backend.request(method, path, value=value)
        url = backend.url(path)
        if answer.status in (404, 405):  # of a fixed address, this says nothing about the writes
            raise ServiceError(
                f"{url} answered HTTP {answer.status}.",
                status_code=answer.status,
                hint="The backend has no such route: is it the right address and dialect? Nothing was taken off the queue.",
            )
        refusal = require_success(answer, url, forbidden_is_final=policy.on_forbidden == "dead_letter")
        return answer, refusal or refusal_in_body(answer)


class EntryUploader(TransactionUploader):
    """Backends that take one changed row at a time: nothing is atomic, and a repeat sends the whole transaction again."""

    async def send(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        *,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome]:
        """See TransactionUploader."""
        return await one_by_one(
            transactions, lambda transaction: self._send_entries(transaction, backend, policy), policy
        )

    @abstractmethod
    async def send_entry(self, entry: CrudEntry, backend: AuthorizedBackend, *, policy: UploadPolicy) -> Refusal | None:
        """One request; the refusal that it was answered with, None for success. Raises as `send`."""

    async def _send_entries(
        self, transaction: CrudTransaction, backend: AuthorizedBackend, policy: UploadPolicy
    ) -> Outcome:
        skipped: list[Skipped] = []
        for index, entry in enumerate(transaction.crud):
            refusal = await self.send_entry(entry, backend, policy=policy)
            if refusal is None:
                continue
            if policy.on_reject != "skip_entry":
                return Rejected(refusal, applied=index)
            skipped.append(Skipped(index, refusal))
        return Accepted(tuple(skipped))


async def one_by_one(
    transactions: Sequence[CrudTransaction],
    send: Callable[[CrudTransaction], Awaitable[Outcome]],
    policy: UploadPolicy,
) -> list[Outcome]:
    """Send each alone, up to the first that stays in the queue: what is behind it must not overtake it."""
    outcomes: list[Outcome] = []
    for transaction in transactions:
        try:
            outcome = await send(transaction)
        except ClientError as exc:  # the ones before it are settled all the same
            outcome = Unsettled(exc, counts=is_attempt(exc))
        outcomes.append(outcome)
        stays = isinstance(outcome, Rejected) and policy.on_reject == "block" and not outcome.closed
        if stays or isinstance(outcome, LeftToApp | Unsettled):
            break
    return outcomes


def is_attempt(error: Exception) -> bool:
    """Whether the backend itself has failed, as opposed to what lies in front of it, or to a request that it could not look at."""
    return isinstance(error, ServiceError) and error.status_code >= 500 and error.status_code not in _GATEWAY


def within_limits(
    transactions: Sequence[CrudTransaction], *, max_transactions: int, max_operations: int
) -> list[CrudTransaction]:
    """As many whole transactions as one request may hold; the first always goes, or the queue would never move."""
    chosen: list[CrudTransaction] = []
    operations = 0
    for transaction in transactions[:max_transactions]:
        operations += len(transaction.crud)
        if chosen and operations > max_operations:
            break
        chosen.append(transaction)
    return chosen
