from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import librdkafka
from benchmarks.load.librdkafka import ClientError, consume, produce
from tests.support.odradek import Odradek
from tests.support.requests import connect, create_topic, list_offset


def test_all_records_are_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A queue of less than one call's records: they are handed over piece by piece.
    monkeypatch.setitem(librdkafka.PRODUCER, "queue.buffering.max.messages", 3_000)
    monkeypatch.setitem(librdkafka.PRODUCER, "linger.ms", 0)
    broker = Odradek(tmp_path, {"group.initial.rebalance.delay.ms": "0"})
    broker.start()
    try:
        with connect(broker) as connection:
            create_topic(connection, "bulk")
            written = produce(broker.bootstrap, "bulk", 25_000)
            assert list_offset(connection, "bulk", -1).offset == 25_000
        assert written.records == 25_000
        read = consume(broker.bootstrap, "bulk", 25_000)
        assert read.records == 25_000
        assert min(written.records_per_s, read.records_per_s) > 0
        with connect(broker) as connection:
            create_topic(connection, "small", configs={"max.message.bytes": "10"})
        with pytest.raises(ClientError):
            produce(broker.bootstrap, "small", 10)
    finally:
        broker.close()
