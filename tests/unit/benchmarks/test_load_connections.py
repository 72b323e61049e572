from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from benchmarks import procfs
from benchmarks.load.answers import LoadFailed
from benchmarks.load.connections import Held, hold
from tests.unit.benchmarks.answering import Broker, broker, error_code

pytestmark = pytest.mark.skipif(not procfs.available(), reason="no /proc here")


def held(server: Broker) -> Held:
    pid = os.getpid()
    return Held("127.0.0.1", server.port, "bench", pid, connections=7, interval_s=0.01, seconds=0.2, settle_s=0.0)


def test_a_third_of_the_connections_sends_in_turn_what_is_due_and_the_others_nothing() -> None:
    with broker() as server:
        result = hold(held(server))
    assert result.records == len(server.requests) == 60
    assert [server.connections.count(number) for number in range(1, 8)] == [20, 0, 0, 20, 0, 0, 20]
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.records_per_s == pytest.approx(300, rel=0.3)


def test_memory_is_that_of_the_process_before_with_and_after_the_connections() -> None:
    ballast: list[bytes] = []

    def grow(_answer: bytearray) -> None:
        if not ballast:
            ballast.append(b"x" * (32 << 20))

    with broker(10, grow) as server:
        result = hold(held(server))
    assert result.held_bytes - result.before_bytes > 30 << 20
    assert result.before_bytes <= result.series_bytes[0] < result.held_bytes
    assert result.closed_bytes > 0


def close(_answer: bytearray) -> None:
    raise ConnectionError


def out_of_order(answer: bytearray) -> None:
    answer[7] ^= 1


@pytest.mark.parametrize(
    ("spoil", "complaint"), [(error_code(3), "error code 3"), (out_of_order, "out of order"), (close, "closed")]
)
def test_a_broken_answer_fails_the_load(spoil: Callable[[bytearray], object], complaint: str) -> None:
    with broker(20, spoil) as server, pytest.raises(LoadFailed, match=complaint):
        hold(held(server))


def test_a_broker_that_refuses_to_tell_its_versions_fails_the_load() -> None:
    with broker() as server:
        server.versions_error = 35
        with pytest.raises(LoadFailed, match="ApiVersions: error code 35"):
            hold(held(server))


def test_a_quiet_connection_that_the_broker_has_closed_is_not_held() -> None:
    with broker() as server:
        server.closed_after_versions = 2
        with pytest.raises(LoadFailed, match="closed a connection that was held"):
            hold(held(server))
