"""A node where Python has less than on Linux: the same clients, the same files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.support.odradek import Odradek
from tests.support.process import wait_for
from tests.support.requests import connect, create_topic, fetch, fetch_request, produce

VALUE = b"x" * 100_000
"""Too much for one read, or for a file range that is read and sent like other bytes."""
STOP_WITHIN_S = 2.0


@pytest.fixture(params=["windows", "macos"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Odradek]:
    settings = {
        "log.segment.delete.delay.ms": "100",
        "log.segment.bytes": "1048576",
        "log.initial.task.delay.ms": "100",
    }
    node = Odradek(tmp_path, settings)
    node.program = ("tests.support.other_platform", request.param)
    node.start()
    yield node
    node.close()


def batch(value: bytes) -> bytes:
    return build_batch([Record(0, time.time_ns() // 1_000_000, None, value)])


def test_a_node_serves_stops_restarts_and_deletes(node: Odradek) -> None:
    with connect(node) as connection:
        for topic in ("kept", "deleted"):
            create_topic(connection, topic)
            for _ in range(12):
                assert produce(connection, topic, batch(VALUE)).error_code == 0
            assert fetch(connection, fetch_request(topic, 5)).records is not None
        assert len(list(node.data_dir.glob("deleted-0/*.log"))) == 2
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name="deleted")], timeout_ms=5000)
        assert connection.call(request, DeleteTopicsResponse).responses[0].error_code == 0
        wait_for(lambda: not list(node.data_dir.glob("deleted*")), "the files are gone")
    begun = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - begun < STOP_WITHIN_S
    node.start()
    with connect(node) as connection:
        records = fetch(connection, fetch_request("kept", 11)).records
        assert isinstance(records, memoryview)
        assert VALUE in bytes(records)
    assert "Traceback" not in node.log_tail(1000)
