"""`syncline demo`: `model` (the canonical todo app), `stack` (Postgres, service, backend), `devices`, `scenario` (what is shown
and checked), `prompt` (the line of commands), `show` (the whole).
"""
