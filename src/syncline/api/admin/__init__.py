"""What administrators ask for over HTTP, behind the tokens of `api.tokens` (protocol reference, 7.2 and 7.3).

`routes` (paths to handlers), `bodies` (content types, fields), `deployments` (which sync config is wanted),
`diagnostics` and `status` (how everything stands), `sync_rules` (what a config holds), `revoking` (whose streams end now).
"""
