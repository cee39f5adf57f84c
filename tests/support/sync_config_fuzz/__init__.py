"""A fuzz test of the sync config: whatever a person can type ends in a plan or in problems, soon and in little memory.

`seeds` are configs of every construct; `text_mutators` and `query_mutators` damage them, `growth` makes them large, `bombs` are the
largest and strangest by hand. `trial` judges one text, `run` judges many in a process of its own (`python -m
tests.support.sync_config_fuzz`), and `report` adds up; `memory` says what a trial took of it.
"""
