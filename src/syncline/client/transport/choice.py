"""From `connect(transport=…)` to a transport; a library for HTTP is imported here and nowhere before.

`import syncline.client` is part of the start of every app and has to be fast; a script that only reads the file needs no network.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Literal

from syncline.client.transport.base import Transport, TransportLimits

__all__ = ["TransportChoice", "TransportName", "load_transport", "make_transport"]

TransportName = Literal["http", "websocket", "polling"]
TransportChoice = Transport | TransportName


async def load_transport(choice: TransportChoice) -> None:
    """Import what `make_transport` will need, in a thread: the libraries take a part of a second, and the event loop is the app's."""
    if not isinstance(choice, Transport) and choice in ("http", "websocket", "polling"):
        await asyncio.to_thread(importlib.import_module, f"syncline.client.transport.{choice}")


def make_transport(choice: TransportChoice, *, limits: TransportLimits | None = None) -> Transport:
    """The transport of this name, with these limits; an object comes back as it is. Raises ValueError for another name."""
    if isinstance(choice, Transport):
        return choice
    limits = limits or TransportLimits()
    match choice:
        case "http":
            from syncline.client.transport.http import HttpTransport

            return HttpTransport(limits)
        case "websocket":
            from syncline.client.transport.websocket import WebSocketTransport

            return WebSocketTransport(limits)
        case "polling":
            from syncline.client.transport.polling import PollingTransport

            return PollingTransport(limits)
    raise ValueError(f"There is no transport {choice!r}: it is 'http', 'websocket', 'polling' or a Transport.")
