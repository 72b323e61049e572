from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from benchmarks.load.answers import ExpectedAnswers, LoadFailed, answer_bytes, error_code_position
from benchmarks.load.command_line import arguments, parse
from benchmarks.load.pipe import Latencies
from benchmarks.load.produce import Load, generate
from odradek.wire.messages.produce import (
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from odradek.wire.records.compression import Codec, decompress
from tests.support.requests import NAMED_PRODUCE_VERSION
from tests.support.wire import framed
from tests.unit.benchmarks.answering import broker, error_code


def test_all_batches_are_sent_answered_and_counted() -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", records_per_batch=3, max_batches=20, seconds=30.0)
        result = generate(load)
    assert (result.requests, result.records) == (20, 60)
    assert result.p50_ms is not None
    assert result.p99_ms is not None
    assert 0 < result.p50_ms <= result.p99_ms
    sent = server.batches()
    assert all(each.crc_is_right for each in sent)
    assert {len(value or b"") for each in sent for value in each.values} == {100}
    assert {(each.count, each.producer) for each in sent} == {(3, (-1, -1, -1))}
    assert [request.acks for request in server.requests] == [1] * 20


def test_several_connections_share_the_batches() -> None:
    with broker() as server:
        result = generate(Load("127.0.0.1", server.port, "bench", connections=4, max_batches=50, seconds=30.0))
    assert result.requests == len(server.requests) == 50


def test_batches_larger_than_the_sockets_buffers_arrive_whole() -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", record_bytes=3 << 20, max_batches=8, seconds=30.0)
        assert generate(load).requests == 8
    assert all(sent.crc_is_right for sent in server.batches())


def test_batches_larger_than_the_sockets_buffers_arrive_whole_on_several_connections() -> None:
    with broker() as server:
        load = Load(
            "127.0.0.1", server.port, "bench", record_bytes=3 << 20, connections=3, max_batches=18, seconds=30.0
        )
        assert generate(load).requests == 18
    assert all(sent.crc_is_right for sent in server.batches())


@pytest.mark.parametrize("records", [1, 40])
def test_each_idempotent_connection_has_a_producer_whose_sequences_go_on_and_checksums_are_right(records: int) -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", records_per_batch=records, connections=2, idempotent=1)
        generate(replace(load, max_batches=700, seconds=30.0))
    sequences: dict[int, list[int]] = {}
    for connection, sent in zip(server.connections, server.batches(), strict=True):
        producer_id, epoch, sequence = sent.producer
        assert (epoch, sent.crc_is_right) == (3, True)
        sequences.setdefault(connection, [producer_id]).append(sequence)
    assert sorted(producer_id for producer_id, *_ in sequences.values()) == [1001, 1002]
    for _, *found in sequences.values():
        assert found == list(range(0, len(found) * records, records))


def test_what_is_sent_without_answers_is_followed_by_one_batch_that_is_answered() -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", acks=0, connections=2, max_batches=30, seconds=30.0)
        result = generate(load)
    assert (result.requests, result.records, result.p50_ms) == (32, 32, None)
    assert sorted(request.acks for request in server.requests) == [0] * 30 + [1] * 2


def test_a_broker_that_refuses_what_is_behind_the_batches_without_answers_fails_the_load() -> None:
    with broker(spoilt_from=10, spoil=error_code(17)) as server, pytest.raises(LoadFailed, match="error code 17"):
        generate(Load("127.0.0.1", server.port, "bench", acks=0, max_batches=10, seconds=30.0))


@pytest.mark.parametrize("codec", list(Codec))
def test_compressed_batches_hold_the_same_records(codec: Codec) -> None:
    with broker() as server:
        load = Load("127.0.0.1", server.port, "bench", records_per_batch=50, max_batches=1, seconds=30.0)
        generate(load)
        generate(replace(load, compression=codec.config_name))
    plain, compressed = server.batches()
    assert (compressed.attributes, compressed.count, compressed.crc_is_right) == (codec, 50, True)
    assert decompress(codec, compressed.payload, 1 << 20) == plain.payload


def test_the_time_ends_a_load_without_a_limit() -> None:
    with broker() as server:
        result = generate(Load("127.0.0.1", server.port, "bench", seconds=0.05))
    assert result.requests == len(server.requests) >= 5


SPOILT = {
    "error code 3": error_code(3),
    "an answer to 5 out of order": lambda answer: struct.pack_into(">i", answer, 4, 5),
    "an answer of 40 bytes": lambda answer: struct.pack_into(">i", answer, 0, 40),
    "the broker closed the connection": lambda _answer: (_ for _ in ()).throw(ConnectionError),
    r"an answer to \d+ out of order": lambda answer: answer.extend(bytes(answer)),
}


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("complaint", SPOILT)
def test_one_answer_that_is_not_as_it_must_be_fails_the_load(complaint: str, connections: int) -> None:
    load = Load("127.0.0.1", 0, "bench", in_flight=1, connections=connections, max_batches=400, seconds=30.0)
    with broker(337, SPOILT[complaint]) as server, pytest.raises((LoadFailed, ConnectionError), match=complaint):
        generate(replace(load, port=server.port))


def test_every_answer_of_those_that_come_together_is_looked_at() -> None:
    topic, slots, together = "bench", 7, 3
    expected = ExpectedAnswers(topic, slots, together)
    frame_bytes = answer_bytes(topic)
    for first in range(slots):
        good = bytearray()
        for place in range(together):
            partition = PartitionProduceResponse(index=0, base_offset=(1 << 50) + place)
            response = ProduceResponse(responses=[TopicProduceResponse(name=topic, partition_responses=[partition])])
            correlation_id = struct.pack(">i", (first + place) % slots)
            good += framed(correlation_id + b"\x00" + response.encode(NAMED_PRODUCE_VERSION))
        expected.check(good, first, together)
        for place in range(together):
            for at in (*range(8), error_code_position(topic), error_code_position(topic) + 1):
                bad = good.copy()
                bad[place * frame_bytes + at] ^= 0x40
                with pytest.raises(LoadFailed):
                    expected.check(bad, first, together)


@pytest.mark.parametrize("connections", [1, 3])
def test_answers_that_come_in_pieces_are_put_together(connections: int) -> None:
    with broker() as server:
        server.piece_bytes = 17
        load = Load("127.0.0.1", server.port, "bench", connections=connections, max_batches=30, seconds=30.0)
        assert generate(load).requests == 30


def test_latencies_count_as_often_as_requests_had_them() -> None:
    latencies, others = Latencies(), Latencies()
    latencies.add(3.0, 1)
    latencies.add(1.0, 98)
    others.add(2.0, 1)
    latencies.extend(others)
    assert latencies.quantiles_s((0.5, 0.98, 0.99, 1.0)) == [1.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("version", range(9, NAMED_PRODUCE_VERSION + 1))
def test_the_error_code_is_where_the_declarations_put_it(version: int) -> None:
    topic = "a-name-of-some-length"
    partition = PartitionProduceResponse(index=0, error_code=0x1234, base_offset=7)
    response = ProduceResponse(responses=[TopicProduceResponse(name=topic, partition_responses=[partition])])
    frame = bytes(4 + 4 + 1) + response.encode(version)
    assert answer_bytes(topic) == len(frame)
    assert struct.unpack_from(">h", frame, error_code_position(topic)) == (0x1234,)


def test_a_name_whose_length_takes_two_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        error_code_position("n" * 127)


def test_the_command_line_says_the_same_load() -> None:
    load = Load("127.0.0.1", 9092, "bench", records_per_batch=600, in_flight=7, connections=64, acks=-1, seconds=1.5)
    load = replace(load, idempotent=1, compression="zstd")
    assert parse(Load, "program", "", arguments(load)) == load
