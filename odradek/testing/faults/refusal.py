"""Error codes in the place that an API has for them: of a request, or of some of its topics and partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar, cast

from odradek.ports import Promise
from odradek.ports.network import Outcome, Reply
from odradek.server.dispatcher import error_response
from odradek.server.handlers import CloseConnection
from odradek.testing.faults.exchange import Exchange
from odradek.testing.faults.places import index_of, topic_of
from odradek.testing.faults.replies import after, changed, encoded
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.schema import Message, Struct
from odradek.wire.uuids import ZERO_UUID

S = TypeVar("S", bound=Struct)

IsMeant = Callable[[str, int | None], bool]
"""Whether a topic, or a partition of it, is to fail."""


class _Parts(NamedTuple):
    """The lists of topics of a request and of its response, and those of partitions in them."""

    topics: str
    answered: str
    partitions: str = "partitions"
    answered_partitions: str = "partitions"


_SPLIT: Mapping[ApiKey, _Parts] = {
    ApiKey.PRODUCE: _Parts("topic_data", "responses", "partition_data", "partition_responses"),
    ApiKey.LIST_OFFSETS: _Parts("topics", "topics"),
    ApiKey.OFFSET_COMMIT: _Parts("topics", "topics"),
    ApiKey.TXN_OFFSET_COMMIT: _Parts("topics", "topics"),
    ApiKey.OFFSET_DELETE: _Parts("topics", "topics"),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: _Parts("topics", "topics"),
    ApiKey.DELETE_RECORDS: _Parts("topics", "topics"),
    ApiKey.CREATE_TOPICS: _Parts("topics", "topics", "", ""),
    ApiKey.CREATE_PARTITIONS: _Parts("topics", "results", "", ""),
    ApiKey.DELETE_TOPICS: _Parts("topics", "responses", "", ""),
}
"""What answers each topic by itself. In what is not here the error is the whole request's."""

_OF_SESSIONS = (
    ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
    ErrorCode.INVALID_FETCH_SESSION_EPOCH,
    ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
)
_OF_PARTITIONS = (ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.REPLICA_NOT_AVAILABLE, ErrorCode.LISTENER_NOT_FOUND)
"""What Metadata says of partitions; everything else is of topics."""
_NO_OFFSET = -1
_NO_LEADER = -1


def refused(exchange: Exchange, code: ErrorCode, is_meant: IsMeant) -> Reply | Promise[Reply]:
    """Answer that what is meant has failed; the node does the rest, and nothing of that."""
    request = exchange.request
    assert request is not None, "nobody means what cannot be read"
    if isinstance(request, FetchRequest):
        return _refused_fetch(exchange, request, code, is_meant)
    if isinstance(request, MetadataRequest):
        return _refused_metadata(exchange, request, code, is_meant)
    parts = _SPLIT.get(exchange.head.key)
    if parts is not None:
        failing, rest = _split(exchange, request, parts, is_meant)
        if getattr(rest, parts.topics):
            refusal = _refusal(exchange, failing, code)
            if refusal is None:
                return Outcome.CLOSE
            return after(
                exchange.answer_to(rest),
                lambda reply: changed(exchange.head, reply, lambda response: _merge(response, refusal, parts)),
            )
    response = _refusal(exchange, request, code)
    return Outcome.CLOSE if response is None else encoded(exchange.head, response)


def _refusal(exchange: Exchange, request: Message, code: ErrorCode) -> Message | None:
    """The response of a request that fails as a whole; None where Kafka closes the connection."""
    handler = exchange.node.handler(exchange.head.key)
    if handler is None:
        return None
    try:
        return error_response(handler, exchange.head.version, request, KafkaError(code))
    except CloseConnection:
        return None


def _split(exchange: Exchange, request: Message, parts: _Parts, is_meant: IsMeant) -> tuple[Message, Message]:
    """What of a request is meant, and the rest of it."""
    meant: list[Struct] = []
    rest: list[Struct] = []
    for topic in getattr(request, parts.topics):
        name = topic_of(topic, exchange.node.topic_name) or ""
        partitions = getattr(topic, parts.partitions, None)
        if not isinstance(partitions, list):
            (meant if is_meant(name, None) else rest).append(topic)
            continue
        chosen = [is_meant(name, index_of(each)) for each in partitions]
        for wanted, into in ((True, meant), (False, rest)):
            some = [each for each, is_it in zip(partitions, chosen, strict=True) if is_it is wanted]
            if some:
                into.append(_with(topic, parts.partitions, some))
    return _with(request, parts.topics, meant), _with(request, parts.topics, rest)


def _with(struct: S, name: str, value: object) -> S:
    """A copy with another value in one field."""
    copy = {declared.name: getattr(struct, declared.name) for declared in struct.FIELDS}
    return type(struct)(**{**copy, name: value})


def _merge(response: Message, refusal: Message, parts: _Parts) -> None:
    """Add what failed to what the node has answered."""
    topics = cast("list[Struct]", getattr(response, parts.answered))
    for failed in cast("list[Struct]", getattr(refusal, parts.answered)):
        for topic in topics:
            if parts.answered_partitions and _is_same_topic(topic, failed):
                getattr(topic, parts.answered_partitions).extend(getattr(failed, parts.answered_partitions))
                break
        else:
            topics.append(failed)


def _is_same_topic(one: Struct, other: Struct) -> bool:
    names = ("name", "topic", "topic_id")
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


def _refused_fetch(
    exchange: Exchange, request: FetchRequest, code: ErrorCode, is_meant: IsMeant
) -> Reply | Promise[Reply]:
    """The node reads, so that its session goes on, and what it has read of these partitions is left out."""
    if code in _OF_SESSIONS:
        return encoded(exchange.head, FetchResponse(error_code=code))
    by_id = exchange.head.version >= _FIRST_WITH_TOPIC_IDS
    topic_name = exchange.node.topic_name
    keys: dict[tuple[object, int], None] = {}
    for topic in request.topics:
        key = topic.topic_id if by_id else topic.topic
        keys.update(dict.fromkeys((key, each.partition) for each in topic.partitions))
    if request.session_epoch > 0:
        keys.update(dict.fromkeys(exchange.node.fetched(request.session_id)))
    meant = [
        (topic, index)
        for topic, index in keys
        if is_meant(topic if isinstance(topic, str) else topic_name(cast("bytes", topic)) or "", index)
    ]

    def fail(response: Message) -> None:
        assert isinstance(response, FetchResponse)
        if response.error_code:
            return
        for key, index in meant:
            _fail_partition(response, key, index, code)

    now = _with(_with(request, "max_wait_ms", 0), "min_bytes", 0)
    return after(exchange.answer_to(now), lambda reply: changed(exchange.head, reply, fail))


_FIRST_WITH_TOPIC_IDS = 13


def _fail_partition(response: FetchResponse, key: object, index: int, code: ErrorCode) -> None:
    failed = PartitionData(partition_index=index, error_code=code, high_watermark=_NO_OFFSET, records=b"")
    for topic in response.responses:
        if key in (topic.topic, topic.topic_id):
            topic.partitions = [each for each in topic.partitions if each.partition_index != index] + [failed]
            return
    name, topic_id = (key, ZERO_UUID) if isinstance(key, str) else ("", cast("bytes", key))
    response.responses.append(FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[failed]))


def _refused_metadata(
    exchange: Exchange, request: MetadataRequest, code: ErrorCode, is_meant: IsMeant
) -> Reply | Promise[Reply]:
    """The node tells of its brokers all the same, as Kafka does; nothing is created."""

    def fail(response: Message) -> None:
        assert isinstance(response, MetadataResponse)
        for topic in response.topics:
            name = topic_of(topic, exchange.node.topic_name) or ""
            if code in _OF_PARTITIONS:
                for partition in topic.partitions:
                    if is_meant(name, partition.partition_index):
                        partition.error_code = code
                        if code is not ErrorCode.REPLICA_NOT_AVAILABLE:
                            partition.leader_id = _NO_LEADER
            elif is_meant(name, None):
                topic.error_code = code
                topic.partitions = []

    asked = _with(request, "allow_auto_topic_creation", exchange.head.version < _FIRST_WITHOUT_CREATION)
    return after(exchange.answer_to(asked), lambda reply: changed(exchange.head, reply, fail))


_FIRST_WITHOUT_CREATION = 4
"""From this version of Metadata on a client can say that no topic shall be created."""
