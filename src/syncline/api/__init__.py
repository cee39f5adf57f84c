"""The service's HTTP face, as an ASGI app: `app` (routes), `stream` (sync streams), `websocket` (the same over WebSockets),
`checkpoints` (write checkpoints), `probes`, `answers` (error envelope, CORS). Facts: docs/reference/protocol.md, sections 1, 2, 4, 5, 7.
"""
