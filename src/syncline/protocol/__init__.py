"""PURE: the wire, shared by client, service and backend. Facts: docs/reference/protocol.md.

`ops` (operations and checksums), `bucket_names`, `lines` (what the service streams), `requests` (what a client asks),
`ndjson` (framing), `crud` (what a client uploads).
"""
