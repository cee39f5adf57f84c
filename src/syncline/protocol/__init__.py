"""PURE: the wire, shared by client, service and backend. Facts: docs/reference/protocol.md.

`ops` (operations and checksums), `bucket_names`, `lines` (what the service streams), `requests` (what a client asks),
`ndjson` (framing), `rsocket` (framing over WebSockets), `crud` (what a client uploads).
"""
