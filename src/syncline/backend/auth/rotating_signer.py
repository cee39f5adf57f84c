"""A signer whose keys replace each other without a refused token. It stands wherever a `TokenSigner` stands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from syncline.auth.jwk import VerificationKey
from syncline.auth.keys import KeySource
from syncline.auth.signer import DEFAULT_LIFETIME_S, SIGNING_ALGORITHMS, SignedToken, TokenSigner
from syncline.backend.auth.key_folder import KeyFolder, StoredKey
from syncline.backend.auth.rotation import (
    CreateKey,
    DeleteKey,
    KeyStage,
    KeyTimes,
    RotationRules,
    due_steps,
    key_stages,
    next_key,
)
from syncline.errors import ConfigError

__all__ = ["ROTATION_CHECK_S", "RotatingSigner"]

log = logging.getLogger(__name__)

ROTATION_CHECK_S = 300.0  # seconds between looks whether a step of the rotation is due


class RotatingSigner:
    """Signs with the key of a folder whose turn it is, and publishes all that verifiers need. Make it with `open`.

    Processes may share the folder: each sees at once what another added or withdrew. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        folder: KeyFolder,
        *,
        algorithm: str = "RS256",
        rules: RotationRules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if algorithm not in SIGNING_ALGORITHMS:
            hint = f"Use one of {', '.join(SIGNING_ALGORITHMS)}."
            raise ConfigError(f"No such key can be made: {algorithm!r}.", hint=hint)
        self._folder = folder
        self._algorithm = algorithm
        self._rules = rules or RotationRules()
        self._clock = clock
        self._names: frozenset[str] | None = None
        self._stored: list[StoredKey] = []
        self._failed = False
        self.keys: KeySource = _PublishedKeys(self)
        """What a TokenVerifier takes to accept this signer's tokens."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        algorithm: str = "RS256",
        rules: RotationRules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> RotatingSigner:
        """The signer of a folder, which gets its first key when it has none. Blocks for files. Raises ConfigError.

        `algorithm` is that of new keys: change it, and the next key is of the other kind.
        """
        signer = cls(KeyFolder(path), algorithm=algorithm, rules=rules, clock=clock)
        signer._load(signer._folder.names())  # what is wrong with a key is told now, and not by refused users
        signer.rotate_if_due()
        return signer

    @property
    def kid(self) -> str:
        """Key id of the key that signs now. Raises ConfigError where there is none."""
        return self._signing(self._clock()).kid

    def stages(self) -> dict[str, KeyStage]:
        """The stage of each key by its id, oldest first."""
        return self._stages(self._refreshed(), self._clock())

    def issue(
        self,
        user_id: str,
        *,
        audience: str,
        now_s: float,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        claims: Mapping[str, Any] | None = None,
    ) -> SignedToken:
        """As `TokenSigner.issue`, with the key whose turn it is. Raises ValueError also above `token_lifetime_max_s`."""
        if lifetime_s > self._rules.token_lifetime_max_s:
            raise ValueError("lifetime_s is above token_lifetime_max_s: the key would end before the token")
        signing = self._signing(now_s)
        return signing.issue(user_id, audience=audience, now_s=now_s, lifetime_s=lifetime_s, claims=claims)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The key set to publish: public parts of all keys that have not ended; nothing of shared secrets."""
        return {"keys": [jwk for signer in self.published() for jwk in signer.jwks()["keys"]]}

    def published(self) -> list[TokenSigner]:
        """The signers of all keys that have not ended: shared secrets too, which `jwks` leaves out."""
        stored = self._refreshed()
        stages = self._stages(stored, self._clock())
        return [key.signer for key in stored if stages[key.times.kid] is not KeyStage.ENDED]

    def rotate(self) -> str:
        """Announce the next key, and return its id; that of the announced one where there is one. Blocks. Raises ConfigError.

        It begins to sign after `announce_s`. A key that has leaked is withdrawn instead: `withdraw`.
        """
        now_s = self._clock()
        stored = self._refreshed()
        step = next_key([key.times for key in stored], self._rules, now_s=now_s)
        if step is not None:
            return self._create(step)
        stages = self._stages(stored, now_s)
        return next(kid for kid, stage in stages.items() if stage is KeyStage.ANNOUNCED)

    def rotate_if_due(self) -> None:
        """Make the next key in time, and forget ended ones. Blocks: an RSA key takes a tenth of a second. Raises ConfigError."""
        keys = [key.times for key in self._refreshed(again=True)]
        for step in due_steps(keys, self._rules, now_s=self._clock()):
            if isinstance(step, CreateKey):
                self._create(step)
            else:
                self._delete(step, "backend.key_ended")

    def withdraw(self, kid: str) -> None:
        """Forget a key at once: nobody accepts its tokens any more, as soon as their copy of the key set has aged. Blocks.

        Raises ConfigError for a key that is not there. Where it was the one that signed, another signs from now on: the announced
        one, or a new one.
        """
        if kid not in self.stages():
            raise ConfigError("There is no key of this id to withdraw.", hint="`stages()` names all of them.")
        self._delete(DeleteKey(kid), "backend.key_withdrawn")
        self.rotate_if_due()

    async def keep_rotating(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Call `rotate_if_due` in a thread now and then, until cancelled: a task of the app's own.

        What fails is logged and tried again.
        """
        while True:
            try:
                await asyncio.to_thread(self.rotate_if_due)
            except ConfigError as exc:
                log.warning("Keys not rotated: %s", exc.message, extra={"event": "backend.rotation_failed"})
            await sleep(ROTATION_CHECK_S)

    def _signing(self, now_s: float) -> TokenSigner:
        stored = self._refreshed()
        stages = self._stages(stored, now_s)
        for key in stored:
            if stages[key.times.kid] is KeyStage.SIGNING:
                return key.signer
        raise ConfigError("The key folder has no key to sign with.", hint="Call rotate_if_due(), or open it again.")

    def _stages(self, stored: Sequence[StoredKey], now_s: float) -> dict[str, KeyStage]:
        return key_stages([key.times for key in stored], self._rules, now_s=now_s)

    def _create(self, step: CreateKey) -> str:
        signer = TokenSigner.generate(self._algorithm)
        self._folder.add(signer, signs_from_s=step.signs_from_s)
        self._stored = [*self._stored, StoredKey(signer, KeyTimes(signer.kid, step.signs_from_s))]
        fields = {"event": "backend.key_made", "kid": signer.kid, "signs_from_s": step.signs_from_s}
        log.info("A signing key was made", extra=fields)
        return signer.kid

    def _delete(self, step: DeleteKey, event: str) -> None:
        self._folder.delete(step.kid)
        log.info("A signing key was deleted", extra={"event": event, "kid": step.kid})

    def _refreshed(self, *, again: bool = False) -> Sequence[StoredKey]:
        """The keys, read anew where the folder's names have changed; a thread may replace `_stored`, so callers keep what they got.

        What cannot be read leaves the known keys whose files are there: tokens stay good. It is tried again when names change, and
        with `again`: not for each request, because reading keys takes long.
        """
        try:
            names = self._folder.names()
        except OSError as exc:
            self._report(exc)
            return self._stored
        if names == self._names and not (again and self._failed):
            return self._stored
        try:
            self._load(names)
        except ConfigError as exc:
            self._stored = [key for key in self._stored if f"{key.times.kid}.json" in names]
            self._names = names
            self._report(exc)
        return self._stored

    def _report(self, exc: Exception) -> None:
        if not self._failed:
            log.warning("The key folder cannot be read: %s", exc, extra={"event": "backend.key_folder_failed"})
        self._failed = True

    def _load(self, names: frozenset[str]) -> None:
        """`names` were seen before the files are read: what comes meanwhile is found the next time."""
        self._stored = self._folder.read()
        self._names, self._failed = names, False


class _PublishedKeys:
    """A `KeySource`: the keys that the signer publishes."""

    def __init__(self, signer: RotatingSigner) -> None:
        self._signer = signer

    def cached(self) -> Sequence[VerificationKey]:
        return [key for signer in self._signer.published() for key in signer.keys.cached()]

    async def keys(self) -> Sequence[VerificationKey]:
        return self.cached()

    def key_missing(self) -> None:
        """Nothing to fetch: the folder is looked at whenever keys are asked for."""
