from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from syncline.backend.dead_letters.letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLettersFull,
    DeadLetterState,
    KeptVerdict,
)
from syncline.backend.dead_letters.rows import letter_of, letter_row, verdict_columns
from syncline.backend.persisters.base import RetryLater, UploadIdentity
from syncline.protocol.crud import TransactionResult


async def hanging(*_: object) -> Any:
    """A hook that never comes back."""
    await asyncio.Event().wait()


@dataclass
class LettersInMemory:
    """Stands where a store of letters stands: for code above it, not for claims about a database."""

    letters: dict[str, DeadLetter] = field(default_factory=dict[str, DeadLetter])
    verdicts: dict[UploadIdentity, TransactionResult] = field(default_factory=dict[UploadIdentity, TransactionResult])
    failures: dict[tuple[str, str | None, str], int] = field(default_factory=dict[tuple[str, str | None, str], int])
    write_results: list[str] = field(default_factory=list[str])
    letters_max: int = 10
    away: bool = False

    async def prepare(self, *, write_results: bool) -> None:
        del write_results

    async def add(
        self,
        letter: DeadLetter,
        identity: UploadIdentity | None,
        verdict: TransactionResult,
        *,
        write_result: bool = False,
    ) -> KeptVerdict:
        self._ask()
        if identity is not None and identity in self.verdicts:
            return KeptVerdict(self.verdicts[identity], is_new=False)
        if len(self.letters) >= self.letters_max:
            raise DeadLettersFull(f"{self.letters_max} letters")
        self.letters[letter.id] = letter
        if identity is not None:
            self.verdicts[identity] = verdict
        self.write_results += [letter.id] if write_result else []
        return KeptVerdict(verdict, is_new=True)

    async def list(self, where: DeadLetterFilter, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        self._ask()
        found = [letter for _, letter in sorted(self.letters.items()) if letter.id > after and _meant(letter, where)]
        return found[:limit]

    async def get(self, letter_id: str) -> DeadLetter | None:
        self._ask()
        return self.letters.get(letter_id)

    async def count(self, where: DeadLetterFilter) -> int:
        return len(await self.list(where))

    async def settle(self, letter_id: str, state: DeadLetterState) -> DeadLetter | None:
        letter = await self.get(letter_id)
        if letter is not None and letter.state is DeadLetterState.OPEN:
            letter = self.letters[letter_id] = replace(letter, state=state)
        return letter

    async def refused_again(self, letter_id: str, verdict: TransactionResult) -> DeadLetter | None:
        letter = self.letters[letter_id]
        row = letter_row(letter) | verdict_columns(verdict) | {"retries": letter.retries + 1}
        letter = self.letters[letter_id] = letter_of(row)
        return letter

    async def count_failure(self, user_id: str, client_id: str | None, content_hash: str) -> int:
        self._ask()
        key = (user_id, client_id, content_hash)
        self.failures[key] = self.failures.get(key, 0) + 1
        return self.failures[key]

    def _ask(self) -> None:
        if self.away:
            raise RetryLater("The letters are away.")


def _meant(letter: DeadLetter, where: DeadLetterFilter) -> bool:
    asked = {
        "user_id": where.user_id,
        "client_id": where.client_id,
        "state": where.state,
        "code": where.code,
    }
    return all(value is None or getattr(letter, name) == value for name, value in asked.items())
