"""The topics and partitions that a request is about, wherever its API names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from odradek.testing.faults.matching import Place
from odradek.wire.schema import Message, Struct
from odradek.wire.uuids import ZERO_UUID, Uuid

TopicName = Callable[[Uuid], str | None]
"""The name of a topic id; None for one that does not exist."""

_NAMES = ("topic", "topic_name", "name")
_INDEXES = ("index", "partition_index", "partition", "partition_id")
_TOPIC_RESOURCE = 2


def places_of(request: Message, topic_name: TopicName) -> list[Place]:
    """All of them, in order; a topic without partitions stands for itself."""
    return list(_places(request, topic_name))


def topic_of(struct: Struct, topic_name: TopicName) -> str | None:
    """The topic that a part of a message is about; None if it does not say so."""
    topic_id = getattr(struct, "topic_id", ZERO_UUID)
    if topic_id != ZERO_UUID:
        return topic_name(topic_id)
    for attribute in _NAMES:
        value = getattr(struct, attribute, None)
        if isinstance(value, str) and value:
            return value
    return None


def index_of(struct: Struct) -> int | None:
    """The partition that a part of a message is about; None if it does not say so."""
    for attribute in _INDEXES:
        value = getattr(struct, attribute, None)
        if isinstance(value, int):
            return value
    return None


def _places(struct: Struct, topic_name: TopicName) -> Iterator[Place]:
    for declared in struct.FIELDS:
        value = getattr(struct, declared.name)
        if not isinstance(value, list):
            continue
        if declared.name == "topic_names" or declared.name == "subscribed_topic_names":
            yield from ((each, None) for each in value)
        for each in value:
            if not isinstance(each, Struct):
                continue
            if "topic" in declared.name:
                yield from _partitions(each, topic_name)
            elif getattr(each, "resource_type", None) == _TOPIC_RESOURCE:
                yield getattr(each, "resource_name", ""), None
            else:
                yield from _places(each, topic_name)


def _partitions(struct: Struct, topic_name: TopicName) -> Iterator[Place]:
    topic = topic_of(struct, topic_name)
    if topic is None:
        return
    indexes: list[int] = []
    for declared in struct.FIELDS:
        value = getattr(struct, declared.name)
        if not isinstance(value, list) or "partition" not in declared.name:
            continue
        for each in value:
            index = each if isinstance(each, int) else index_of(each) if isinstance(each, Struct) else None
            if index is not None:
                indexes.append(index)
    if indexes:
        yield from ((topic, index) for index in indexes)
    else:
        yield topic, None
