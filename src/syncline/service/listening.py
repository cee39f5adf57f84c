"""The port of the API: one listening socket of one process, or one of each worker, among which the kernel spreads connections."""

from __future__ import annotations

import socket

from syncline.errors import ConfigError

__all__ = ["SEND_BUFFER_BYTES", "listen", "reserve_port"]

SEND_BUFFER_BYTES = 256 * 1024  # kernel send buffer of one connection: what a client that stops reading can park there
BACKLOG = 2048  # connections that wait to be accepted


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind the port and listen. `shared`: other workers of the service do so too. Raises ConfigError when it is in use."""
    listening = _bound(host, port, shared=shared)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def reserve_port(host: str, port: int) -> socket.socket:
    """Keep the port for workers that will listen on it together; port 0 becomes a free one. Raises ConfigError when it is in use.

    The first attempt shares with nobody, for a port on which another service's workers listen could be shared by mistake. What is
    kept is bound and does not listen, so that no connection comes here.
    """
    alone = _bound(host, port, shared=False)
    port = alone.getsockname()[1]
    alone.close()
    return _bound(host, port, shared=True)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {exc.strerror}",
            hint="Another program may use the port: choose another `port`, or stop that program.",
        ) from exc
    return bound
