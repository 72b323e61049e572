"""What replication needs of the cluster around a broker: the controller, the other brokers, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from odradek.broker.controller_client import ControllerClient
from odradek.broker.replication.throttle import UNLIMITED
from odradek.config import BrokerConfig
from odradek.ports import Promise, Timing
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)

RACK_AWARE_SELECTOR = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
"""The one selector that Kafka comes with; others would be Java classes."""


class ReplicaClient(Protocol):
    """A `BrokerClient` with connections of its own."""

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        """The broker's answer. Fails with KafkaError NETWORK_EXCEPTION or REQUEST_TIMED_OUT where there is none."""
        ...

    def close(self) -> None:
        """Give the connections back; what waits for an answer fails."""
        ...


class ReplicationOptions(NamedTuple):
    """Settings of leaders and followers; times in milliseconds, sizes in bytes."""

    lag_time_max_ms: int = 30_000
    """`replica.lag.time.max.ms`: how long a follower stays in sync without having caught up."""
    fetchers: int = 1
    """`num.replica.fetchers`, for each broker that leads."""
    fetch_backoff_ms: int = 1_000
    fetch_min_bytes: int = 1
    fetch_max_bytes: int = 1_048_576
    """Of one partition."""
    fetch_response_max_bytes: int = 10_485_760
    fetch_wait_max_ms: int = 500
    selects_by_rack: bool = False
    """Whether consumers are sent to the in-sync replica in their rack (KIP-392)."""
    leader_bytes_per_second: int = UNLIMITED
    follower_bytes_per_second: int = UNLIMITED

    @classmethod
    def from_config(cls, config: BrokerConfig) -> ReplicationOptions:
        """The settings of a broker."""
        return cls(
            lag_time_max_ms=config.int_("replica.lag.time.max.ms"),
            fetchers=config.int_("num.replica.fetchers"),
            fetch_backoff_ms=config.int_("replica.fetch.backoff.ms"),
            fetch_min_bytes=config.int_("replica.fetch.min.bytes"),
            fetch_max_bytes=config.int_("replica.fetch.max.bytes"),
            fetch_response_max_bytes=config.int_("replica.fetch.response.max.bytes"),
            fetch_wait_max_ms=config.int_("replica.fetch.wait.max.ms"),
            selects_by_rack=config.optional_string("replica.selector.class") == RACK_AWARE_SELECTOR,
            leader_bytes_per_second=config.int_("leader.replication.throttled.rate"),
            follower_bytes_per_second=config.int_("follower.replication.throttled.rate"),
        )


class ClusterPorts(NamedTuple):
    """What the composition root passes in on a node that has others around it."""

    controller: ControllerClient
    new_client: Callable[[str], ReplicaClient]
    """Connections for one purpose, which it names."""
    broker_epoch: Callable[[], int]
    """-1 before the broker is registered."""
    options: Callable[[], ReplicationOptions]
    """Asked again and again: some can be changed at run time."""
    timing: Timing | None = None
    """By what replicas are waited for, and how long requests wait; None: by the same as everything else."""
