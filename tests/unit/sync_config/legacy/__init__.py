"""Bucket definitions (legacy sync rules) and event definitions."""
