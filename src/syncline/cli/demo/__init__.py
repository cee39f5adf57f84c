"""`syncline demo`: `model` (the canonical todo app), `stack` (Postgres, service, backend), `devices`, `scenario` (what is shown
and checked), `prompt` (the line of commands) over `console`, `show` (the whole).

The web page: `page/` (its files), `web` (what is served), `board` (the newest state for all pages), `board_feed` and `readings`
(what fills it), `state` (its form),
`actions` (what buttons do), `page_server` (all of it running). `web_sdk` and `npm_packages` bring the official web SDK for its second tab.
"""
