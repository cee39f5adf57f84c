"""Comparing the records with the files on the device: after a crash, or after somebody has tidied up the folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from syncline.client.attachments.limits import ORPHAN_AGE_S
from syncline.client.attachments.model import Attachment, AttachmentState
from syncline.client.attachments.storage import LocalStorage
from syncline.client.attachments.store import AttachmentStore

__all__ = ["Verification", "verify"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found and repaired: records whose file was `missing`, uploads among them that are `lost`, files without a record."""

    missing: int = 0
    lost: int = 0
    orphans: int = 0


async def verify(store: AttachmentStore, local: LocalStorage) -> Verification:
    """Download again what is missing, give up what cannot be had any more, delete files that no record knows."""
    # Files first: a file that is saved meanwhile is not in this list.
    files = await local.files()
    known: set[str] = set()
    missing: list[Attachment] = []
    after = ""
    while page := await store.with_files(after=after):
        for attachment in page:
            assert attachment.local_uri is not None
            known.add(attachment.local_uri)
            if await local.find(attachment.local_uri) is None:
                missing.append(attachment)
        after = page[-1].id
    await store.change_all([(attachment, _repaired(attachment)) for attachment in missing])
    lost = sum(_is_lost(attachment) for attachment in missing)
    if lost:
        _log.error("%d attachments were lost before their upload.", lost, extra={"event": "attachment_lost"})
    orphans = [file for file in files if file.uri not in known and file.age_s > ORPHAN_AGE_S]
    for file in orphans:
        await local.delete(file.uri)
    return Verification(len(missing), lost, len(orphans))


def _is_lost(attachment: Attachment) -> bool:
    """Whether the missing file was the only copy."""
    return attachment.state is AttachmentState.QUEUED_UPLOAD and not attachment.has_synced


def _repaired(attachment: Attachment) -> Attachment | None:
    """What becomes of a record without its file; None: it is deleted."""
    without = replace(attachment, local_uri=None, size=None)
    if _is_lost(attachment):
        return replace(without, state=AttachmentState.ARCHIVED)
    match attachment.state:
        case AttachmentState.ARCHIVED:
            return None
        case AttachmentState.QUEUED_UPLOAD | AttachmentState.SYNCED:
            return replace(without, state=AttachmentState.QUEUED_DOWNLOAD)
        case AttachmentState.QUEUED_DOWNLOAD | AttachmentState.QUEUED_DELETE:
            return without
