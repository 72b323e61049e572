"""Producer ids and transactions, of both protocols."""

from __future__ import annotations

from random import Random

from odradek.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)
from odradek.wire.messages.describe_producers import DescribeProducersRequest, TopicRequest
from odradek.wire.messages.describe_transactions import DescribeTransactionsRequest
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.list_transactions import ListTransactionsRequest
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from odradek.wire.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)
from odradek.wire.schema import Message
from tests.differential.operations.registry import operation
from tests.differential.world import Producer, Step, World


def _transactional(random: Random, world: World) -> Producer | None:
    found = [producer for producer in world.producers if producer.transactional_id is not None]
    return random.choice(found) if found else None


def _identity(random: Random, producer: Producer) -> tuple[str, int, int]:
    """Seldom not the producer's own."""
    assert producer.transactional_id is not None
    epoch, producer_id = producer.epoch, producer.producer_id
    if random.random() < 0.06:
        epoch = max(epoch + random.choice((-1, 1)), -1)
    elif random.random() < 0.03:
        producer_id += 1_000_000
    return producer.transactional_id, producer_id, epoch


@operation(2)
def init_producer_id(random: Random, world: World) -> list[Step]:
    transactional_id = random.choice((None, *world.transactional_ids))
    old = next((one for one in world.producers if one.transactional_id == transactional_id is not None), None)
    producer = old or Producer(transactional_id)
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=600_000)
    version = random.randint(0, 5)
    if random.random() < 0.05:
        request.transaction_timeout_ms = random.choice((0, -1, 1 << 30))
    if version >= 3 and old is not None and random.random() < 0.4:
        request.producer_id, request.producer_epoch = old.producer_id, old.epoch
        if random.random() < 0.2:
            request.producer_epoch += random.choice((-1, 1))

    def note(answer: Message) -> None:
        assert isinstance(answer, InitProducerIdResponse)
        if answer.error_code == 0:
            producer.producer_id, producer.epoch = answer.producer_id, answer.producer_epoch
            producer.sequences.clear()
            if producer not in world.producers:
                world.producers.append(producer)

    return [Step(request, version=version, then=note, ends_transaction=transactional_id)]


@operation(3)
def add_partitions_to_txn(random: Random, world: World) -> list[Step]:
    producer = _transactional(random, world)
    if producer is None:
        return []
    transactional_id, producer_id, epoch = _identity(random, producer)
    topics: dict[str, AddPartitionsToTxnTopic] = {}
    for _ in range(random.choice((1, 1, 2))):
        topic = world.topic(random)
        data = topics.setdefault(topic.name, AddPartitionsToTxnTopic(name=topic.name))
        partition = world.partition(topic, random)
        if partition not in data.partitions:
            data.partitions.append(partition)
    if random.random() < 0.6:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=transactional_id,
            v3_and_below_producer_id=producer_id,
            v3_and_below_producer_epoch=epoch,
            v3_and_below_topics=list(topics.values()),
        )
        return [Step(request, version=random.randint(0, 3))]
    one = AddPartitionsToTxnTransaction(
        transactional_id=transactional_id,
        producer_id=producer_id,
        producer_epoch=epoch,
        verify_only=random.random() < 0.5,
        topics=list(topics.values()),
    )
    return [Step(AddPartitionsToTxnRequest(transactions=[one]), version=random.randint(4, 5))]


@operation(1.5)
def add_offsets_to_txn(random: Random, world: World) -> list[Step]:
    producer = _transactional(random, world)
    if producer is None:
        return []
    transactional_id, producer_id, epoch = _identity(random, producer)
    request = AddOffsetsToTxnRequest(
        transactional_id=transactional_id,
        producer_id=producer_id,
        producer_epoch=epoch,
        group_id=random.choice(world.groups),
    )
    return [Step(request)]


@operation(2)
def txn_offset_commit(random: Random, world: World) -> list[Step]:
    producer = _transactional(random, world)
    if producer is None:
        return []
    transactional_id, producer_id, epoch = _identity(random, producer)
    topic = world.topic(random)
    wanted = TxnOffsetCommitRequestPartition(
        partition_index=world.partition(topic, random),
        committed_offset=random.choice((0, 1, 5, 5, -1)),
        committed_metadata=random.choice((None, "", "m", "x" * 5000)),
    )
    request = TxnOffsetCommitRequest(
        transactional_id=transactional_id,
        group_id=random.choice(world.groups),
        producer_id=producer_id,
        producer_epoch=epoch,
        topics=[TxnOffsetCommitRequestTopic(name=topic.name, topic_id=topic.wire_id, partitions=[wanted])],
    )
    version = random.randint(0, 6)
    if version >= 3 and world.members and random.random() < 0.3:
        member = random.choice(world.members)
        request.group_id, request.member_id = member.group, member.member_id
        request.generation_id_or_member_epoch = member.epoch
    return [Step(request, version=version)]


@operation(2.5)
def end_txn(random: Random, world: World) -> list[Step]:
    producer = _transactional(random, world)
    if producer is None:
        return []
    transactional_id, producer_id, epoch = _identity(random, producer)
    request = EndTxnRequest(
        transactional_id=transactional_id,
        producer_id=producer_id,
        producer_epoch=epoch,
        committed=random.random() < 0.5,
    )

    def note(answer: Message) -> None:
        assert isinstance(answer, EndTxnResponse)
        if answer.error_code == 0 and answer.producer_id >= 0:
            if (answer.producer_id, answer.producer_epoch) != (producer.producer_id, producer.epoch):
                producer.sequences.clear()
            producer.producer_id, producer.epoch = answer.producer_id, answer.producer_epoch

    return [Step(request, version=random.choice((0, 3, 4, 5, 5, 5)), then=note, ends_transaction=transactional_id)]


@operation(1)
def describe_transactions(random: Random, world: World) -> list[Step]:
    names = [*world.transactional_ids, world.nobody]
    chosen = random.sample(names, random.choice((0, 1, 2)))
    return [Step(DescribeTransactionsRequest(transactional_ids=chosen))]


@operation(0.7)
def list_transactions(random: Random, world: World) -> list[Step]:
    request = ListTransactionsRequest()
    version = random.randint(0, 2)
    request.state_filters = random.choice(
        ([], [], ["Empty"], ["Ongoing", "CompleteCommit"], ["CompleteAbort", "Nothing"], ["ongoing"], [""])
    )
    if random.random() < 0.3 and world.producers:
        request.producer_id_filters = [random.choice(world.producers).producer_id, 999_999]
    if version >= 1:
        request.duration_filter = random.choice((-1, -1, 0, 1_000_000_000))
    if version >= 2:
        request.transactional_id_pattern = random.choice((None, "", ".*-x0", f"{world.prefix}.*", "nothing", "["))
    return [Step(request, version=version)]


@operation(1.5)
def describe_producers(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = TopicRequest(name=topic.name, partition_indexes=[world.partition(topic, random)])
    return [Step(DescribeProducersRequest(topics=[wanted]))]


@operation(0.3)
def write_txn_markers(random: Random, world: World) -> list[Step]:
    """As an administrator does who ends a hanging transaction."""
    if not world.producers:
        return []
    producer = random.choice(world.producers)
    topic = world.topic(random)
    marker = WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=max(producer.epoch + random.choice((0, 0, 0, 1, -1)), 0),
        transaction_result=False,
        topics=[WritableTxnMarkerTopic(name=topic.name, partition_indexes=[world.partition(topic, random)])],
        coordinator_epoch=random.choice((-1, 0)),
    )
    return [Step(WriteTxnMarkersRequest(markers=[marker]))]
