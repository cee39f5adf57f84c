"""Calls of an app's backend, with a user's token. No text of an error holds the token."""

from __future__ import annotations

from typing import Any, cast

from syncline.cli.admin_client import UNAUTHORISED, AdminClient, AdminRefused
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import AdminAddress

__all__ = ["BackendClient"]


class BackendClient(AdminClient):
    """A backend at an address. Errors of its answers have its own words: `{"message": …}`."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(AdminAddress(url.rstrip("/"), token, "--backend-url", "--token"))

    def call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """One request; the JSON of its answer. Raises ServiceUnreachable, AdminRefused, CommandFailed for a page without JSON."""
        answer = super().call(method, path, body)
        if not isinstance(answer, dict):
            raise CommandFailed(f"{self.url} did not answer as a backend of the toolkit does.")
        return cast("dict[str, Any]", answer)

    def _refusal(self, status: int, answer: Any) -> AdminRefused:
        fields = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
        hint = "The token from --token is none of the backend's." if status == UNAUTHORISED else ""
        return AdminRefused(
            status, str(fields.get("code", "")), str(fields.get("message", "no reason given.")), hint=hint
        )
