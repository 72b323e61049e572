from __future__ import annotations

import dataclasses
import socket
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import procfs
from benchmarks.limits.clients import Address, Receiver, Responder, Stored, bare_broker
from benchmarks.limits.receiving import RECEIVE_BYTES
from benchmarks.limits.sink import Sink
from benchmarks.load import librdkafka
from benchmarks.load.fetch import Fetch, consume
from benchmarks.load.produce import Load, request_and_batch
from benchmarks.load.ring import Ring
from benchmarks.tools import ToolResult
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.messages.produce import ProduceResponse
from tests.support.requests import NAMED_PRODUCE_VERSION
from tests.support.wire import Connection, encode_request, framed

REQUESTS = 5

pytestmark = pytest.mark.skipif(not procfs.available(), reason="no /proc here")


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("acks", [0, 1])
def test_frames_in_any_pieces_are_written_and_answered_in_order(tmp_path: Path, piece_bytes: int, acks: int) -> None:
    stored = Stored(str(tmp_path), "bench")
    stored.path.touch()
    versions = framed(encode_request(ApiVersionsRequest(), 0, correlation_id=77))
    produced = b"".join(Ring(*request_and_batch(Load("", 0, "bench", acks=acks)), REQUESTS).buffers(0, REQUESTS))
    sent = versions + produced + versions
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(Sink(tmp_path / "received")) as sink:
        receiver = Receiver(theirs, sink, Responder(stored, 1), memoryview(bytearray(RECEIVE_BYTES)))
        for at in range(0, len(sent), piece_bytes):
            ours.sendall(sent[at : at + piece_bytes])
            assert receiver.turn()
        theirs.shutdown(socket.SHUT_WR)
        with ours.makefile("rb") as stream:
            answers = frames(stream.read())
        ours.shutdown(socket.SHUT_WR)
        assert not receiver.turn()
    assert (tmp_path / "received").read_bytes() == sent
    ids = [int.from_bytes(answer[:4]) for answer in answers]
    assert ids == [77, *(range(REQUESTS) if acks else ()), 77]
    assert ApiVersionsResponse.decode(answers[0][4:], 0).error_code == 0
    for answer in answers[1:-1]:
        response = ProduceResponse.decode(answer[5:], NAMED_PRODUCE_VERSION)
        assert response.responses[0].partition_responses[0].error_code == 0


def frames(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[:4])
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def test_librdkafka_produces_to_it(tmp_path: Path) -> None:
    def work(address: Address) -> ToolResult:
        result = librdkafka.produce(address.bootstrap, "bench", 20_000)
        return ToolResult(result.records, result.records_per_s)

    result = bare_broker(Stored(str(tmp_path), "bench"), work)
    assert result.records == 20_000
    assert result.server_cpu_s
    assert (tmp_path / "received").stat().st_size > 20_000 * 100


def test_librdkafka_consumes_what_is_there_in_a_group(tmp_path: Path) -> None:
    stored = Stored(str(tmp_path), "bench", batches=40, records_per_batch=500)

    def work(address: Address) -> ToolResult:
        result = librdkafka.consume(address.bootstrap, "bench", stored.records)
        return ToolResult(result.records, result.records_per_s)

    assert bare_broker(stored, work).records == 20_000


def test_fetches_go_on_where_an_answer_broke_off(tmp_path: Path) -> None:
    stored = Stored(str(tmp_path), "bench", batches=30, records_per_batch=10)

    def work(address: Address) -> ToolResult:
        fetch = Fetch(
            address.host,
            address.port,
            "bench",
            version=12,
            sessions=0,
            records=stored.records,
            partition_max_bytes=3000,
        )
        result = consume(fetch)
        # Two batches of some 1,100 bytes are whole in 3,000.
        assert result.requests == 15
        return ToolResult(result.records, result.records_per_s)

    assert bare_broker(stored, work).records == 300


def test_all_versions_of_what_it_offers_are_answered(tmp_path: Path) -> None:
    def work(address: Address) -> ToolResult:
        with Connection(address.host, address.port) as connection:
            keys = connection.call(ApiVersionsRequest(), ApiVersionsResponse, 4).api_keys
            offered = {key.api_key: range(key.min_version, key.max_version + 1) for key in keys}
            for version in offered[3]:
                answer = connection.call(MetadataRequest(topics=[]), MetadataResponse, version)
                assert (answer.brokers[0].host, answer.brokers[0].port) == (address.host, address.port)
        return ToolResult(len(offered), 1.0)

    assert bare_broker(dataclasses.replace(Stored(str(tmp_path), "bench")), work).records == 13
