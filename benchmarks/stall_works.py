"""Heavy work that a broker is given beside a steady producer; each kind is asked for again and again, or done once.

All is done to topics of which the work is given the name; some are shared by several kinds of work, and made once.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.record import Record
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import (
    NAMED_FETCH_VERSION,
    TOPIC,
    alter_configs,
    await_coordinator,
    connect,
    create_topic,
    list_offset,
    metadata,
    produce,
    wait_for_topic,
)
from tests.support.wire import Connection

SETTINGS = {"log.cleaner.backoff.ms": "500", "log.retention.check.interval.ms": "1000"}
"""For both brokers: what they look for from time to time is found soon."""
PARTITIONS = 1000
TOPICS = 200
BURST_CONNECTIONS = 2000
BATCH_BYTES = 900_000
MIB = 1 << 20
COMPACTED_BYTES = 150 * MIB
SEGMENTS = 200
WIDE = "stalls-wide"
"""A topic of `PARTITIONS` partitions with a batch in each."""
CREATION_TIMEOUT_S = 60.0
DONE_WITHIN_S = 30.0
COMMIT_VERSION = 9
_EARLIEST = -2


@dataclass(frozen=True)
class Work:
    """One kind of heavy work on a topic that is there: `prepare`, then `step` while the producer is measured."""

    name: str
    title: str
    step: Callable[[BrokerProcess, str], None]
    prepare: Callable[[BrokerProcess, str], None] = lambda _broker, _topic: None
    once: bool = False
    """Whether there is one step only, after which all is to be prepared anew."""
    figured: bool = False
    """Whether it is one of the common figures."""


def big_batch(codec: Codec, record_bytes: int = 100) -> bytes:
    """A batch of nearly 1 MiB before it is compressed, which halves it, about."""
    source = random.Random(1)
    now_ms = int(time.time() * 1000)
    count = BATCH_BYTES // record_bytes
    records = [
        Record(
            index,
            now_ms,
            b"key-%08d" % index,
            source.randbytes(record_bytes // 4).hex().encode() + b"x" * (record_bytes // 2 - 12),
        )
        for index in range(count)
    ]
    return build_batch(records, codec=codec)


def produced(connection: Connection, topic: str, batch: bytes, partition: int = 0) -> None:
    """Produce a batch. Raises AssertionError where it is refused."""
    answer = produce(connection, topic, batch, partition=partition, acks=1)
    assert answer.error_code == 0, ErrorCode(answer.error_code)


def producing(
    name: str, title: str, codec: Codec, configs: dict[str, str], record_bytes: int = 100, *, figured: bool = False
) -> Work:
    """One producer of batches of 1 MiB, one in flight."""
    batch = big_batch(codec, record_bytes)

    def prepare(broker: BrokerProcess, topic: str) -> None:
        with connect(broker) as connection:
            limits = {"retention.bytes": str(64 * MIB), "segment.bytes": str(32 * MIB)}
            alter_configs(connection, TOPIC, topic, {**limits, **configs})

    def step(broker: BrokerProcess, topic: str) -> None:
        with connect(broker, 60.0) as connection:
            for _ in range(10):
                produced(connection, topic, batch)

    return Work(name, title, step, prepare, figured=figured)


def recompression(sent: Codec, topic_codec: str, *, figured: bool = False) -> Work:
    """Batches whose records have to be opened, and compressed anew."""
    title = f"records of {sent.config_name} for compression.type={topic_codec}"
    name = f"{sent.config_name}-{topic_codec}"
    return producing(name, title, sent, {"compression.type": topic_codec}, figured=figured)


def with_wide_topic(broker: BrokerProcess, _topic: str = "") -> None:
    """Make `WIDE`, unless it is there."""
    batch = build_batch([Record(0, int(time.time() * 1000), b"key", b"x" * 100)])
    with connect(broker, 60.0) as connection:
        if metadata(connection, WIDE).error_code == 0:
            return
        create_topic(connection, WIDE, PARTITIONS, timeout_s=CREATION_TIMEOUT_S)
        for index in range(PARTITIONS):
            produced(connection, WIDE, batch, index)


def with_many_topics(broker: BrokerProcess, _topic: str = "") -> None:
    """Topics with a configuration of their own, unless they are there."""
    with connect(broker, 60.0) as connection:
        if metadata(connection, many_topics()[-1]).error_code == 0:
            return
        topics = [CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in many_topics()]
        connection.call(CreateTopicsRequest(topics=topics, timeout_ms=30_000), CreateTopicsResponse)
        for name in many_topics():
            alter_configs(connection, TOPIC, name, {"retention.ms": "1000000"})


def many_topics() -> list[str]:
    return [f"stalls-{number}" for number in range(TOPICS)]


def fetch_all(broker: BrokerProcess, _topic: str) -> None:
    """A fetch of all partitions outside of any session."""
    with connect(broker) as connection:
        partitions = [
            FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=1000) for index in range(PARTITIONS)
        ]
        request = FetchRequest(
            max_wait_ms=500, min_bytes=1, max_bytes=50 * MIB, session_id=0, session_epoch=-1,
            topics=[FetchTopic(topic=WIDE, partitions=partitions)],
        )  # fmt: skip
        for _ in range(10):
            answer = connection.call(request, FetchResponse, NAMED_FETCH_VERSION)
            assert len(answer.responses[0].partitions) == PARTITIONS


def list_all(broker: BrokerProcess, _topic: str) -> None:
    """Offsets by timestamp in all partitions."""
    with connect(broker) as connection:
        wanted = [ListOffsetsPartition(partition_index=index, timestamp=1) for index in range(PARTITIONS)]
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=WIDE, partitions=wanted)])
        for _ in range(10):
            answer = connection.call(request, ListOffsetsResponse)
            assert len(answer.topics[0].partitions) == PARTITIONS


def describe_dirs(broker: BrokerProcess, _topic: str) -> None:
    """Everything that is stored."""
    with connect(broker) as connection:
        for _ in range(10):
            connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)


def describe_configs(broker: BrokerProcess, _topic: str) -> None:
    """The configurations of many topics."""
    wanted = [
        DescribeConfigsResource(resource_type=TOPIC, resource_name=name, configuration_keys=None)
        for name in many_topics()
    ]
    with connect(broker) as connection:
        answer = connection.call(DescribeConfigsRequest(resources=wanted), DescribeConfigsResponse)
        assert all(each.configs for each in answer.results)


def ask_metadata(broker: BrokerProcess, _topic: str) -> None:
    """All topics."""
    with connect(broker) as connection:
        for _ in range(10):
            connection.call(MetadataRequest(topics=None), MetadataResponse)


def create_and_delete(broker: BrokerProcess, topic: str) -> None:
    """A topic of many partitions, made and deleted."""
    with connect(broker, 60.0) as connection:
        name = f"{topic}-passing-{time.monotonic_ns()}"
        wanted = CreatableTopic(name=name, num_partitions=PARTITIONS, replication_factor=1)
        answer = connection.call(CreateTopicsRequest(topics=[wanted], timeout_ms=30_000), CreateTopicsResponse)
        assert answer.topics[0].error_code == 0, ErrorCode(answer.topics[0].error_code)
        wait_for_topic(connection, name, PARTITIONS, CREATION_TIMEOUT_S)
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=30_000)
        assert connection.call(request, DeleteTopicsResponse).responses[0].error_code == 0
        time.sleep(0.5)


def connect_many(broker: BrokerProcess, _topic: str) -> None:
    """A burst of connections, each with a request."""
    request = struct.pack(">ihhih", 10, 18, 0, 7, -1)
    address = (broker.host, broker.port)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(BURST_CONNECTIONS)]
        for each in sockets:
            each.sendall(request)
        for each in sockets:
            assert each.recv(1 << 16)
    time.sleep(0.5)


def with_segments(broker: BrokerProcess, topic: str) -> None:
    """Many small segments."""
    batch = build_batch([Record(index, int(time.time() * 1000), b"key", b"x" * 1000) for index in range(700)])
    with connect(broker, 60.0) as connection:
        alter_configs(connection, TOPIC, topic, {"segment.bytes": str(MIB), "file.delete.delay.ms": "1000"})
        for _ in range(SEGMENTS):
            produced(connection, topic, batch)


def retain(broker: BrokerProcess, topic: str) -> None:
    """Have the segments deleted, but for one."""
    with connect(broker, 60.0) as connection:
        end = list_offset(connection, topic, -1).offset
        alter_configs(connection, TOPIC, topic, {"retention.bytes": "1000"})
        wait_for(
            lambda: list_offset(connection, topic, _EARLIEST).offset > end - 2000,
            f"the segments of {topic} are deleted",
            DONE_WITHIN_S,
        )


def fill_dirty(broker: BrokerProcess, topic: str) -> None:
    """A log that has all to be cleaned, but is not dirty enough."""
    source = random.Random(2)
    now_ms = int(time.time() * 1000)
    batches = [
        build_batch(
            [Record(n, now_ms, b"key-%08d" % source.randrange(100_000), source.randbytes(1000)) for n in range(128)]
        )
        for _ in range(20)
    ]
    configs = {
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0", "segment.bytes": str(16 * MIB),
        "file.delete.delay.ms": "1000",
    }  # fmt: skip
    with connect(broker, 60.0) as connection:
        alter_configs(connection, TOPIC, topic, configs)
        for number in range(COMPACTED_BYTES // len(batches[0])):
            produced(connection, topic, batches[number % len(batches)])


def clean(broker: BrokerProcess, topic: str) -> None:
    """Have the log cleaned."""
    checkpoint = broker.data_dir / "cleaner-offset-checkpoint"
    with connect(broker) as connection:
        alter_configs(connection, TOPIC, topic, {"min.cleanable.dirty.ratio": "0.01"})
    wait_for(
        lambda: checkpoint.exists() and f"{topic} 0 " in checkpoint.read_text(), f"{topic} is cleaned", DONE_WITHIN_S
    )


def commit(broker: BrokerProcess, group: str, rounds: int, offset: int = 1) -> None:
    """A group's offsets for all partitions of `WIDE`, again and again."""
    with connect(broker, 60.0) as connection:
        await_coordinator(connection, group)
        partitions = [
            OffsetCommitRequestPartition(partition_index=index, committed_offset=offset) for index in range(PARTITIONS)
        ]
        topics = [OffsetCommitRequestTopic(name=WIDE, partitions=partitions)]
        request = OffsetCommitRequest(group_id=group, topics=topics)
        for _ in range(rounds):
            answer = connection.call(request, OffsetCommitResponse, COMMIT_VERSION)
            assert answer.topics[0].partitions[0].error_code == 0, ErrorCode(answer.topics[0].partitions[0].error_code)


def commit_offsets(broker: BrokerProcess, _topic: str) -> None:
    commit(broker, "committing", 10)


def flush_each(broker: BrokerProcess, topic: str) -> None:
    """Small batches that are synced before they are answered."""
    batch = build_batch([Record(0, int(time.time() * 1000), b"key", b"x" * 100)])
    with connect(broker) as connection:
        for _ in range(100):
            produced(connection, topic, batch)


def with_flushes(broker: BrokerProcess, topic: str) -> None:
    with connect(broker) as connection:
        alter_configs(connection, TOPIC, topic, {"flush.messages": "1"})


def works() -> list[Work]:
    """All kinds, in the order in which they are measured."""
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0"}
    appending = {"message.timestamp.type": "LogAppendTime"}
    wide = with_wide_topic
    return [
        recompression(Codec.NONE, "lz4"),
        recompression(Codec.LZ4, "zstd", figured=True),
        recompression(Codec.ZSTD, "gzip"),
        recompression(Codec.GZIP, "uncompressed"),
        producing("keyed", "records of lz4 for a compacted topic", Codec.LZ4, compacted),
        producing(
            "large", "records of 10 KiB, zstd for lz4", Codec.ZSTD, {"compression.type": "lz4"}, 10_240
        ),
        producing("appended", "1 MiB with LogAppendTime", Codec.NONE, appending),
        Work("flushes", "records that are flushed one by one", flush_each, with_flushes, figured=True),
        Work("retention", f"retention of {SEGMENTS} segments", retain, with_segments, once=True, figured=True),
        Work("compaction", f"compaction of {COMPACTED_BYTES // MIB} MiB", clean, fill_dirty, once=True, figured=True),
        Work("fetches", "fetches of 1,000 partitions", fetch_all, wide),
        Work("list-offsets", "ListOffsets by timestamp of 1,000 partitions", list_all, wide, figured=True),
        Work("offset-commits", "OffsetCommit of 1,000 partitions", commit_offsets, wide, figured=True),
        Work("log-dirs", "DescribeLogDirs of 1,000 partitions", describe_dirs, wide),
        Work("metadata", "Metadata of 1,000 partitions", ask_metadata, wide, figured=True),
        Work("configs", f"DescribeConfigs of {TOPICS} topics", describe_configs, with_many_topics),
        Work(
            "partitions", "1,000 partitions created and deleted", create_and_delete, once=True, figured=True
        ),
        Work("connections", "2,000 connections at once", connect_many),
    ]  # fmt: skip
