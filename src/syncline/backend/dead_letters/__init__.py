"""Refused client transactions, kept by the backend: `letters` (what one is, and the contract of a store), `rows` (as a database holds
them), `handling` (look, apply again, give up).
"""
