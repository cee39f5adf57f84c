"""A client's open stream: `session` (PURE: what to send next), `checkpoint_state` (PURE: what a connection knows), `encoding` and
`chunk_cache` (PURE), `checkpoint_watcher` (one per process: who has to hear of a change), `chunk_source` (one per process: who reads
when, and what is read once for many), `stream` (the runner that ties them to storage).
"""
