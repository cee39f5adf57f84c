"""PURE: RSocket 1.0, by which sync streams travel over a WebSocket (protocol reference, 4): `frames` and the server's `connection`."""
