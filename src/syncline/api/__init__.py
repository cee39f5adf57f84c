"""The service's HTTP face, as an ASGI app: `app` (routes), `stream` (sync streams), `checkpoints` (write checkpoints), `probes`,
`answers` (error envelope, CORS). Facts: docs/reference/protocol.md, sections 1, 2, 5 and 7.
"""
