"""The ways in which an app gets the token for the sync service (rows of one table, each with what it asks).

TokenEndpoint        the backend issues tokens to whoever is signed in there        GET or POST {backend}/api/auth/token
ConfigAndToken       one endpoint tells the addresses and the user, another the token
SessionToken         an identity provider's session token is the sync token (Supabase, Auth0, Clerk, ...)
FixedCredentials     a development token
"""

from __future__ import annotations

import base64
import binascii
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncline.client.connector import Credentials
from syncline.client.connectors.backend_client import Answer, BackendClient, Exchange
from syncline.client.errors import CredentialsInvalid, ServiceError
from syncline.client.settings import validate_url
from syncline.client.token_stores import TokenStore

__all__ = ["ConfigAndToken", "CredentialFlow", "FixedCredentials", "SessionToken", "TokenEndpoint", "read_credentials"]

_ENDPOINT_FIELDS = ("powersync_url", "powersyncUrl", "endpoint")
_EXPIRY_FIELDS = ("expiresAt", "expires_at")
_USER_FIELDS = ("userId", "user_id")


class CredentialFlow(ABC):
    """Fetches credentials. `keeps` says whether a connector may use them again until they are refused or expire."""

    keeps = True

    @abstractmethod
    async def fetch(self, client: BackendClient | None, store: TokenStore) -> Credentials | None:
        """Fresh credentials, None when nobody is signed in.

        `client` is the backend's, None where the connector has none; `store` holds the app's own login token. Raises ConnectionFailed,
        ServiceError, CredentialsInvalid, and what an app's own function raises.
        """


class TokenEndpoint(CredentialFlow):
    """One endpoint of the backend answers `{token, expiresAt?, powersync_url?}`.

    The stored login token goes along as Bearer, where there is one. `service_url` is for backends that do not tell the service's
    address.
    """

    def __init__(
        self,
        path: str = "/api/auth/token",
        *,
        method: str = "GET",
        params: Mapping[str, str] | None = None,
        service_url: str | None = None,
    ) -> None:
        self._path = path
        self._method = method.upper()
        self._params = dict(params or {})
        self._service_url = None if service_url is None else validate_url(service_url, name="The service's address")

    async def fetch(self, client: BackendClient | None, store: TokenStore) -> Credentials | None:
        """Ask the endpoint; 401 means that nobody is signed in."""
        client = _required(client)
        async with client.exchange() as exchange:
            answer = await _ask(exchange, client.url(self._path), self._method, self._params, store)
        return None if answer is None else read_credentials(answer, self._path, service_url=self._service_url)


class ConfigAndToken(CredentialFlow):
    """`GET` of a configuration with `{powersyncUrl, userId?}`, then of a token with `{token, expiresAt?}`."""

    def __init__(
        self,
        config_path: str = "/api/powersync/config",
        token_path: str = "/api/auth/token",  # noqa: S107 - a path
        *,
        params: Mapping[str, str] | None = None,
    ) -> None:
        self._config_path = config_path
        self._token_path = token_path
        self._params = dict(params or {})

    async def fetch(self, client: BackendClient | None, store: TokenStore) -> Credentials | None:
        """Ask both, the configuration each time: a backend may move to another service."""
        client = _required(client)
        async with client.exchange() as exchange:
            config = await _ask(exchange, client.url(self._config_path), "GET", self._params, store)
            if config is None:
                return None
            answer = await _ask(exchange, client.url(self._token_path), "GET", self._params, store)
        if answer is None:
            return None
        told = _fields(config, self._config_path)
        endpoint = _text(told, _ENDPOINT_FIELDS, self._config_path)
        if endpoint is None:
            raise CredentialsInvalid(f"{self._config_path}: `powersyncUrl` is missing.")
        return read_credentials(
            answer, self._token_path, service_url=endpoint, user_id=_text(told, _USER_FIELDS, self._config_path)
        )


class SessionToken(CredentialFlow):
    """The session token of an identity provider, asked for each time: the provider's own library refreshes it."""

    keeps = False

    def __init__(self, service_url: str, get_session_token: Callable[[], str | Awaitable[str | None] | None]) -> None:
        self._service_url = validate_url(service_url, name="The service's address")
        self._get_session_token = get_session_token

    async def fetch(self, client: BackendClient | None, store: TokenStore) -> Credentials | None:
        """Ask the app's function; None or an empty text means that nobody is signed in."""
        found = self._get_session_token()
        token = await found if inspect.isawaitable(found) else found
        if not token:
            return None
        claims = _claims(token)
        return Credentials(self._service_url, token, _expiry(claims), _user(claims))


class FixedCredentials(CredentialFlow):
    """A token from a command line or an environment variable, for development: nothing refreshes it."""

    def __init__(self, service_url: str, token: str) -> None:
        claims = _claims(token)
        # Without its expiry: an expired development token shall be refused by the service, with the reason.
        self._credentials = Credentials(service_url, token, user_id=_user(claims))

    async def fetch(self, client: BackendClient | None, store: TokenStore) -> Credentials | None:
        """The same each time."""
        return self._credentials


def read_credentials(
    answer: Answer, source: str, *, service_url: str | None = None, user_id: str | None = None
) -> Credentials:
    """Credentials of an answer `{token, expiresAt?, powersync_url?}`. Raises CredentialsInvalid, which names the wrong field.

    What the answer does not tell is read from the token, unchecked: when it expires, and whose it is. The service checks it anyway.
    """
    fields = _fields(answer, source)
    token = _text(fields, ("token",), source)
    if token is None:
        raise CredentialsInvalid(
            f"{source}: `token` is missing.", hint='The answer must be {"token": "...", "powersync_url": "..."}.'
        )
    told_expiry = _time(fields, source)
    endpoint = _text(fields, _ENDPOINT_FIELDS, source) or service_url
    if endpoint is None:
        raise CredentialsInvalid(
            f"{source}: `powersync_url` is missing.",
            hint="Let the endpoint tell the sync service's address, or give it as service_url.",
        )
    claims = _claims(token)
    return Credentials(
        endpoint, token, told_expiry or _expiry(claims), user_id or _text(fields, _USER_FIELDS, source) or _user(claims)
    )


async def _ask(
    exchange: Exchange, url: str, method: str, params: Mapping[str, str], store: TokenStore
) -> Answer | None:
    """The answer of an endpoint that wants a login; None on 401."""
    login = await store.get()
    headers = {} if login is None else {"authorization": f"Bearer {login}"}
    answer = await exchange.request(method, url, params=params, headers=headers)
    if answer.status == 401:
        return None
    if answer.status != 200:
        raise ServiceError(
            f"{url} answered HTTP {answer.status}{_quoted(answer)}",
            status_code=answer.status,
            retry_after_s=answer.retry_after_s,
            hint="Is this the app's backend?" if answer.status == 404 else "",
        )
    return answer


def _quoted(answer: Answer) -> str:
    return f": {answer.message}" if answer.message else "."


def _required(client: BackendClient | None) -> BackendClient:
    if client is None:
        raise CredentialsInvalid("This connector has no backend to ask for a token.", hint="Give it a backend_url.")
    return client


def _fields(answer: Answer, source: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CredentialsInvalid(f"{source} answered with {answer.describe()} instead of a JSON object.") from exc


def _text(fields: Mapping[str, Any], names: tuple[str, ...], source: str) -> str | None:
    """The first of these fields, None where none is there. Raises CredentialsInvalid for what is no text, or empty."""
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise CredentialsInvalid(f"{source}: `{name}` must be a text, not {type(value).__name__}.")
        if not value.strip():
            raise CredentialsInvalid(f"{source}: `{name}` is empty.")
        return value
    return None


def _time(fields: Mapping[str, Any], source: str) -> datetime | None:
    text = _text(fields, _EXPIRY_FIELDS, source)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise CredentialsInvalid(
            f"{source}: `expiresAt` is not an ISO 8601 time.", hint="For example 2030-01-01T00:00:00Z"
        ) from exc
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unchecked; none for tokens of other kinds."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(text, type=dict[str, Any])
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return {}


def _expiry(claims: Mapping[str, Any]) -> datetime | None:
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or isinstance(expires, bool):
        return None
    try:
        return datetime.fromtimestamp(expires, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _user(claims: Mapping[str, Any]) -> str | None:
    subject = claims.get("sub")
    return subject if isinstance(subject, str) and subject else None
