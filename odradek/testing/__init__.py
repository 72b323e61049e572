"""A Kafka for tests: `EmbeddedKafka` runs whole nodes inside a program, in memory, and leaves nothing behind.

    with EmbeddedKafka(topics=["orders"]) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

The pytest plugin in `plugin` has the same as fixtures.
"""

from __future__ import annotations

from odradek.config import ConfigError
from odradek.node import StartError
from odradek.testing.defaults import TEST_DEFAULTS
from odradek.testing.embedded import EmbeddedKafka
from odradek.testing.options import Topic
from odradek.wire.errors import KafkaError

__all__ = ["EmbeddedKafka", "Topic", "TEST_DEFAULTS", "ConfigError", "StartError", "KafkaError"]
