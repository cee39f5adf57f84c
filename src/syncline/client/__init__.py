"""The device client: a local SQLite database that syncs.

Everything that an app needs is imported from here.
"""

from __future__ import annotations

from syncline.client.account_guard import AccountChange
from syncline.client.checkpoint_requests import CheckpointRequest
from syncline.client.connection import ConnectionLimits
from syncline.client.connector import BackendConnector, Credentials
from syncline.client.connectors.backend_client import Answer, RequestTimeouts
from syncline.client.connectors.credential_flows import (
    ConfigAndToken,
    CredentialFlow,
    FixedCredentials,
    SessionToken,
    TokenEndpoint,
)
from syncline.client.connectors.dialect import TransactionUploader
from syncline.client.connectors.operations import OperationsUploader
from syncline.client.connectors.rest import RestPerEntryUploader
from syncline.client.connectors.shared import get_connector, reset_connector
from syncline.client.connectors.static import StaticConnector
from syncline.client.connectors.supabase import SupabaseConnector
from syncline.client.connectors.table_batches import TableBatchUploader
from syncline.client.connectors.transaction_list import TransactionsUploader
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.connectors.write_api import WriteApiUploader
from syncline.client.core.stalls import Stalled
from syncline.client.core.status import (
    BlockedBy,
    PriorityStatus,
    Progress,
    Role,
    StreamProgress,
    StreamStatus,
    SyncState,
    SyncStatus,
)
from syncline.client.crud import CrudEntry
from syncline.client.database import SyncDatabase, get_database, reset_database
from syncline.client.dead_letters import DeadLetter, Refusal
from syncline.client.encryption import EncryptionKey
from syncline.client.http_connector import HttpConnector
from syncline.client.ids import new_id, new_time_ordered_id
from syncline.client.latest import Superseded, latest
from syncline.client.mutators import Mutators, mutations_table
from syncline.client.rejections import RejectedOperation, Rejection, rejections_table, watch_rejections
from syncline.client.retry import Exponential, Fixed
from syncline.client.rows import Row
from syncline.client.schema import Column, RawTable, Schema, Table
from syncline.client.schema_drift import SchemaDrift
from syncline.client.schema_lint import lint_schema
from syncline.client.schema_raw import REST, ROW_ID, RawStatement
from syncline.client.settings import Settings, validate_url
from syncline.client.statements import ThreadTransaction
from syncline.client.sync_manager import ManagerState, OnSignOut, SyncManager
from syncline.client.token_stores import FileTokenStore, KeyringTokenStore, MemoryTokenStore, TokenStore
from syncline.client.upload_queue import CrudTransaction, UploadQueueStats
from syncline.client.watch import Watch
from syncline.client.watch_diff import Diff, Updated
from syncline.protocol.crud import UpdateType

__all__ = [
    "REST",
    "ROW_ID",
    "AccountChange",
    "Answer",
    "BackendConnector",
    "BlockedBy",
    "CheckpointRequest",
    "Column",
    "ConfigAndToken",
    "ConnectionLimits",
    "CredentialFlow",
    "Credentials",
    "CrudEntry",
    "CrudTransaction",
    "DeadLetter",
    "Diff",
    "EncryptionKey",
    "Exponential",
    "FileTokenStore",
    "Fixed",
    "FixedCredentials",
    "HttpConnector",
    "KeyringTokenStore",
    "ManagerState",
    "MemoryTokenStore",
    "Mutators",
    "OnSignOut",
    "OperationsUploader",
    "PriorityStatus",
    "Progress",
    "RawStatement",
    "RawTable",
    "Refusal",
    "RejectedOperation",
    "Rejection",
    "RequestTimeouts",
    "RestPerEntryUploader",
    "Role",
    "Row",
    "Schema",
    "SchemaDrift",
    "SessionToken",
    "Settings",
    "Stalled",
    "StaticConnector",
    "StreamProgress",
    "StreamStatus",
    "SupabaseConnector",
    "Superseded",
    "SyncDatabase",
    "SyncManager",
    "SyncState",
    "SyncStatus",
    "Table",
    "TableBatchUploader",
    "ThreadTransaction",
    "TokenEndpoint",
    "TokenStore",
    "TransactionUploader",
    "TransactionsUploader",
    "UpdateType",
    "Updated",
    "UploadPolicy",
    "UploadQueueStats",
    "Watch",
    "WriteApiUploader",
    "get_connector",
    "get_database",
    "latest",
    "lint_schema",
    "mutations_table",
    "new_id",
    "new_time_ordered_id",
    "rejections_table",
    "reset_connector",
    "reset_database",
    "validate_url",
    "watch_rejections",
]
