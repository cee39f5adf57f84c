"""PURE: RSocket 1.0, by which sync streams travel over a WebSocket (protocol reference, 4).

`frames` are read and written by both sides; `connection` is the service's side, `client_connection` the device's.
"""
