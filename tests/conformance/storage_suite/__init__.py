"""What every bucket storage must do. Written once, run on every implementation.

Subclass `StorageSuite`, or some of its parts, and give it the fixtures `storage` (an empty storage; a second opening of it finds what
the first wrote) and `rebuilt` (another empty one), and the method `take_lease_by_force`.
"""

from __future__ import annotations

from tests.conformance.storage_suite.compaction import CompactionSuite
from tests.conformance.storage_suite.consistency import ConsistencySuite
from tests.conformance.storage_suite.control import ControlSuite
from tests.conformance.storage_suite.custom_write_checkpoints import CustomWriteCheckpointSuite
from tests.conformance.storage_suite.downloads import DownloadSuite
from tests.conformance.storage_suite.large_rows import LargeRowSuite
from tests.conformance.storage_suite.lease import LeaseSuite
from tests.conformance.storage_suite.lookups import LookupSuite
from tests.conformance.storage_suite.rows import RowSuite
from tests.conformance.storage_suite.snapshot_progress import SnapshotProgressSuite
from tests.conformance.storage_suite.versions import VersionSuite
from tests.conformance.storage_suite.views import ViewSuite
from tests.conformance.storage_suite.visibility import VisibilitySuite
from tests.conformance.storage_suite.write_checkpoints import WriteCheckpointSuite

__all__ = ["StorageSuite"]


class StorageSuite(
    VisibilitySuite,
    ViewSuite,
    LookupSuite,
    VersionSuite,
    SnapshotProgressSuite,
    RowSuite,
    LeaseSuite,
    WriteCheckpointSuite,
    CustomWriteCheckpointSuite,
    ControlSuite,
    CompactionSuite,
    ConsistencySuite,
    DownloadSuite,
    LargeRowSuite,
):
    """All parts of the suite."""
