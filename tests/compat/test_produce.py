"""Produce (API 0), batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.support.batches import CONTROL_BIT, TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT, Lies, batch, batches, raw
from tests.support.process import wait_for
from tests.support.requests import await_coordinator, code, create_topic, fetch, fetch_request, metadata, produce
from tests.support.targets import Target
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
CREATE_TIME_MS = 1_700_000_000_000


def new_producer(connection: Connection) -> tuple[int, int]:
    answers: list[InitProducerIdResponse] = []

    def answered() -> bool:
        answers.append(connection.call(InitProducerIdRequest(transactional_id=None), InitProducerIdResponse))
        return code(answers[-1].error_code) != "COORDINATOR_LOAD_IN_PROGRESS"

    wait_for(answered, "a first block of producer ids")
    assert code(answers[-1].error_code) == "NONE"
    return answers[-1].producer_id, answers[-1].producer_epoch


@pytest.mark.parametrize("version", range(3, 13))
def test_every_version_that_names_topics_stores_a_batch(
    connection: Connection, new_topic: NewTopic, version: int
) -> None:
    """Versions 3 to 12 of Produce."""
    topic = new_topic()
    answer = produce(connection, topic, batch([b"a", b"b"]), version=version)
    assert (code(answer.error_code), answer.base_offset) == ("NONE", 0)
    assert answer.log_append_time_ms == -1
    assert produce(connection, topic, batch([b"c"]), version=version).base_offset == 2


def test_version_13_knows_topics_by_id(connection: Connection, unique: Unique) -> None:
    """KIP-516: the id is found, and an id that nobody has is UNKNOWN_TOPIC_ID."""
    topic = create_topic(connection, unique("topic"))
    for topic_id, expected in ((topic.topic_id, "NONE"), (b"\x07" * 16, "UNKNOWN_TOPIC_ID")):
        data = PartitionProduceData(index=0, records=batch())
        request = ProduceRequest(
            acks=-1, timeout_ms=5000, topic_data=[TopicProduceData(topic_id=topic_id, partition_data=[data])]
        )
        (answer,) = connection.call(request, ProduceResponse, 13).responses
        assert answer.topic_id == topic_id
        assert code(answer.partition_responses[0].error_code) == expected


def test_the_stored_batch_is_the_sent_batch_with_its_offset(connection: Connection, new_topic: NewTopic) -> None:
    """The broker fills in base offset and leader epoch; all that the CRC covers stays."""
    topic = new_topic()
    sent = batch([b"one", b"two"], keys=[b"k", None])
    produce(connection, topic, sent)
    produce(connection, topic, sent)
    stored = raw(fetch(connection, fetch_request(topic, 0)).records)
    assert stored[len(sent) + 17 :] == sent[17:]
    first, second = batches(stored)
    assert (first.base_offset, second.base_offset, second.leader_epoch) == (0, 2, 0)


@pytest.mark.parametrize("partition", [1, 7, -1])
def test_a_partition_that_is_not_there(connection: Connection, new_topic: NewTopic, partition: int) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION with no offsets."""
    answer = produce(connection, new_topic(), batch(), partition=partition)
    assert code(answer.error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert (answer.base_offset, answer.log_start_offset) == (-1, -1)


def test_an_unknown_topic_is_not_created_by_produce(connection: Connection, unique: Unique) -> None:
    """Only Metadata creates topics."""
    topic = unique("missing")
    assert code(produce(connection, topic, batch()).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert code(metadata(connection, topic).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_one_partitions_error_leaves_the_others_alone(connection: Connection, new_topic: NewTopic) -> None:
    """Errors are per partition."""
    topic = new_topic(partitions=2)
    data = [
        PartitionProduceData(index=0, records=batch(lies=Lies(crc_xor=1))),
        PartitionProduceData(index=1, records=batch()),
        PartitionProduceData(index=9, records=batch()),
    ]
    request = ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[TopicProduceData(name=topic, partition_data=data)])
    (answer,) = connection.call(request, ProduceResponse, 12).responses
    errors = {partition.index: code(partition.error_code) for partition in answer.partition_responses}
    assert errors == {0: "CORRUPT_MESSAGE", 1: "NONE", 9: "UNKNOWN_TOPIC_OR_PARTITION"}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(batch(lies=Lies(crc_xor=1)), "CORRUPT_MESSAGE", id="wrong-crc"),
        pytest.param(batch(lies=Lies(count=5)), "INVALID_RECORD", id="count-too-high"),
        pytest.param(batch([b"a", b"b"], lies=Lies(count=1)), "INVALID_RECORD", id="count-too-low"),
        pytest.param(batch([b"a", b"b"], lies=Lies(last_offset_delta=5)), "INVALID_RECORD", id="last-offset-delta"),
        pytest.param(batch(lies=Lies(attributes=CONTROL_BIT)), "INVALID_RECORD", id="control-batch"),
        pytest.param(batch(lies=Lies(base_offset=3)), "INVALID_RECORD", id="base-offset-not-0"),
        pytest.param(batch() + batch(), "INVALID_RECORD", id="two-batches"),
        pytest.param(batch(lies=Lies(magic=0)), "INVALID_RECORD", id="magic-0"),
        pytest.param(batch(lies=Lies(magic=1)), "INVALID_RECORD", id="magic-1"),
        pytest.param(batch(lies=Lies(magic=3)), "CORRUPT_MESSAGE", id="magic-3"),
        pytest.param(batch(lies=Lies(length=5)), "CORRUPT_MESSAGE", id="length-5"),
        pytest.param(batch(lies=Lies(length=-1)), "CORRUPT_MESSAGE", id="length-negative"),
        pytest.param(batch(lies=Lies(length=10**6)), "INVALID_RECORD", id="length-beyond-the-bytes"),
        pytest.param(batch(lies=Lies(count=-1)), "INVALID_RECORD", id="count-negative"),
        pytest.param(batch(lies=Lies(count=2**31 - 1)), "INVALID_RECORD", id="count-huge"),
        pytest.param(b"", "INVALID_RECORD", id="no-bytes"),
        pytest.param(b"123", "INVALID_RECORD", id="three-bytes"),
        pytest.param(
            batch(lies=Lies(attributes=TRANSACTIONAL_BIT)),
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            id="transactional-without-id",
        ),
    ],
)
def test_a_batch_that_contradicts_itself_is_refused(
    connection: Connection, new_topic: NewTopic, records: bytes, expected: str
) -> None:
    """A record batch is checked before it is stored; nothing of it is kept."""
    topic = new_topic()
    assert code(produce(connection, topic, records).error_code) == expected
    assert produce(connection, topic, batch()).base_offset == 0


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(batch(payload=b"\xff" * 20), "CORRUPT_MESSAGE", id="payload-of-noise"),
        pytest.param(batch(payload=b"noise", lies=Lies(attributes=1)), "CORRUPT_MESSAGE", id="gzip-of-noise"),
        pytest.param(batch(lies=Lies(attributes=5)), "UNSUPPORTED_COMPRESSION_TYPE", id="unknown-codec"),
    ],
)
def test_a_payload_that_cannot_be_read_is_refused(
    target: Target, connection: Connection, new_topic: NewTopic, records: bytes, expected: str
) -> None:
    """Apache Kafka says UNKNOWN_SERVER_ERROR, which makes Java's producer give up its id; Odradek says what it is."""
    topic = new_topic()
    if target.name != "odradek":
        expected = "UNKNOWN_SERVER_ERROR"
    assert code(produce(connection, topic, records).error_code) == expected
    assert produce(connection, topic, batch()).base_offset == 0


def test_the_timestamp_type_is_the_topics_not_the_producers(connection: Connection, new_topic: NewTopic) -> None:
    """A batch that claims LogAppendTime on a CreateTime topic is stored as CreateTime, with a CRC to match."""
    topic = new_topic()
    produce(connection, topic, batch(lies=Lies(attributes=TIMESTAMP_TYPE_BIT)))
    (stored,) = batches(fetch(connection, fetch_request(topic, 0)).records)
    assert stored.attributes == 0
    assert stored.crc_is_right


def test_a_keyless_record_in_a_compacted_topic_is_told_by_its_index(
    connection: Connection, new_topic: NewTopic
) -> None:
    """KIP-467: INVALID_RECORD with the batch indexes of the records at fault."""
    topic = new_topic(configs={"cleanup.policy": "compact"})
    answer = produce(connection, topic, batch([b"a", b"b", b"c"], keys=[b"k", None, None]))
    assert code(answer.error_code) == "INVALID_RECORD"
    assert [error.batch_index for error in answer.record_errors] == [1, 2]
    assert answer.error_message
    assert produce(connection, topic, batch([b"a"], keys=[b"k"])).base_offset == 0


def test_a_batch_larger_than_the_topic_allows(connection: Connection, new_topic: NewTopic) -> None:
    """max.message.bytes counts the whole batch as sent; the partition next to it goes on."""
    topic = new_topic(configs={"max.message.bytes": "1000"})
    fitting = batch([bytes(1000 - len(batch([bytes(900)])) + 900)])
    assert len(fitting) == 1000
    assert code(produce(connection, topic, fitting).error_code) == "NONE"
    too_large = batch([bytes(1000 - len(batch([bytes(900)])) + 901)])
    answer = produce(connection, topic, too_large)
    assert (code(answer.error_code), answer.base_offset) == ("MESSAGE_TOO_LARGE", -1)


def test_log_append_time_is_in_the_answer_and_in_the_header(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-32: the header's attribute and max timestamp change, and the CRC with them."""
    topic = new_topic(configs={"message.timestamp.type": "LogAppendTime"})
    before_ms = int(time.time() * 1000) - 1
    answer = produce(connection, topic, batch([b"a", b"b"], timestamps_ms=[CREATE_TIME_MS, CREATE_TIME_MS + 5]))
    assert before_ms <= answer.log_append_time_ms <= time.time() * 1000 + 1
    (stored,) = batches(fetch(connection, fetch_request(topic, 0)).records)
    assert stored.attributes & TIMESTAMP_TYPE_BIT
    assert stored.max_timestamp_ms == answer.log_append_time_ms
    assert stored.base_timestamp_ms == CREATE_TIME_MS
    assert stored.crc_is_right


@pytest.mark.parametrize(
    ("setting", "offset_ms"),
    [("message.timestamp.before.max.ms", -60_000), ("message.timestamp.after.max.ms", 60_000)],
)
def test_a_timestamp_too_far_from_now_is_refused(
    connection: Connection, new_topic: NewTopic, setting: str, offset_ms: int
) -> None:
    """KIP-937: INVALID_TIMESTAMP with the record's index."""
    topic = new_topic(configs={setting: "10000"})
    now_ms = int(time.time() * 1000)
    answer = produce(connection, topic, batch([b"a", b"b"], timestamps_ms=[now_ms, now_ms + offset_ms]))
    assert code(answer.error_code) == "INVALID_TIMESTAMP"
    assert [error.batch_index for error in answer.record_errors] == [1]


def test_a_timestamp_more_than_an_hour_ahead_is_refused_by_default(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-937: message.timestamp.after.max.ms is one hour unless it is set."""
    topic = new_topic()
    ahead_ms = int(time.time() * 1000) + 3_700_000
    assert code(produce(connection, topic, batch(timestamp_ms=ahead_ms)).error_code) == "INVALID_TIMESTAMP"


def test_the_topics_codec_recompresses(connection: Connection, new_topic: NewTopic) -> None:
    """compression.type=gzip stores gzip whatever was sent; the records stay."""
    topic = new_topic(configs={"compression.type": "gzip"})
    produce(connection, topic, batch([b"a" * 500, b"b"]))
    (stored,) = batches(fetch(connection, fetch_request(topic, 0)).records)
    assert stored.attributes & 7 == 1
    assert stored.values == [b"a" * 500, b"b"]


def test_a_topic_that_stores_uncompressed_unpacks(connection: Connection, new_topic: NewTopic) -> None:
    """compression.type=uncompressed."""
    topic = new_topic(configs={"compression.type": "uncompressed"})
    produce(connection, topic, batch([b"a" * 500, b"b"], lies=Lies(attributes=1)))
    (stored,) = batches(fetch(connection, fetch_request(topic, 0)).records)
    assert stored.attributes & 7 == 0
    assert stored.values == [b"a" * 500, b"b"]


def test_min_insync_replicas_above_the_replicas_there_are(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-966: the setting counts only up to the number of replicas, so one replica takes acks=all."""
    topic = new_topic(configs={"min.insync.replicas": "2"})
    assert code(produce(connection, topic, batch(), acks=-1).error_code) == "NONE"


def test_clients_cannot_write_to_internal_topics(connection: Connection, unique: Unique) -> None:
    """INVALID_TOPIC_EXCEPTION; the group coordinator's topic is made by the first search for a coordinator."""
    await_coordinator(connection, unique("group"))
    answer = produce(connection, "__consumer_offsets", batch([b"v"], keys=[b"k"]))
    assert code(answer.error_code) == "INVALID_TOPIC_EXCEPTION"


def test_producer_ids_are_unique_and_start_at_epoch_0(connection: Connection) -> None:
    """KIP-98: InitProducerId without a transactional id."""
    first, second = new_producer(connection), new_producer(connection)
    assert first[0] != second[0]
    assert first[1] == second[1] == 0


def test_a_repeated_batch_gets_its_first_offset_and_is_stored_once(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-98: each of the last five batches of a producer is recognised."""
    topic, (producer_id, epoch) = new_topic(), new_producer(connection)
    sent = [batch([b"%d" % n], producer=(producer_id, epoch, n)) for n in range(6)]
    for number, records in enumerate(sent):
        assert produce(connection, topic, records).base_offset == number
    for number in range(1, 6):
        answer = produce(connection, topic, sent[number])
        assert (code(answer.error_code), answer.base_offset) == ("NONE", number)
    assert code(produce(connection, topic, sent[0]).error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert produce(connection, topic, batch([b"6"], producer=(producer_id, epoch, 6))).base_offset == 6


def test_a_gap_in_the_sequence_is_out_of_order(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-98, and the producer can go on with the right number."""
    topic, (producer_id, epoch) = new_topic(), new_producer(connection)
    produce(connection, topic, batch([b"a", b"b"], producer=(producer_id, epoch, 0)))
    gap = batch([b"c"], producer=(producer_id, epoch, 3))
    assert code(produce(connection, topic, gap).error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert produce(connection, topic, batch([b"c"], producer=(producer_id, epoch, 2))).base_offset == 2


def test_a_producer_that_the_partition_does_not_know_may_start_anywhere(
    connection: Connection, new_topic: NewTopic
) -> None:
    """KIP-360: state that was lost to retention is no error."""
    topic, (producer_id, epoch) = new_topic(), new_producer(connection)
    answer = produce(connection, topic, batch([b"a"], producer=(producer_id, epoch, 17)))
    assert (code(answer.error_code), answer.base_offset) == ("NONE", 0)


def test_an_older_epoch_is_fenced_and_a_newer_one_starts_at_0(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-360: INVALID_PRODUCER_EPOCH for what came before; a new epoch must begin with sequence 0."""
    topic, (producer_id, _) = new_topic(), new_producer(connection)
    produce(connection, topic, batch([b"a"], producer=(producer_id, 0, 0)))
    late_start = batch([b"b"], producer=(producer_id, 1, 5))
    assert code(produce(connection, topic, late_start).error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert produce(connection, topic, batch([b"b"], producer=(producer_id, 1, 0))).base_offset == 1
    fenced = batch([b"c"], producer=(producer_id, 0, 1))
    assert code(produce(connection, topic, fenced).error_code) == "INVALID_PRODUCER_EPOCH"


def test_sequences_wrap_around_to_0(connection: Connection, new_topic: NewTopic) -> None:
    """After 2^31 - 1 comes 0."""
    topic, (producer_id, epoch) = new_topic(), new_producer(connection)
    last = 2**31 - 1
    assert produce(connection, topic, batch([b"a"], producer=(producer_id, epoch, last))).base_offset == 0
    assert produce(connection, topic, batch([b"b"], producer=(producer_id, epoch, 0))).base_offset == 1
