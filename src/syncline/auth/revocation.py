"""Users whose tokens are refused although they are good: until a time, since a token cannot be called back (ours). Pure."""

from __future__ import annotations

from syncline.errors import Retry, SynclineError

__all__ = ["REVOCATIONS_MAX", "RevocationList", "RevocationsFull"]

REVOCATIONS_MAX = 100_000  # users at a time; about 15 MB


class RevocationsFull(SynclineError):
    """REVOCATIONS_MAX users are refused already, and none of them may be forgotten."""

    code = "PSYNC_S2001"
    status = 503
    retry = Retry.BACKOFF


class RevocationList:
    """Refused users by the text of their `sub` (`VerifiedToken.user_id`). One event loop uses it; it keeps nothing on disk.

    `until_s` and `now_s` are seconds since 1970. To call back every token that a user has, revoke for as long as a token may live.
    """

    def __init__(self, *, capacity: int = REVOCATIONS_MAX) -> None:
        self._capacity = capacity
        self._until_s: dict[str, float] = {}
        self._now_s = float("-inf")  # as it was told last

    def __len__(self) -> int:
        return len(self._until_s)

    def revoke(self, sub_text: str, until_s: float) -> None:
        """Refuse this user's tokens until then. The newest word counts, also where it is a shorter one.

        Raises RevocationsFull, and then nothing has changed; what has ended by the newest time known makes room first.
        """
        if sub_text not in self._until_s:
            self._make_room()
        self._until_s[sub_text] = until_s

    def lift(self, sub_text: str) -> bool:
        """Accept this user's tokens again. False where they were not refused."""
        return self._until_s.pop(sub_text, None) is not None

    def is_revoked(self, sub_text: str, now_s: float) -> bool:
        """Whether this user's tokens are refused at `now_s`."""
        self._now_s = now_s
        until_s = self._until_s.get(sub_text)
        if until_s is None:
            return False
        if now_s < until_s:
            return True
        del self._until_s[sub_text]
        return False

    def _make_room(self) -> None:
        if len(self._until_s) < self._capacity:
            return
        self._until_s = {sub: until_s for sub, until_s in self._until_s.items() if until_s > self._now_s}
        if len(self._until_s) >= self._capacity:
            raise RevocationsFull(
                f"{self._capacity} users are revoked already.", hint="Lift revocations, or let them end earlier."
            )
