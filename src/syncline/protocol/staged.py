"""PURE: staged uploads, for one client transaction that is larger than a request may be (write path reference, 2.3).

The transaction is cut into numbered parts, whole operations each. `POST {base}` announces it, `PUT {base}/{id}/{part}` brings a part,
`POST {base}/{id}/commit` says which parts make it, and `GET {base}/{id}` tells what became of it. Every step may be repeated. The identity
of the transaction and its content hash are those that it would have in one request.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from hashlib import sha256

import msgspec

from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudOperation, TransactionResult

__all__ = [
    "STAGED_FULL",
    "STAGED_PATH",
    "ContentHasher",
    "StagedBegin",
    "StagedCommit",
    "StagedMissing",
    "StagedPart",
    "StagedState",
    "StagedStatus",
    "cut_into_parts",
    "decode_part",
    "hash_of_part",
]

STAGED_PATH = "/api/data/staged"
STAGED_FULL = "STAGED_FULL"  # code of a 413 that smaller parts cannot help


class StagedState(enum.StrEnum):
    """What a staged upload waits for."""

    OPEN = "open"  # for parts, or to be committed again after an error that may pass
    APPLYING = "applying"  # for the backend
    DONE = "done"  # for nothing: the verdict is there


class StagedBegin(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Body of `POST {base}`: which transaction this is. The same one again gets the same staged upload.

    `first_op_id` and `last_op_id` are the lowest and highest `client_op_id`; with `client_id` they are its identity.
    """

    content_hash: str  # `protocol.crud.content_hash` of the whole transaction
    operations: int
    client_id: str | None = None
    first_op_id: int | None = None
    last_op_id: int | None = None
    transaction_id: int | None = None


class StagedPart(msgspec.Struct, frozen=True):
    """Body of `PUT {base}/{id}/{part}`: operations that follow each other."""

    crud: list[CrudOperation]


class StagedCommit(msgspec.Struct, frozen=True):
    """Body of `POST {base}/{id}/commit`: the SHA-256 (hex) of each part's body, from part 0 on."""

    parts: list[str]


class StagedStatus(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Answer of all four. `parts` are the stored ones with their hashes; `result` is the verdict, or the error that may pass."""

    id: str
    state: StagedState
    part_bytes: int  # a good size of one part
    parts: dict[int, str] = msgspec.field(default_factory=dict[int, str])
    result: TransactionResult | None = None


class StagedMissing(msgspec.Struct, frozen=True):
    """Answer (409) to a commit of parts that are not stored, or are stored with another content."""

    message: str
    missing: list[int]


_part_decoder = msgspec.json.Decoder(StagedPart)
_canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode


class ContentHasher:
    """The content hash of a transaction, operation by operation: equal to `content_hash` of the whole."""

    def __init__(self) -> None:
        self._hash = sha256(b'{"crud":[')
        self.operations = 0

    def update(self, operations: Iterable[CrudOperation]) -> None:
        """Add operations, in their order."""
        for operation in operations:
            self._hash.update(b"," + _canonical(operation) if self.operations else _canonical(operation))
            self.operations += 1

    def digest(self, transaction_id: int | None) -> str:
        """The hash (hex) of what was added, as the transaction with this id."""
        end = self._hash.copy()
        end.update(b"]}" if transaction_id is None else b'],"transaction_id":%d}' % transaction_id)
        return end.hexdigest()


def cut_into_parts(operations: Iterable[CrudOperation], part_bytes: int) -> Iterator[bytes]:
    """Bodies of the parts, one at a time: as many whole operations as fit, at least one. The same operations give the same parts."""
    assert part_bytes > 0
    texts: list[bytes] = []
    size = 0
    for operation in operations:
        text = _encode(operation)
        if texts and size + len(text) > part_bytes:
            yield _body(texts)
            texts, size = [], 0
        texts.append(text)
        size += len(text) + 1
    if texts:
        yield _body(texts)


def decode_part(body: bytes) -> StagedPart:
    """Read a part. Raises RequestInvalid for what is none, an empty one too."""
    try:
        part = _part_decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([str(exc)]) from exc
    if not part.crud:
        raise RequestInvalid(["crud is empty"])
    return part


def hash_of_part(body: bytes) -> str:
    """SHA-256 (hex) of a part's body."""
    return sha256(body).hexdigest()


def _body(texts: list[bytes]) -> bytes:
    return b'{"crud":[' + b",".join(texts) + b"]}"
