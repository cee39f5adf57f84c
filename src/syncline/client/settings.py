"""Where the sync service and the app's backend are, from the environment; a wrong address fails at start-up, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from syncline.errors import ClientError, Retry

__all__ = [
    "BACKEND_URL_VARIABLE",
    "SERVICE_URL_VARIABLE",
    "TOKEN_VARIABLE",
    "Settings",
    "SettingsInvalid",
    "validate_url",
]

SERVICE_URL_VARIABLE = "POWERSYNC_URL"
BACKEND_URL_VARIABLE = "BACKEND_URL"
TOKEN_VARIABLE = "POWERSYNC_TOKEN"  # noqa: S105 - the name of a variable


class SettingsInvalid(ClientError):
    """A setting of the client is missing or wrong; the message names it."""

    retry = Retry.OPERATOR


def validate_url(url: str, *, name: str = "The address") -> str:
    """An http(s) address without a trailing slash. Raises SettingsInvalid, which names the setting and quotes no password."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c.isspace() for c in text)
        _ = parts.port  # a number, up to 65535, or ValueError
    except ValueError:
        valid = False
    if not valid:
        raise SettingsInvalid(
            f"{name}: Must be a valid URL", hint="For example http://localhost:8080 or https://sync.example.com"
        )
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a connector needs to know of its surroundings.

    `service_url` is None where the backend tells it together with the token; `token` is a development token, for programs without a
    backend that issues them. Addresses are checked and normalised. Raises SettingsInvalid.
    """

    backend_url: str | None = None
    service_url: str | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, variable in (("backend_url", BACKEND_URL_VARIABLE), ("service_url", SERVICE_URL_VARIABLE)):
            url = getattr(self, name)
            if url is not None:
                object.__setattr__(self, name, validate_url(url, name=variable))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """`POWERSYNC_URL`, `BACKEND_URL` and, for development, `POWERSYNC_TOKEN`; an empty variable counts as none.

        Raises SettingsInvalid for an address that is none, and where neither the backend nor the service is named.
        """
        variables = os.environ if environ is None else environ

        def get(name: str) -> str | None:
            return variables.get(name, "").strip() or None

        settings = cls(
            backend_url=get(BACKEND_URL_VARIABLE), service_url=get(SERVICE_URL_VARIABLE), token=get(TOKEN_VARIABLE)
        )
        if settings.backend_url is None and settings.service_url is None:
            raise SettingsInvalid(
                f"Neither {BACKEND_URL_VARIABLE} nor {SERVICE_URL_VARIABLE} is set.",
                hint=f"{BACKEND_URL_VARIABLE} is the app's backend, {SERVICE_URL_VARIABLE} the sync service.",
            )
        return settings

    def require_backend_url(self) -> str:
        """The backend's address. Raises SettingsInvalid, which names the variable."""
        if self.backend_url is None:
            raise SettingsInvalid(
                f"{BACKEND_URL_VARIABLE} is not set.",
                hint="It is the address of the app's backend, which takes uploads.",
            )
        return self.backend_url

    def require_service_url(self) -> str:
        """The sync service's address. Raises SettingsInvalid, which names the variable."""
        if self.service_url is None:
            raise SettingsInvalid(f"{SERVICE_URL_VARIABLE} is not set.", hint="It is the address of the sync service.")
        return self.service_url
