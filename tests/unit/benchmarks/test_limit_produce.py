from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.limits.produce import Receiver, receiving
from benchmarks.limits.receiving import RECEIVE_BYTES
from benchmarks.limits.sink import Sink
from benchmarks.load.answers import ExpectedAnswers, accepting_answer
from benchmarks.load.produce import Load, generate, request_and_batch
from benchmarks.load.ring import Ring
from odradek.storage.segment_file import RESERVED_BYTES

TOPIC = "bench"
REQUESTS = 5


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 260, 261, 1 << 20])
@pytest.mark.parametrize("acks", [0, 1])
def test_frames_in_any_pieces_are_written_and_answered_in_order(tmp_path: Path, piece_bytes: int, acks: int) -> None:
    ring = Ring(*request_and_batch(Load("", 0, TOPIC, acks=acks)), REQUESTS)
    sent = b"".join(ring.buffers(0, REQUESTS))
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(Sink(tmp_path / "received")) as sink:
        receiver = Receiver(theirs, sink, accepting_answer(TOPIC), memoryview(bytearray(RECEIVE_BYTES)))
        for at in range(0, len(sent), piece_bytes):
            ours.sendall(sent[at : at + piece_bytes])
            assert receiver.turn()
        theirs.shutdown(socket.SHUT_WR)
        with ours.makefile("rb") as stream:
            answers = stream.read()
        ours.shutdown(socket.SHUT_WR)
        assert not receiver.turn()
    assert (tmp_path / "received").read_bytes() == sent
    expected = ExpectedAnswers(TOPIC, REQUESTS, REQUESTS)
    assert len(answers) == acks * REQUESTS * expected.answer_bytes
    if acks:
        expected.check(bytearray(answers), 0, REQUESTS)


def test_blocks_that_are_reserved_do_not_make_the_file_longer(tmp_path: Path) -> None:
    with closing(Sink(tmp_path / "received")) as sink:
        piece = memoryview(bytes(range(256)) * 4096)
        for _ in range(5):
            sink.write(piece)
    found = (tmp_path / "received").read_bytes()
    assert len(found) == 5 * len(piece) > RESERVED_BYTES
    assert found == bytes(piece) * 5


@pytest.mark.parametrize(("records", "connections", "acks"), [(600, 1, 1), (1, 3, 1), (1, 1, 0)])
def test_the_load_runs_against_the_limits_process(tmp_path: Path, records: int, connections: int, acks: int) -> None:
    load = Load("", 0, TOPIC, records_per_batch=records, connections=connections, acks=acks, max_batches=50)
    with receiving(tmp_path, TOPIC) as bare:
        requests = generate(replace(load, host=bare.host, port=bare.port, seconds=20.0)).requests
    assert requests == 50 + (acks == 0)
    one, _ = request_and_batch(load)
    assert (tmp_path / "received").stat().st_size == requests * len(one)
