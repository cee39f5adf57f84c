"""PURE: limits of one RSocket connection, each with its unit and reason."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RSocketLimits"]

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class RSocketLimits:
    """What one peer may make us do and keep."""

    streams_max: int = 10  # streams and incomplete requests of a connection; SDKs open one
    setup_bytes_max: int = 256 * KIB  # bytes of SETUP, which comes before anybody was checked: a token, and room
    frame_bytes_max: int = 4 * MIB  # bytes of a later frame: the largest request, as over HTTP
    fragments_bytes_max: int = 4 * MIB  # bytes of all incomplete requests of a connection
    keepalive_bytes_max: int = 1 * KIB  # bytes that a keepalive carries, which are sent back; SDKs send none
    refusals_max: int = 100  # wrong frames of a connection, each answered on its stream, before it is closed
    setup_timeout_s: float = 10.0  # seconds until SETUP must have come
    lifetime_s_max: float = (
        300.0  # seconds of silence after which a peer is gone, whatever it asks for; SDKs ask for 90
    )
    idle_s_max: float = 60.0  # seconds that a connection may be without a stream; SDKs open theirs at once
