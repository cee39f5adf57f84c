"""The demo's web page: static files, the state as server-sent events, and what the buttons do by POST. On loopback only.

The server may be reached by any page that the browser has open. So every request has to name this server as its host (a foreign name
that points here is refused), and a POST has to come from the page itself (`Origin`). Nothing is answered with CORS headers.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from syncline.cli.demo.actions import ACTIONS_BYTES_MAX, ActionRefused, Actions, decode_action
from syncline.cli.demo.board import Board, TooManyPages
from syncline.cli.demo.model import ALICE, BOBS_LIST, SCHEMA
from syncline.cli.demo.web_sdk import IMPORTS, WORKER_PATH, WebSdkFiles
from syncline.client import Schema

__all__ = ["HOSTS", "Page", "schema_for_page"]

PAGE_FOLDER = Path(__file__).with_name("page")
HOSTS = ("127.0.0.1", "localhost")
IDLE_S = 15.0  # seconds after which a silent stream says that it is alive
_MODULE_TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The SDK compiles WebAssembly, and talks to the backend and the service. The import map has to stand in the page: a nonce lets it in.
_SDK_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self' {peers};"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class Page:
    """The app for one demo. `app` is what a server runs; `peers` are the addresses that the SDK's page talks to, by their names."""

    def __init__(
        self, board: Board, actions: Actions, web_sdk: WebSdkFiles, *, origins: frozenset[str], peers: Mapping[str, str]
    ) -> None:
        self._board = board
        self._actions = actions
        self._web_sdk = web_sdk
        self._origins = origins
        self._peers = dict(peers)
        self.app = Starlette(
            routes=[
                Route("/", self._index),
                Route("/state", self._state),
                Route("/actions", self._act, methods=["POST"]),
                Route("/web-sdk", self._sdk_page),
                Route("/web-sdk/fetch", self._fetch_sdk, methods=["POST"]),
                Route("/web-sdk/settings", self._sdk_settings),
                Route("/packages/{path:path}", self._package),
                Mount("/page", StaticFiles(directory=PAGE_FOLDER)),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)],
        )

    async def _index(self, _request: Request) -> Response:
        return FileResponse(PAGE_FOLDER / "index.html", headers={"content-security-policy": _POLICY})

    async def _state(self, _request: Request) -> Response:
        """Server-sent events: the document at once, and after each change."""
        following = self._board.follow(idle_s=IDLE_S)
        try:
            first = await anext(following, b"")
        except TooManyPages as exc:
            return JSONResponse({"error": str(exc)}, 503)

        async def events() -> AsyncIterator[bytes]:
            try:
                yield _event(first)
                async for document in following:
                    yield _event(document)
            finally:
                await following.aclose()

        return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _act(self, request: Request) -> Response:
        if (refused := self._foreign(request)) is not None:
            return refused
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "An action is sent as application/json."}, 415)
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > ACTIONS_BYTES_MAX:
                    return JSONResponse({"error": f"An action has {ACTIONS_BYTES_MAX} bytes at most."}, 413)
            await self._actions.perform(decode_action(body))
        except ClientDisconnect:
            return Response(status_code=400)
        except ActionRefused as exc:
            return JSONResponse({"error": str(exc)}, 400)
        self._board.changed()
        return Response(status_code=204)

    async def _fetch_sdk(self, request: Request) -> Response:
        if (refused := self._foreign(request)) is not None:
            return refused
        self._web_sdk.fetch()
        return Response(status_code=204)

    async def _sdk_page(self, _request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = (PAGE_FOLDER / "web-sdk.html").read_text("utf-8")
        filled = text.replace("{{nonce}}", nonce).replace("{{imports}}", json.dumps({"imports": IMPORTS}))
        peers = " ".join(self._peers.values())
        return HTMLResponse(filled, headers={"content-security-policy": _SDK_POLICY.format(nonce=nonce, peers=peers)})

    async def _sdk_settings(self, _request: Request) -> Response:
        settings = {"worker": WORKER_PATH, "schema": schema_for_page(SCHEMA), "user": ALICE, "foreign_list": BOBS_LIST}
        return JSONResponse(settings | self._peers)

    async def _package(self, request: Request) -> Response:
        """A file of the fetched packages."""
        if self._web_sdk.modules is None:
            return Response(status_code=404)
        root = self._web_sdk.modules.resolve()
        path = (root / request.path_params["path"]).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return Response(status_code=404)
        return FileResponse(path, media_type=_MODULE_TYPES.get(path.suffix))

    def _foreign(self, request: Request) -> Response | None:
        """What another page's request is answered with; None for one of our own."""
        if request.headers.get("origin") in self._origins:
            return None
        return JSONResponse({"error": "Only the demo's own page may do this."}, 403)


def schema_for_page(schema: Schema) -> dict[str, dict[str, object]]:
    """The schema of the devices in the terms of the official SDK: columns by table, and whether previous values are tracked."""
    return {
        table.name: {
            "columns": {column.name: column.type.value.lower() for column in table.columns},
            "trackPrevious": bool(table.previous_columns),
        }
        for table in schema.tables
    }


def _event(document: bytes) -> bytes:
    return b"data: " + document + b"\n\n" if document else b": idle\n\n"
