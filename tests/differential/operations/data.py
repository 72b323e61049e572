"""Records: produced in all ways, fetched in and outside of sessions, looked up, deleted."""

from __future__ import annotations

from random import Random

from odradek.wire.messages.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic
from odradek.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from odradek.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.schema import Message
from tests.differential.operations.registry import operation
from tests.differential.world import Session, Step, Topic, World
from tests.support.batches import CONTROL_BIT, TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT, Lies, batch

TIME_MS = 1_700_000_000_000
TIMES = (-1, -1, -2, -2, -3, -4, -5, -6, -7, 0, TIME_MS - 500, TIME_MS, TIME_MS + 2000)
EPOCHS = (-1, -1, -1, -1, -1, 0, 0, 1)


def some_batch(random: Random, *, producer: tuple[int, int, int] = (-1, -1, -1), attributes: int = 0) -> bytes:
    """One to four records, with a lie in the header at times."""
    count = random.choice((1, 1, 2, 3, 4))
    values = [random.choice((b"v", b"value", b"x" * 90, b"", None)) for _ in range(count)]
    keys = [random.choice((None, b"k", b"key", b"")) for _ in range(count)]
    times = [TIME_MS + random.randint(-1000, 1000) for _ in range(count)]
    if random.random() < 0.05:
        times[-1] = random.choice((-1, 0, 4_000_000_000_000))
    lies = Lies(attributes=attributes | random.choice((0, 0, 0, 1)))
    if random.random() < 0.06:
        lies = random.choice(
            (
                Lies(crc_xor=1),
                Lies(count=count + 1),
                Lies(last_offset_delta=count),
                Lies(attributes=CONTROL_BIT),
                Lies(attributes=TIMESTAMP_TYPE_BIT),
                Lies(attributes=TRANSACTIONAL_BIT),
                Lies(base_offset=7),
                Lies(max_timestamp_ms=TIME_MS + 5000),
                Lies(attributes=attributes | 64),
            )
        )
    return batch(values, keys=keys, timestamps_ms=times, producer=producer, lies=lies)


def _one(
    topic: Topic, partition: int, records: bytes | None, acks: int, transactional_id: str | None
) -> ProduceRequest:
    data = PartitionProduceData(index=partition, records=records)
    return ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=10_000,
        topic_data=[TopicProduceData(name=topic.name, topic_id=topic.wire_id, partition_data=[data])],
    )


@operation(6)
def produce(random: Random, world: World) -> list[Step]:
    topics: dict[str, TopicProduceData] = {}
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        topic = world.topic(random)
        records: bytes | None = some_batch(random)
        if random.random() < 0.03:
            records = random.choice((b"", some_batch(random) + some_batch(random)))
        data = topics.setdefault(topic.name, TopicProduceData(name=topic.name, topic_id=topic.wire_id))
        partition = world.partition(topic, random)
        if partition not in [one.index for one in data.partition_data]:
            data.partition_data.append(PartitionProduceData(index=partition, records=records))
    acks = random.choice((-1, -1, -1, 1, 1, 0, 2)) if random.random() < 0.3 else -1
    request = ProduceRequest(acks=acks, timeout_ms=10_000, topic_data=list(topics.values()))
    return [Step(request)]


@operation(5)
def produce_in_sequence(random: Random, world: World) -> list[Step]:
    """By an idempotent or a transactional producer: mostly what comes next, and at times again, or out of order."""
    producers = [producer for producer in world.producers if producer.producer_id >= 0]
    if not producers:
        return []
    producer = random.choice(producers)
    topic = world.topic(random)
    partition = world.partition(topic, random)
    if producer.sent and random.random() < 0.15:
        name, partition, records = random.choice(producer.sent[-6:])
        known = world.named(name)
        assert known is not None
        return [Step(_one(known, partition, records, -1, producer.transactional_id))]
    place = (topic.name, partition)
    sequence = producer.sequences.get(place, 0)
    epoch = producer.epoch
    if random.random() < 0.1:
        sequence = max(sequence + random.choice((-2, -1, 1, 5)), 0)
    elif random.random() < 0.05:
        epoch = max(epoch + random.choice((-1, 1)), 0)
    in_transaction = producer.transactional_id is not None
    if random.random() < 0.04:
        in_transaction = not in_transaction
    attributes = TRANSACTIONAL_BIT if in_transaction else 0
    records = some_batch(random, producer=(producer.producer_id, epoch, sequence), attributes=attributes)
    count = int.from_bytes(records[57:61], "big")

    def note(answer: Message) -> None:
        assert isinstance(answer, ProduceResponse)
        for one in answer.responses:
            for result in one.partition_responses:
                if result.error_code == 0:
                    producer.sequences[place] = sequence + count
                    producer.sent.append((topic.name, partition, records))

    request = _one(topic, partition, records, random.choice((-1, -1, -1, 1)), producer.transactional_id)
    version = 13 if producer.transactional_id is None or random.random() < 0.5 else random.randint(3, 12)
    return [Step(request, version=version, then=note)]


def _wanted(random: Random, world: World) -> tuple[Topic, FetchPartition]:
    topic = world.topic(random)
    wanted = FetchPartition(
        partition=world.partition(topic, random),
        fetch_offset=random.choice((0, 0, 0, 1, 2, 3, 5, 8, 13))
        if random.random() < 0.97
        else random.choice((-1, 1 << 40)),
        partition_max_bytes=random.choice((1 << 20, 1 << 20, 1, 100, 300)),
        current_leader_epoch=random.choice(EPOCHS),
        log_start_offset=-1,
    )
    if random.random() < 0.1:
        wanted.last_fetched_epoch = random.choice((0, 1))
    return topic, wanted


def _fetch(random: Random, wanted: list[tuple[Topic, FetchPartition]]) -> FetchRequest:
    topics: dict[str, FetchTopic] = {}
    for topic, partition in wanted:
        data = topics.setdefault(topic.name, FetchTopic(topic=topic.name, topic_id=topic.wire_id))
        if partition.partition not in [one.partition for one in data.partitions]:
            data.partitions.append(partition)
    return FetchRequest(
        max_wait_ms=random.choice((0, 0, 0, 20)),
        min_bytes=random.choice((0, 1, 1, 100)),
        max_bytes=random.choice((50 << 20, 50 << 20, 1, 200, 1000)),
        isolation_level=random.choice((0, 1)),
        session_id=0,
        session_epoch=-1,
        topics=list(topics.values()),
    )


@operation(6)
def fetch(random: Random, world: World) -> list[Step]:
    request = _fetch(random, [_wanted(random, world) for _ in range(random.choice((1, 1, 2, 3)))])
    return [Step(request)]


@operation(2)
def fetch_new_session(random: Random, world: World) -> list[Step]:
    request = _fetch(random, [_wanted(random, world) for _ in range(random.choice((0, 1, 2, 3)))])
    request.session_epoch = 0
    session = Session()

    def note(answer: Message) -> None:
        assert isinstance(answer, FetchResponse)
        if answer.session_id:
            session.session_id, session.epoch = answer.session_id, 1
            world.sessions.append(session)

    return [Step(request, version=random.randint(7, 18), then=note)]


@operation(4)
def fetch_in_session(random: Random, world: World) -> list[Step]:
    if not world.sessions:
        return []
    session = random.choice(world.sessions[-3:])
    request = _fetch(random, [_wanted(random, world) for _ in range(random.choice((0, 0, 1, 2)))])
    request.session_id, request.session_epoch = session.session_id, session.epoch
    if random.random() < 0.1:
        request.session_epoch = random.choice((session.epoch + 1, session.epoch - 1, -1, 0))
    if random.random() < 0.25:
        topic = world.topic(random)
        forgotten = ForgottenTopic(
            topic=topic.name, topic_id=topic.wire_id, partitions=[world.partition(topic, random)]
        )
        request.forgotten_topics_data = [forgotten]

    def note(answer: Message) -> None:
        assert isinstance(answer, FetchResponse)
        if answer.error_code == 0 and request.session_epoch == session.epoch:
            session.epoch += 1

    return [Step(request, version=random.choice((7, 11, 12, 13, 16, 18, 18)), then=note)]


@operation(4)
def list_offsets(random: Random, world: World) -> list[Step]:
    topics: dict[str, ListOffsetsTopic] = {}
    for _ in range(random.choice((1, 1, 2, 3))):
        topic = world.topic(random)
        data = topics.setdefault(topic.name, ListOffsetsTopic(name=topic.name))
        data.partitions.append(
            ListOffsetsPartition(
                partition_index=world.partition(topic, random),
                current_leader_epoch=random.choice(EPOCHS),
                timestamp=random.choice(
                    (-1, -1, -2, -2, -3, -4, -5, -6, -7, 0, TIME_MS - 500, TIME_MS, TIME_MS + 2000)
                ),
            )
        )
    request = ListOffsetsRequest(
        replica_id=-1, topics=list(topics.values()), timeout_ms=5_000, isolation_level=random.choice((0, 1))
    )
    version = random.randint(1, 11)
    if version < 2:
        request.isolation_level = 0
    return [Step(request, version=version)]


@operation(1.5)
def delete_records(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = DeleteRecordsPartition(
        partition_index=world.partition(topic, random), offset=random.choice((0, 1, 1, 2, 3, -1, -2, 100))
    )
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic.name, partitions=[wanted])], timeout_ms=5_000)
    return [Step(request)]


@operation(1.5)
def offset_for_leader_epoch(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = OffsetForLeaderPartition(
        partition=world.partition(topic, random),
        current_leader_epoch=random.choice(EPOCHS),
        leader_epoch=random.choice((0, 0, 1, 5, -1)),
    )
    version = random.randint(2, 4)
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(topic=topic.name, partitions=[wanted])])
    if version >= 3:
        request.replica_id = random.choice((-1, -2))
    return [Step(request, version=version)]
