"""An oracle for the sync config language: generated configs, rows and users, compared with the same queries in Postgres.

`tree` and `query_tree` are the language of the generator. A case is drawn by `schema`, `units`, `scalars`, `conditions`, `relations`,
`result_columns`, `queries` and `cases`. `sync_sql` writes it as sync config; `postgres_sql`, `postgres_values` and `values.sql` write it
as Postgres. `service` is our side, `source` the other, and `comparison` holds them together. `constructs`, with `conditions_seen` and
`expressions_seen`, counts what occurred; `shrinking` makes failures small; `run` runs many.
"""
