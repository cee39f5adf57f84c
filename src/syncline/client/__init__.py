"""The device client: a local SQLite database that syncs.

Everything that an app needs is imported from here.
"""

from __future__ import annotations

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.core.status import PriorityStatus, Progress, StreamStatus, SyncStatus
from syncline.client.crud import CrudEntry
from syncline.client.database import SyncDatabase, get_database
from syncline.client.http_connector import HttpConnector
from syncline.client.rows import Row
from syncline.client.schema import Column, Schema, Table
from syncline.client.upload_queue import CrudTransaction, UploadQueueStats
from syncline.protocol.crud import UpdateType

__all__ = [
    "BackendConnector",
    "Column",
    "Credentials",
    "CrudEntry",
    "CrudTransaction",
    "HttpConnector",
    "PriorityStatus",
    "Progress",
    "Row",
    "Schema",
    "StreamStatus",
    "SyncDatabase",
    "SyncStatus",
    "Table",
    "UpdateType",
    "UploadQueueStats",
    "get_database",
]
