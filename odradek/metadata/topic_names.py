"""Which names a topic may have, and which topics are Kafka's own."""

from __future__ import annotations

import re

from odradek.wire.errors import ErrorCode, KafkaError

MAX_NAME_LENGTH = 249
"""Characters; a directory's name holds it with the partition and a suffix."""

GROUP_METADATA_TOPIC = "__consumer_offsets"
TRANSACTION_STATE_TOPIC = "__transaction_state"
SHARE_GROUP_STATE_TOPIC = "__share_group_state"
CLUSTER_METADATA_TOPIC = "__cluster_metadata"
INTERNAL_TOPICS = (GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC, SHARE_GROUP_STATE_TOPIC)

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def is_internal(name: str) -> bool:
    """Whether the brokers keep their own state in this topic, so that clients may not write to it."""
    return name in INTERNAL_TOPICS


def name_fault(name: str) -> str | None:
    """Why `name` cannot be a topic's, in Kafka's words; None if it can."""
    if not name:
        return "the empty string is not allowed"
    if name in (".", ".."):
        return f"'{name}' is not allowed"
    if len(name) > MAX_NAME_LENGTH:
        return f"the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"
    if not _LEGAL.fullmatch(name):
        return f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    return None


def check_name(name: str) -> None:
    """Raise KafkaError INVALID_TOPIC_EXCEPTION if `name` cannot be a topic's."""
    fault = name_fault(name)
    if fault is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {fault}")


def collision_key(name: str) -> str | None:
    """What colliding names have in common, since metrics cannot tell '.' from '_'; None for a name with neither."""
    if "." in name or "_" in name:
        return name.replace(".", "_")
    return None
