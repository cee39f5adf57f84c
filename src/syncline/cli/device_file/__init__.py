"""A client's SQLite file as `syncline queue` and `syncline inspect` see it: without the app, and without its schema."""
