"""A connector with a fixed token, for development and for scripts."""

from __future__ import annotations

from collections.abc import Mapping

from syncline.client.connectors.credential_flows import FixedCredentials
from syncline.client.connectors.dialect import TransactionUploader
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.http_connector import HttpConnector
from syncline.client.settings import TOKEN_VARIABLE, Settings, SettingsInvalid

__all__ = ["StaticConnector"]


class StaticConnector(HttpConnector):
    """The sync service's address and a token for it, as `syncline generate token` prints one. Nothing refreshes it.

    Without `backend_url` the device only reads: a local write stays in the queue, and `upload_error` says why.
    """

    def __init__(
        self,
        endpoint: str,
        token: str,
        *,
        backend_url: str | None = None,
        uploader: TransactionUploader | None = None,
        policy: UploadPolicy | None = None,
    ) -> None:
        super().__init__(backend_url, FixedCredentials(endpoint, token), uploader=uploader, policy=policy)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> StaticConnector:
        """From `POWERSYNC_URL`, `POWERSYNC_TOKEN` and, for uploads, `BACKEND_URL`. Raises SettingsInvalid, which names the variable."""
        settings = Settings.from_env(environ)
        if settings.token is None:
            raise SettingsInvalid(
                f"{TOKEN_VARIABLE} is not set.", hint="`syncline generate token --subject USER` prints one."
            )
        return cls(settings.require_service_url(), settings.token, backend_url=settings.backend_url)
