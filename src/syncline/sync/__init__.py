"""A client's open stream: `session` (PURE: what to send next), `checkpoint_state` (PURE: what a connection knows), `encoding` (PURE),
`checkpoint_watcher` (one per process: who has to hear of a change), `stream` (the runner that ties them to storage).
"""
