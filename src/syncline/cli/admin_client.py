"""Calls of the service's admin API (protocol reference, 7.2 and 7.3), with the standard library: a command makes one or two.

No text of an error holds the token.
"""

from __future__ import annotations

import json
from typing import Any, cast

from syncline import __version__
from syncline.cli.exit_codes import CommandFailed, ServiceUnreachable
from syncline.cli.project import AdminAddress

__all__ = ["AdminClient", "AdminRefused"]

ADMIN, SYNC_RULES = "/api/admin/v1", "/api/sync-rules/v1"
ANSWER_BYTES_MAX = 64 * 1024 * 1024  # bytes of an answer: a schema of ten thousand tables is a tenth of it
TIMEOUT_S = 60.0  # seconds without a byte; a deployment compiles and asks the source
UNAUTHORISED = 401


class AdminRefused(CommandFailed):
    """The service's answer is an error: `status` of HTTP, `code` where it has one, `description` in its words."""

    def __init__(self, status: int, code: str, description: str, details: str = "", *, hint: str = "") -> None:
        super().__init__(f"[{code}] {description}" if code else f"HTTP {status}: {description}", hint=details or hint)
        self.status = status
        self.code = code
        self.description = description
        self.details = details


class AdminClient:
    """The admin API at an address."""

    def __init__(self, address: AdminAddress, *, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s

    @property
    def url(self) -> str:
        """Where it is, without the token."""
        return self._address.url

    def diagnostics(self, *, content: bool = False) -> dict[str, Any]:
        """How the connection and the sync configs stand; `content`: with the texts of the configs."""
        return self._data("POST", f"{ADMIN}/diagnostics", {"sync_rules_content": True} if content else {})

    def schema(self) -> dict[str, Any]:
        """All tables of the source with their columns."""
        return self._data("POST", f"{ADMIN}/schema", {})

    def validate(self, sync_config: str) -> dict[str, Any]:
        """How a sync config would stand: `errors` with their places, and tables."""
        return self._data("POST", f"{ADMIN}/validate", {"sync_rules": sync_config})

    def deploy(self, sync_config: str) -> str:
        """Deploy a sync config; the name of its replication slot. The service refuses it where its file names one (PSYNC_S4105)."""
        return str(self._data("POST", f"{SYNC_RULES}/deploy", {"content": sync_config}).get("slot_name", ""))

    def current(self) -> dict[str, Any]:
        """The active sync config under `current`, the next one under `next`, each with `content`."""
        return self._data("GET", f"{SYNC_RULES}/current", None)

    def reprocess(self) -> dict[str, Any]:
        """Copy everything again for the active config; `slot_name` of the new copy."""
        return self._data("POST", f"{SYNC_RULES}/reprocess", {})

    def revoke(self, user_id: str, until: str | None) -> dict[str, Any]:
        """End a user's streams; `until` and `streams_ended`."""
        body = {"user_id": user_id} | ({"until": until} if until else {})
        return self._data("POST", f"{ADMIN}/revoke", body)

    def connections(self, user_id: str | None) -> dict[str, Any]:
        """Streams that are `open`, and reports by `days`; of one user, or of all."""
        return self._data("POST", f"{ADMIN}/connections", {"user_id": user_id} if user_id else {})

    def execute_sql(self, query: str) -> dict[str, Any]:
        """Run a statement on the source; `success`, and `results` or `error`."""
        return self._data("POST", f"{ADMIN}/execute-sql", {"sql": {"query": query, "args": []}})

    def _data(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        answer = self.call(method, path, body)
        data: object = cast("dict[str, Any]", answer).get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise CommandFailed(f"{self.url}{path} did not answer as a sync service does.", hint=self._look_at_url)
        return cast("dict[str, Any]", data)

    def call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """One request; the JSON of its answer. Raises ServiceUnreachable, AdminRefused."""
        status, content = self._send(method, path, json.dumps(body).encode() if body is not None else None)
        try:
            answer: Any = json.loads(content) if content else None
        except ValueError:
            answer = None
        if status == 200:
            return answer
        raise self._refusal(status, answer)

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        import http.client  # here: the help of commands need not wait for it
        from urllib.parse import urlsplit

        headers = {"Authorization": f"Bearer {self._address.token}", "User-Agent": f"syncline/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            parts = urlsplit(self.url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.hostname or "", parts.port, timeout=self._timeout_s)
        except ValueError as exc:  # the port is no number, or a bracket is missing
            raise CommandFailed(f"{self.url} is no address of a service.", hint=self._look_at_url) from exc
        try:
            connection.request(method, f"{parts.path}{path}", body, headers)
            reply = connection.getresponse()
            content = reply.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or (str(exc) if isinstance(exc, OSError) else type(exc).__name__)
            raise ServiceUnreachable(
                f"The service at {self.url} cannot be reached: {reason}", hint=self._look_at_url
            ) from exc
        finally:
            connection.close()
        if len(content) > ANSWER_BYTES_MAX:
            raise CommandFailed(f"{self.url}{path} answered more than {ANSWER_BYTES_MAX} bytes.")
        return reply.status, content

    @property
    def _look_at_url(self) -> str:
        return f"Does it run, and is the address right? It was found in {self._address.url_from}."

    def _refusal(self, status: int, answer: Any) -> AdminRefused:
        error: Any = cast("dict[str, Any]", answer).get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict):
            return AdminRefused(status, "", "the service did not say why.", hint=self._look_at_url)
        fields = cast("dict[str, Any]", error)
        return AdminRefused(
            status,
            str(fields.get("code", "")),
            str(fields.get("description", "The service refused it.")),
            _text(fields.get("details")),
            hint=self._token_hint() if status == UNAUTHORISED else "",
        )

    def _token_hint(self) -> str:
        if self._address.unset_variable:
            return f"The environment variable {self._address.unset_variable} is not set: it holds the token."
        return f"The token from {self._address.token_from} is none of the service's api.tokens."


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(str(item) for item in cast("list[object]", value))
    return str(value) if value else ""
