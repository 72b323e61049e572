"""A Kafka for tests: `EmbeddedKafka` runs whole nodes inside a program, in memory, and leaves nothing behind.

    with EmbeddedKafka(topics=["orders"]) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

The pytest plugin in `plugin` has the same as fixtures. What is named here is imported when it is first used, for
pytest loads the plugin in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odradek.config import ConfigError
    from odradek.node.start_error import StartError
    from odradek.testing.clock import Clock
    from odradek.testing.container import KafkaContainer
    from odradek.testing.defaults import TEST_DEFAULTS
    from odradek.testing.embedded import EmbeddedKafka
    from odradek.testing.faults.handles import Fault, Faults
    from odradek.testing.faults.specs import FaultSpec, fault_from_json, fault_kinds
    from odradek.testing.groups import EmbeddedGroup
    from odradek.testing.options import Topic
    from odradek.testing.records import ANYTHING, Record, Records
    from odradek.testing.requests import RecordedRequest, Requests
    from odradek.testing.states import GroupInfo, GroupMember, PartitionInfo, TopicInfo, TransactionInfo
    from odradek.testing.topics import EmbeddedTopic
    from odradek.testing.transactions import EmbeddedTransaction
    from odradek.testing.waiting import WaitTimeoutError
    from odradek.wire.errors import ErrorCode, KafkaError

__all__ = [
    "EmbeddedKafka",
    "Clock",
    "KafkaContainer",
    "Topic",
    "TEST_DEFAULTS",
    "EmbeddedTopic",
    "EmbeddedGroup",
    "EmbeddedTransaction",
    "Record",
    "Records",
    "ANYTHING",
    "TopicInfo",
    "PartitionInfo",
    "GroupInfo",
    "GroupMember",
    "TransactionInfo",
    "Requests",
    "RecordedRequest",
    "WaitTimeoutError",
    "ConfigError",
    "StartError",
    "KafkaError",
    "ErrorCode",
    "Faults",
    "Fault",
    "FaultSpec",
    "fault_from_json",
    "fault_kinds",
]

_MODULES = {
    "EmbeddedKafka": "odradek.testing.embedded",
    "Clock": "odradek.testing.clock",
    "KafkaContainer": "odradek.testing.container",
    "Fault": "odradek.testing.faults.handles",
    "FaultSpec": "odradek.testing.faults.specs",
    "Faults": "odradek.testing.faults.handles",
    "fault_from_json": "odradek.testing.faults.specs",
    "fault_kinds": "odradek.testing.faults.specs",
    "Topic": "odradek.testing.options",
    "TEST_DEFAULTS": "odradek.testing.defaults",
    "EmbeddedTopic": "odradek.testing.topics",
    "EmbeddedGroup": "odradek.testing.groups",
    "EmbeddedTransaction": "odradek.testing.transactions",
    "Record": "odradek.testing.records",
    "Records": "odradek.testing.records",
    "ANYTHING": "odradek.testing.records",
    "TopicInfo": "odradek.testing.states",
    "PartitionInfo": "odradek.testing.states",
    "GroupInfo": "odradek.testing.states",
    "GroupMember": "odradek.testing.states",
    "TransactionInfo": "odradek.testing.states",
    "Requests": "odradek.testing.requests",
    "RecordedRequest": "odradek.testing.requests",
    "WaitTimeoutError": "odradek.testing.waiting",
    "ConfigError": "odradek.config",
    "StartError": "odradek.node.start_error",
    "KafkaError": "odradek.wire.errors",
    "ErrorCode": "odradek.wire.errors",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What is named in `__all__`; AttributeError for everything else."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
