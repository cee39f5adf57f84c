"""Syncline: local-first sync for applications whose data lives in a database of their own.

Each role lives in a package of its own and is imported by its name: `syncline.client` (the device), `syncline.backend`
(the write API), `syncline.service` (the sync service), `syncline.testing` (doubles and fixtures for your tests).
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
