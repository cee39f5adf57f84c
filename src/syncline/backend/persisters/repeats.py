"""What a stored upload means for one whose ids reach into its own: the same for every database. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.backend.persisters.base import CLIENT_FORKED, UploadIdentity, WriteRefused
from syncline.protocol.crud import TransactionResult

__all__ = ["verdict_of_repeat"]


def verdict_of_repeat(identity: UploadIdentity, stored: Sequence[Any]) -> TransactionResult:
    """The stored verdict, `deduplicated`, where the upload is the stored one. Raises WriteRefused (CLIENT_FORKED) for any other.

    `stored` is a row of `syncline_uploads`: the first and the last operation id, the content's hash, and the verdict as JSON.
    """
    first, last, content_hash, verdict = stored
    if (first, last, content_hash) != (identity.first_crud_id, identity.last_crud_id, identity.content_hash):
        raise WriteRefused(
            CLIENT_FORKED,
            "These operation ids were used for other content: the device's file is a copy. Take a new client id and send again.",
        )
    result = msgspec.json.decode(verdict, type=TransactionResult)
    return msgspec.structs.replace(result, deduplicated=True)
