"""Kafka's UUIDs: 16 raw bytes on the wire and in memory, unpadded base64url in text."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TypeAlias

Uuid: TypeAlias = bytes

ZERO_UUID: Uuid = bytes(16)
"""What stands for "no id"."""

ONE_UUID: Uuid = bytes(15) + b"\x01"
"""Reserved by Kafka: the id of `__cluster_metadata`."""

UUID_BYTES = 16
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def uuid_to_string(uuid: Uuid) -> str:
    """The 22 characters that Kafka's tools and files show for a UUID."""
    if len(uuid) != UUID_BYTES:
        raise ValueError(f"a UUID has {UUID_BYTES} bytes, not {len(uuid)}")
    return b2a_base64(uuid, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def uuid_from_string(text: str) -> Uuid:
    """The UUID that `text` stands for; `ValueError` if it is not the base64url of 16 bytes."""
    try:
        raw = text.encode("ascii").translate(_FROM_URL)
        uuid = a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)
    except (Error, UnicodeEncodeError) as error:
        raise ValueError(f"not a UUID: {text!r}") from error
    if len(uuid) != UUID_BYTES:
        raise ValueError(f"not a UUID of {UUID_BYTES} bytes: {text!r}")
    return uuid
