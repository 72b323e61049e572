"""What tests can ask nodes in a process: the same as those in a thread."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka, KafkaError, Record, WaitTimeoutError
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import ProduceRequest
from tests.unit.testing.clients import TIMEOUT_S, produce
from tests.unit.testing.test_groups import member


def test_nodes_in_a_process_can_be_looked_into() -> None:
    with EmbeddedKafka(topics=["t"], process=True) as kafka:
        producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "client.id": "shop",
                "transactional.id": "tx",
                "log_level": 0,
            }
        )
        producer.init_transactions(TIMEOUT_S)
        for value, end in (("a", producer.abort_transaction), ("b", producer.commit_transaction)):
            producer.begin_transaction()
            producer.produce("t", value, "k")
            assert producer.flush(TIMEOUT_S) == 0
            end(TIMEOUT_S)
        assert kafka.topic("t").wait_for_records(1) == [Record(key=b"k", value=b"b")]
        assert kafka.topic("t").partitions[0].high_watermark == 4
        with member(kafka):
            group = kafka.group("g").wait_for_lag()
            assert (group.committed_offsets, kafka.groups()) == ({"t": {0: 4}}, {"g": "Stable"})
        assert kafka.transaction("tx").wait_for_state("CompleteCommit").partitions == {}
        (request,) = kafka.requests.of(InitProducerIdRequest).from_client("shop")
        assert request.message.transactional_id == "tx"
        assert isinstance(request.response, InitProducerIdResponse)
        assert request.response.producer_id == kafka.transaction("tx").describe().producer_id
        assert len(kafka.requests.of(ProduceRequest).for_topic("t")) == 2
        kafka.requests.clear()
        assert list(kafka.requests.of(InitProducerIdRequest)) == []
        with pytest.raises(KafkaError, match="there is no topic u"):
            kafka.topic("u").records()
        with pytest.raises(WaitTimeoutError, match="t has not 2 records, but 1"):
            kafka.topic("t").wait_for_records(2, timeout_s=0)

        async def wait() -> int:
            waiting = asyncio.ensure_future(kafka.topic("t").wait_for_records_async(2, timeout_s=TIMEOUT_S))
            await asyncio.to_thread(produce, kafka.bootstrap_servers, "t", "c")
            return len(await waiting)

        assert asyncio.run(wait()) == 2
