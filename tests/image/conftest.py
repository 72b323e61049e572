"""The image, made once, and what a client does with a broker in it."""

from __future__ import annotations

import pytest

from tests.support.apache import Unavailable
from tests.support.image import Image

ROUND_TRIP = """
import json, sys
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
bootstrap = sys.argv[1]
admin = AdminClient({"bootstrap.servers": bootstrap})
admin.create_topics([NewTopic("orders", 1)])["orders"].exception(20)
producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "t"})
producer.init_transactions(20)
producer.begin_transaction()
producer.produce("orders", b"one")
producer.commit_transaction(20)
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
consumer.subscribe(["orders"])
(message,) = consumer.consume(1, 20)
consumer.close()
cluster = admin.describe_cluster().result(20)
addresses = [f"{node.host}:{node.port}" for node in cluster.nodes]
print(json.dumps([message.value().decode(), cluster.cluster_id, addresses]))
"""
"""Prints what came back, the cluster's id, and the brokers' addresses; its argument is where to connect."""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    try:
        return Image(tmp_path_factory.mktemp("image"))
    except Unavailable as missing:
        pytest.skip(str(missing))
