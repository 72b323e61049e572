"""Batches whose many records have to be opened: others are served meanwhile, and nothing else is different."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from odradek.broker.api.produce import MANY_PARTITIONS, ProduceApi
from odradek.broker.replication.admission import Admission
from odradek.ports import Promise, Turns
from odradek.ports.network import Outcome, Reply
from odradek.security.acl import AllowAll
from odradek.server.dispatcher import Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import erase
from odradek.server.lane import Lane
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import RECORDS_AT, parse_header, seal_batch
from odradek.wire.records.record import Record
from tests.unit.broker.scene import CONNECTION, Scene, batch_of
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import stored_batches

T = TypeVar("T")
VERSION = 12
COUNT = 3000
TIME_MS = 1_700_000_000_000
TOPICS = {
    "plain": {},
    "lz4": {"compression.type": "lz4"},
    "zstd": {"compression.type": "zstd", "compression.zstd.level": "1"},
    "gzip": {"compression.type": "gzip"},
    "none": {"compression.type": "uncompressed"},
    "compacted": {"cleanup.policy": "compact"},
    "recent": {"message.timestamp.before.max.ms": "1000"},
}


class BusyWorld(FakeWorld):
    """Time passes whenever somebody looks at the monotonic clock; the wall clock stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted = 0

    def now_ms(self) -> int:
        return TIME_MS

    def monotonic_ms(self) -> float:
        self.advance_clock(0.2)
        return super().monotonic_ms()

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        self.submitted += 1
        return super().submit(work)


class Broker:
    """Topics with two partitions each, by what they ask of records."""

    def __init__(self, *, in_turns: bool = True) -> None:
        self.world = BusyWorld()
        self.scene = Scene(world=self.world)
        self.ids = {name: self.scene.create_topic(name, partitions=2, config=config) for name, config in TOPICS.items()}
        executor = self.world if in_turns else None
        admission = Admission(self.world, check_every_record=False, executor=executor)
        handler = ProduceApi(self.scene.replicas, admission, self.scene.verifier).handler()
        self._dispatcher = Dispatcher(HandlerTable([erase(handler)]), AllowAll(), Turns(self.world, self.world), Lane())
        self.world.run_soon()

    def send(
        self, *wanted: tuple[str, int, bytes], acks: int = 1, sender: str = CONNECTION.id
    ) -> Reply | Promise[Reply]:
        return self._dispatcher.handle(replace(CONNECTION, id=sender), self._frame(wanted, acks))

    def send_together(self, *batches: tuple[str, int, bytes]) -> tuple[int, list[Reply | Promise[Reply]]]:
        """How many of these were answered together, and what each was answered."""
        frames = [self._frame([wanted], 1) for wanted in batches]
        answered: list[Reply | Promise[Reply]] = list(self._dispatcher.handle_run(CONNECTION, frames))
        rest = [self._dispatcher.handle(CONNECTION, frame) for frame in frames[len(answered) :]]
        return len(answered), answered + rest

    def _frame(self, wanted: Sequence[tuple[str, int, bytes]], acks: int) -> memoryview:
        topics = [
            TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=index, records=records)])
            for topic, index, records in wanted
        ]
        header = RequestHeader(request_api_key=0, request_api_version=VERSION, correlation_id=7, client_id="me")
        body = ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=topics)
        return memoryview(bytearray(header.encode(2) + body.encode(VERSION)))

    def produce(self, *wanted: tuple[str, int, bytes]) -> list[PartitionProduceResponse]:
        reply = self.send(*wanted)
        self.world.run_soon()
        return answers(reply)

    def log(self, topic: str, partition: int = 0) -> Log:
        return self.scene.replicas.partition(TopicPartition(topic, partition)).local_log()

    def stored(self, topic: str, partition: int = 0) -> list[bytes]:
        return [bytes(view) for _header, view in stored_batches(self.log(topic, partition))]


def answers(reply: Reply | Promise[Reply]) -> list[PartitionProduceResponse]:
    settled = reply.result() if isinstance(reply, Promise) else reply
    assert not isinstance(settled, Outcome)
    frame = b"".join(bytes(chunk) for chunk in settled)  # type: ignore[arg-type] # no file ranges here
    return [topic.partition_responses[0] for topic in ProduceResponse.decode(frame[5:], VERSION).responses]


def long_batch(codec: Codec = Codec.NONE, *, count: int = COUNT, keyless: int = -1, late: int = -1) -> bytes:
    """Many records, of which one may have no key or come from long ago."""
    source = random.Random(1)
    return build_batch(
        [
            Record(
                index,
                TIME_MS - (5000 if index == late else 0),
                None if index == keyless else b"key-%d" % index,
                source.randbytes(20),
            )
            for index in range(count)
        ],
        codec=codec,
    )


def broken(batch: bytes) -> bytes:
    """The same with a record that is not one, under a right checksum."""
    payload = bytearray(batch[RECORDS_AT:])
    payload[len(payload) // 2 :] = b"\xff" * (len(payload) - len(payload) // 2)
    return seal_batch(parse_header(batch), bytes(payload))


def short_batch(value: bytes = b"short") -> bytes:
    return build_batch([Record(0, TIME_MS, b"key", value)])


CASES = [
    ("lz4", long_batch()),
    ("zstd", long_batch(Codec.LZ4)),
    ("gzip", long_batch(Codec.ZSTD)),
    ("none", long_batch(Codec.GZIP)),
    ("none", long_batch(Codec.SNAPPY)),
    ("compacted", long_batch(Codec.LZ4)),
    ("compacted", long_batch(keyless=2900)),
    ("recent", long_batch()),
    ("recent", long_batch(late=2900)),
    ("lz4", broken(long_batch())),
    ("lz4", broken(long_batch(Codec.ZSTD))),
    ("lz4", long_batch()[:-1] + b"?"),
    ("plain", long_batch(Codec.ZSTD)),
]


@pytest.mark.parametrize(("topic", "batch"), CASES)
def test_a_long_batch_is_answered_and_stored_as_if_it_were_opened_at_once(topic: str, batch: bytes) -> None:
    in_turns, at_once = Broker(), Broker(in_turns=False)
    reply = at_once.send((topic, 0, batch))
    assert not isinstance(reply, Promise)
    assert in_turns.produce((topic, 0, batch)) == answers(reply)
    assert in_turns.stored(topic) == at_once.stored(topic)


def test_others_are_answered_while_many_records_are_opened() -> None:
    broker = Broker()
    reply = broker.send(("lz4", 0, long_batch(Codec.GZIP)))
    beats = 0
    while isinstance(reply, Promise) and not reply.done:
        (answer,) = answers(broker.send(("plain", 0, short_batch()), sender="other"))
        assert answer.base_offset == beats
        beats += 1
        broker.world.run_one_turn()
    assert [answer.error_code for answer in answers(reply)] == [ErrorCode.NONE]
    assert beats > 2 * COUNT / 200
    assert broker.world.submitted == 2, "decompression and compression are not for the loop's thread"


def test_what_a_connection_sends_next_comes_behind_its_long_batch() -> None:
    broker = Broker()
    long = broker.send(("lz4", 0, long_batch()))
    behind = broker.send(("lz4", 0, short_batch()))
    (ahead,) = answers(broker.send(("lz4", 0, short_batch()), sender="other"))
    broker.world.run_soon()
    assert ahead.base_offset == 0
    assert [answer.base_offset for answer in answers(long)] == [1]
    assert [answer.base_offset for answer in answers(behind)] == [1 + COUNT]
    assert not isinstance(broker.send(("lz4", 0, short_batch())), Promise)


def test_a_long_batch_that_arrives_together_with_others_is_neither_lost_nor_overtaken() -> None:
    broker = Broker()
    long = ("lz4", 0, long_batch())
    short = ("lz4", 0, build_batch([Record(0, TIME_MS, b"key", b"short")], codec=Codec.LZ4))
    together, replies = broker.send_together(short, short, long, short)
    broker.world.run_soon()
    assert together == 2
    assert [answers(reply)[0].base_offset for reply in replies] == [0, 1, 2, 2 + COUNT]


def test_each_partition_of_a_request_has_its_own_outcome() -> None:
    broker = Broker()
    found = broker.produce(
        ("lz4", 0, long_batch()),
        ("compacted", 1, long_batch(keyless=0)),
        ("zstd", 1, short_batch()),
        ("nowhere", 0, long_batch()),
    )
    assert [ErrorCode(answer.error_code) for answer in found] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_RECORD,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert found[1].record_errors[0].batch_index == 0
    assert [broker.scene.end_offset("lz4"), broker.scene.end_offset("zstd", 1)] == [COUNT, 1]


def test_without_acknowledgement_there_is_no_reply_and_a_refused_batch_costs_the_connection() -> None:
    broker = Broker()
    taken = broker.send(("lz4", 0, long_batch()), acks=0)
    refused = broker.send(("compacted", 0, long_batch(keyless=7)), acks=0, sender="other")
    broker.world.run_soon()
    assert isinstance(taken, Promise)
    assert isinstance(refused, Promise)
    assert [taken.result(), refused.result()] == [Outcome.NO_REPLY, Outcome.CLOSE]
    assert broker.scene.end_offset("lz4") == COUNT


def test_a_topic_that_changes_meanwhile_gets_what_it_asks_for_now() -> None:
    broker = Broker()
    reply = broker.send(("lz4", 0, long_batch()))
    broker.world.run_one_turn()
    broker.log("lz4").update_config(LogConfig(compression_type="zstd"))
    broker.world.run_soon()
    assert [answer.error_code for answer in answers(reply)] == [ErrorCode.NONE]
    (batch,) = broker.stored("lz4")
    assert parse_header(batch).codec is Codec.ZSTD
    assert len(list(iter_records(batch))) == COUNT


def test_a_topic_that_is_deleted_meanwhile_is_unknown() -> None:
    broker = Broker()
    reply = broker.send(("lz4", 0, long_batch()))
    broker.world.run_one_turn()
    broker.scene.delete_topic(broker.ids["lz4"])
    broker.world.run_soon()
    assert [answer.error_code for answer in answers(reply)] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_batch_that_waits_for_another_is_dropped_with_its_connection() -> None:
    broker = Broker()
    broker.send(("lz4", 0, long_batch()))
    gone = broker.send(("lz4", 0, long_batch(count=1000)), sender="other")
    assert isinstance(gone, Promise)
    gone.abandon()
    broker.world.run_soon()
    assert broker.scene.end_offset("lz4") == COUNT


def test_a_request_for_many_partitions_gives_way_between_them_and_keeps_its_connections_order() -> None:
    broker = Broker()
    broker.scene.create_topic("wide", partitions=MANY_PARTITIONS + 1)
    broker.world.run_soon()
    wanted = [("wide", index, batch_of(b"v")) for index in range(MANY_PARTITIONS + 1)]
    wide, behind = broker.send(*wanted), broker.send(("wide", MANY_PARTITIONS, batch_of(b"w")))
    turns = 0
    while isinstance(wide, Promise) and not wide.done:
        assert isinstance(broker.send(("wide", 0, batch_of(b"x")), sender="other"), list)
        broker.world.run_one_turn()
        turns += 1
    broker.world.run_soon()
    assert turns > MANY_PARTITIONS / 4
    settled = wide.result() if isinstance(wide, Promise) else wide
    frame = b"".join(settled)  # type: ignore[arg-type] # no file ranges here
    (topic,) = ProduceResponse.decode(frame[5:], VERSION).responses
    assert [(answer.index, answer.error_code) for answer in topic.partition_responses] == [
        (index, 0) for _topic, index, _records in wanted
    ]
    assert answers(behind)[0].base_offset == 1
