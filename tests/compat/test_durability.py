"""What was acknowledged is there after kill -9, once and in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from tests.support.batches import batch, batches
from tests.support.drivers.base import Ack, ConsumerSettings, ProducerSettings, Record, collect
from tests.support.drivers.confluent import Confluent
from tests.support.groups import RawMember, commit, committed
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import (
    await_coordinator,
    code,
    connect,
    create_topic,
    fetch,
    fetch_request,
    list_offset,
    metadata,
    produce,
    serves,
)
from tests.support.wire import Closed, Connection

pytestmark = pytest.mark.owns_broker

OwnBroker = Callable[..., BrokerProcess]
QUICK_RETURN = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "200"}
"""Apache Kafka lets a broker that was killed register again only when its last session has timed out."""


def records_of(connection: Connection, topic: str, partition: int = 0) -> list[bytes | None]:
    """All values of a partition; offsets must follow each other without a gap."""
    values: list[bytes | None] = []
    end = list_offset(connection, topic, -1, partition=partition).offset
    while len(values) < end:
        answer = fetch(connection, fetch_request(topic, len(values), partition=partition, partition_max_bytes=1 << 24))
        assert code(answer.error_code) == "NONE"
        for stored in batches(answer.records):
            assert stored.base_offset == len(values)
            assert stored.crc_is_right
            values += stored.values
    return values


def is_back(broker: BrokerProcess, topic: str, partitions: int) -> bool:
    try:
        with connect(broker) as connection:
            return serves(connection, topic, partitions)
    except (Closed, OSError):
        return False


class Writer:
    """Sends numbered batches with acks=all, one after the other, and remembers which were acknowledged."""

    def __init__(self, broker: BrokerProcess, topic: str, partition: int) -> None:
        self.acknowledged: list[tuple[int, bytes]] = []
        self.partition = partition
        self._connection = connect(broker)
        self._topic = topic
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._connection.close()

    def _run(self) -> None:
        number = 0
        while True:
            value = b"%d-%d" % (self.partition, number)
            try:
                answer = produce(self._connection, self._topic, batch([value]), partition=self.partition)
            except (Closed, OSError):
                return
            assert code(answer.error_code) == "NONE"
            self.acknowledged.append((answer.base_offset, value))
            number += 1


def test_acknowledged_records_survive_kill_9(own_broker: OwnBroker, unique: Callable[[str], str]) -> None:
    """A stream of acks=all writes is cut by SIGKILL: each acknowledged record is at its offset, once, in order."""
    broker, topic = own_broker(QUICK_RETURN), unique("topic")
    with connect(broker) as connection:
        create_topic(connection, topic, 3)
    writers = [Writer(broker, topic, partition) for partition in range(3)]
    wait_for(lambda: all(len(writer.acknowledged) >= 300 for writer in writers), "a stream of writes", 30.0)
    broker.restart(kill=True)
    for writer in writers:
        writer.join()
    wait_for(lambda: is_back(broker, topic, 3), "the broker leads its partitions again", 30.0)
    with connect(broker) as connection:
        for writer in writers:
            values = records_of(connection, topic, writer.partition)
            assert [(offset, values[offset]) for offset, _ in writer.acknowledged] == writer.acknowledged
            assert len(set(values)) == len(values)
            assert len(values) - len(writer.acknowledged) in (0, 1)


def test_groups_continue_from_their_commits_after_kill_9(own_broker: OwnBroker, unique: Callable[[str], str]) -> None:
    """The coordinator's state is replayed: offsets, their metadata, and the group's generation."""
    broker, topic, group, simple = own_broker(QUICK_RETURN), unique("topic"), unique("group"), unique("simple")
    with connect(broker) as connection:
        create_topic(connection, topic, 1)
        await_coordinator(connection, group)
        member = RawMember(broker, group, session_timeout_ms=60_000)
        member.join()
        member.sync({member.member_id: b"mine"})
        assert member.commit(topic, 17, metadata="seventeen") == "NONE"
        assert commit(connection, simple, topic, 4) == "NONE"
        member.close()
    broker.restart(kill=True)
    wait_for(lambda: is_back(broker, topic, 1), "the broker leads its partitions again", 30.0)
    with connect(broker) as connection:
        await_coordinator(connection, group)

        def loaded() -> bool:
            try:
                return committed(connection, group, topic).committed_offset == 17
            except AssertionError:
                return False

        wait_for(loaded, "the coordinator has loaded the group", 20.0)
        assert committed(connection, group, topic).metadata == "seventeen"
        wait_for(lambda: committed(connection, simple, topic).committed_offset == 4, "the other group", 20.0)
        back = RawMember(broker, group, session_timeout_ms=60_000)
        back.member_id, back.generation = member.member_id, member.generation
        assert back.heartbeat() == "NONE"
        assert back.sync().assignment == b"mine"
        back.close()


def test_a_repeated_batch_is_recognised_after_kill_9(own_broker: OwnBroker, unique: Callable[[str], str]) -> None:
    """Idempotence survives: nothing that was stored is stored again (Redpanda issues 3038, 3039).

    A producer snapshot holds only the last batch, so the four before it may be refused instead of recognised. The
    batches must be recent: producers whose replayed batches are older than producer.id.expiration.ms are forgotten.
    """
    broker, topic = own_broker(QUICK_RETURN), unique("topic")
    answers: list[InitProducerIdResponse] = []
    with connect(broker) as connection:
        create_topic(connection, topic, 1)

        def has_id() -> bool:
            answers.append(connection.call(InitProducerIdRequest(transactional_id=None), InitProducerIdResponse))
            return answers[-1].error_code == 0

        wait_for(has_id, "a producer id")
        producer_id = answers[-1].producer_id
        now_ms = int(time.time() * 1000)
        sent = [batch([b"%d" % number], producer=(producer_id, 0, number), timestamp_ms=now_ms) for number in range(8)]
        for records in sent:
            assert code(produce(connection, topic, records).error_code) == "NONE"
    broker.restart(kill=True)
    wait_for(lambda: is_back(broker, topic, 1), "the broker leads its partitions again", 30.0)
    with connect(broker) as connection:
        for number in range(3, 7):
            answer = produce(connection, topic, sent[number])
            outcome = (code(answer.error_code), answer.base_offset)
            assert outcome in (("NONE", number), ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1))
        last = produce(connection, topic, sent[7])
        assert (code(last.error_code), last.base_offset) == ("NONE", 7)
        gap = batch([b"9"], producer=(producer_id, 0, 9))
        assert code(produce(connection, topic, gap).error_code) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
        assert produce(connection, topic, batch([b"8"], producer=(producer_id, 0, 8))).base_offset == 8


def test_topics_keep_their_ids_configs_and_records_through_a_clean_restart(
    own_broker: OwnBroker, unique: Callable[[str], str]
) -> None:
    """The metadata log is replayed; the cluster id stays; deleted topics stay deleted."""
    broker, topic = own_broker(), unique("topic")
    with connect(broker) as connection:
        before = create_topic(connection, topic, 2, {"max.message.bytes": "5000"})
        produce(connection, topic, batch([b"kept"]), partition=1)
    broker.restart()
    wait_for(lambda: is_back(broker, topic, 2), "the broker leads its partitions again", 30.0)
    with connect(broker) as connection:
        after = metadata(connection, topic)
        assert (after.topic_id, len(after.partitions)) == (before.topic_id, 2)
        assert records_of(connection, topic, 1) == [b"kept"]
        assert code(produce(connection, topic, batch([bytes(6000)])).error_code) == "MESSAGE_TOO_LARGE"


@pytest.mark.client("librdkafka")
def test_an_idempotent_producer_of_librdkafka_rides_out_a_kill_9(
    own_broker: OwnBroker, unique: Callable[[str], str]
) -> None:
    """The client retries what was not acknowledged; nothing is lost, doubled or out of order."""
    broker, topic, count = own_broker(QUICK_RETURN), unique("topic"), 8_000
    with connect(broker) as connection:
        create_topic(connection, topic, 1)
    sent = [Record(b"%d" % number, partition=0) for number in range(count)]
    acks: list[Ack] = []

    def work() -> None:
        settings = ProducerSettings(idempotent=True, linger_ms=1)
        for begin in range(0, count, 1000):
            acks.extend(Confluent(broker.bootstrap).produce(topic, sent[begin : begin + 1000], settings))

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: len(acks) >= 2000, "some of the stream", 30.0)
    broker.restart(kill=True)
    thread.join(60)
    assert not thread.is_alive()
    assert {ack.error for ack in acks} == {""}
    consumer = Confluent(broker.bootstrap).assign({(topic, 0): -2}, ConsumerSettings())
    received = collect(consumer, count, 60.0)
    consumer.close()
    assert [record.value for record in received] == [record.value for record in sent]


@pytest.mark.odradek_only(reason="Apache Kafka takes longer to shut down")
def test_sigterm_ends_cleanly_within_two_seconds(own_broker: OwnBroker) -> None:
    """Exit code 0, soon, even while clients are connected."""
    broker = own_broker()
    with connect(broker):
        begun = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - begun < 2.0
