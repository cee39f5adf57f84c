from __future__ import annotations

from syncline.protocol.ops import add_checksums, put_checksum, remove_checksum, to_signed32, to_unsigned32


def test_checksums_are_those_of_the_worked_example() -> None:
    """Protocol reference, section 3."""
    first = put_checksum("todos", "t1", '{"id":"t1","title":"Buy milk","done":0}')
    second = put_checksum("todos", "t1", '{"id":"t1","title":"Buy milk","done":1}')
    removed = remove_checksum("6f0c2f0e-1a1e-4c02-9c3b-2a58b6f6f001/8d6b1d3c-8a57-5f0e-9a52-3f1f0a9d7c11")
    assert (first, second, removed) == (608351665, 538466362, 1660406058)
    assert add_checksums(first, second) == 1146818027
    assert to_signed32(add_checksums(add_checksums(first, second), removed)) == -1487743211


def test_signed_and_unsigned_forms_are_the_same_number_modulo_two_to_the_32() -> None:
    assert to_signed32(2**31) == -(2**31)
    assert to_signed32(2**31 - 1) == 2**31 - 1
    assert to_unsigned32(-1) == 2**32 - 1
