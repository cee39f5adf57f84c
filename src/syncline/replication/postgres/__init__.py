"""Postgres as a source: logical replication with pgoutput.

`pgoutput` and `values` are PURE (bytes to events, texts to sync values); `catalog` (tables and types), `checks` (is it set up), `slot`,
`snapshot` with `copy_out` and `copy_rows`, `stream`, `head`, and `source`, which ties them together. Facts: docs/reference/replication.md.
"""
