"""Persisters commit a client transaction to one kind of database: `base` (the contract), `postgres`."""
