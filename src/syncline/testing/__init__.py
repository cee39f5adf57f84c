"""For your tests and ours (docs/howto/test-your-app.md).

In memory, without sockets: `service` (a sync service with its backend and source), `link` (a device's network with faults) and
`simulated_loop` (a virtual clock, devices that die at any step). With real parts: `plugin` (pytest fixtures), `postgres`, `proxy`
(a TCP proxy with faults), `service_process`, `waiting`.
"""
