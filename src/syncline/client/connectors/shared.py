"""One connector for the whole program: made when first asked for, and forgotten when its user signs out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from syncline.client.connector import BackendConnector
from syncline.client.connectors.credential_flows import TokenEndpoint
from syncline.client.connectors.static import StaticConnector
from syncline.client.http_connector import HttpConnector
from syncline.client.settings import Settings

__all__ = ["get_connector", "reset_connector"]

_lock = threading.Lock()
_shared: list[BackendConnector] = []


def get_connector(factory: Callable[[], BackendConnector] | None = None) -> BackendConnector:
    """The program's connector: the same object each time, from any thread.

    The first call makes it, with `factory` or else from the environment (`Settings.from_env()`): with `POWERSYNC_TOKEN` a StaticConnector,
    else an HttpConnector to `BACKEND_URL`. Later calls ignore `factory`. Raises SettingsInvalid.
    """
    with _lock:
        if not _shared:
            _shared.append((factory or _from_env)())
        return _shared[0]


def reset_connector() -> None:
    """Forget it; the next `get_connector()` makes a new one. For sign-out, after `await connector.logout()`, and for tests."""
    with _lock:
        _shared.clear()


def _from_env() -> BackendConnector:
    settings = Settings.from_env()
    if settings.token is not None:
        return StaticConnector(settings.require_service_url(), settings.token, backend_url=settings.backend_url)
    return HttpConnector(settings.require_backend_url(), TokenEndpoint(service_url=settings.service_url))
