"""For your tests and ours: `plugin` (pytest fixtures with a real Postgres), `postgres`, `proxy` (a TCP proxy with faults), `waiting`."""
