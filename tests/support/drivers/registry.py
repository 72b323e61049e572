"""All client libraries by name."""

from __future__ import annotations

from pathlib import Path

from tests.support.drivers.aio import AioKafka
from tests.support.drivers.base import Driver
from tests.support.drivers.confluent import Confluent
from tests.support.drivers.kafka_python import KafkaPython
from tests.support.drivers.other_languages import java_driver, sarama_driver

DRIVER_NAMES = ("kafka-python", "librdkafka", "aiokafka", "java", "sarama")


def open_driver(name: str, bootstrap: str, log_path: Path) -> Driver:
    """Raises tests.support.apache.Unavailable where a toolchain is missing."""
    if name == "java":
        return java_driver(bootstrap, log_path)
    if name == "sarama":
        return sarama_driver(bootstrap, log_path)
    python: dict[str, type[KafkaPython] | type[Confluent] | type[AioKafka]] = {
        "kafka-python": KafkaPython,
        "librdkafka": Confluent,
        "aiokafka": AioKafka,
    }
    return python[name](bootstrap)
