"""How the device talks to the service: `http` (lines of JSON), `websocket` (RSocket), `polling` (pages of a backend's own route).

`base` has the contract of all of them, `choice` makes one from its name. What it takes to write another one is in `base.Transport`.
"""
