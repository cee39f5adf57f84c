"""The client for plain code: `from syncline.client.blocking import SyncDatabase`. Everything else is imported from `syncline.client`."""

from __future__ import annotations

from syncline.client.blocking.callbacks import Dispatcher, Subscription
from syncline.client.blocking.connector import BackendConnector
from syncline.client.blocking.database import SyncDatabase, get_database, reset_database
from syncline.client.blocking.iterators import BlockingIterator, BlockingWatch
from syncline.client.blocking.transactions import ReadTransaction, WriteTransaction

__all__ = [
    "BackendConnector",
    "BlockingIterator",
    "BlockingWatch",
    "Dispatcher",
    "ReadTransaction",
    "Subscription",
    "SyncDatabase",
    "WriteTransaction",
    "get_database",
    "reset_database",
]
