"""The ASGI app of a process that serves no clients: probes, and nothing else."""

from __future__ import annotations

from syncline.api.answers import Receive, RouteNotFound, Scope, Send, send_error, send_json
from syncline.api.probes import Probes
from syncline.errors import SynclineError

__all__ = ["ProbeApp"]


class ProbeApp:
    """Answers `GET /probes/…`; every other request is told that there is no such route."""

    def __init__(self, probes: Probes) -> None:
        self._handlers = {
            "/probes/startup": probes.startup,
            "/probes/liveness": probes.liveness,
            "/probes/readiness": probes.readiness,
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        handler = self._handlers.get(scope["path"]) if scope["method"] == "GET" else None
        try:
            if handler is None:
                raise RouteNotFound(f"There is no route {scope['method']} {scope['path']}.")
            status, body = await handler(scope)
        except SynclineError as exc:
            await send_error(send, exc)
            return
        await send_json(send, body, status=status)
