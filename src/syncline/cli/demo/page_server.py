"""The web page of a running demo: its state, its buttons and the official SDK's files, served together."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping

from syncline.cli.demo.actions import Actions
from syncline.cli.demo.board_feed import running_board
from syncline.cli.demo.devices import Device
from syncline.cli.demo.serving import port_of, serve
from syncline.cli.demo.stack import Stack
from syncline.cli.demo.web import HOSTS, Page
from syncline.cli.demo.web_sdk import WebSdkFiles

__all__ = ["page_origins", "page_url", "running_page", "somebody_looks"]


def page_url(listening: socket.socket) -> str:
    """Where the page is, or will be."""
    return f"http://127.0.0.1:{port_of(listening)}"


def page_origins(listening: socket.socket) -> frozenset[str]:
    """What a browser calls the page, by the name that somebody has typed."""
    return frozenset(f"http://{host}:{port_of(listening)}" for host in HOSTS)


@contextlib.asynccontextmanager
async def running_page(stack: Stack, devices: list[Device], listening: socket.socket) -> AsyncGenerator[None]:
    """Serve the page on `listening` for as long as the block runs."""
    async with contextlib.AsyncExitStack() as closing:
        web_sdk = WebSdkFiles()
        closing.push_async_callback(web_sdk.close)
        board = await closing.enter_async_context(running_board(stack, devices, web_sdk))
        page = Page(
            board,
            Actions(stack, devices),
            web_sdk,
            origins=page_origins(listening),
            peers={"backend": stack.backend_url, "service": stack.service_url},
        )
        await serve(page.app, listening, closing)
        closing.callback(board.close)  # first of all: a server waits for streams that are open
        yield


def somebody_looks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser may be opened: the demo runs in a terminal, and the machine has a display."""
    has_display = sys.platform in ("darwin", "win32") or bool(
        environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    )
    return has_display and sys.stdout.isatty()
