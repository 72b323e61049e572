"""Limits while partitions are copied, as Kafka's reassignment tool sets and removes them."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from odradek.cli.rebalance_plan import Assignment, Change
from odradek.cli.throttling import Throttle
from odradek.net.client import Client
from odradek.wire import ErrorCode, KafkaError
from odradek.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.metadata import MetadataResponse, MetadataResponseBroker

TOPIC, BROKER = 2, 4
SET, DELETE = 0, 1
LEADER_RATE, FOLLOWER_RATE = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
LEADERS, FOLLOWERS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"
CHANGES = [
    Change(Assignment("a", 0, (1, 2)), (1, 3)),
    Change(Assignment("a", 1, (2, 1)), (3, 1)),
    Change(Assignment("b", 0, (1, 4)), (4, 1)),
]
"""Two that are copied to broker 3, and one that only gets another leader."""


class Cluster:
    """Keeps configurations; brokers take their own only. `refused` are answered with an error."""

    def __init__(self, brokers: tuple[int, ...] = (1, 2, 3, 4)) -> None:
        self.configs: dict[tuple[int, str], dict[str, str]] = {}
        self.refused: dict[tuple[int, str], ErrorCode] = {}
        self._brokers = brokers

    async def metadata(self, _topics: None) -> MetadataResponse:
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=each, host="h", port=1) for each in self._brokers]
        )

    async def send(
        self, request: IncrementalAlterConfigsRequest, _response: object, *, node_id: int | None
    ) -> IncrementalAlterConfigsResponse:
        assert node_id is None or node_id in self._brokers
        responses = []
        for resource in request.resources:
            key = (resource.resource_type, resource.resource_name)
            assert resource.resource_type == TOPIC or resource.resource_name == str(node_id)
            code = self.refused.get(key, ErrorCode.NONE)
            for each in resource.configs if code is ErrorCode.NONE else []:
                assert each.config_operation == (DELETE if each.value is None else SET)
                if each.value is None:
                    self.configs.get(key, {}).pop(each.name, None)
                else:
                    self.configs.setdefault(key, {})[each.name] = each.value
            responses.append(AlterConfigsResourceResponse(error_code=code, error_message=None))
        return IncrementalAlterConfigsResponse(responses=responses)


def throttle(cluster: Cluster) -> Throttle:
    return Throttle(cast(Client, cluster), CHANGES, 1000)


def test_those_that_copy_and_those_that_they_copy_from_are_limited() -> None:
    cluster = Cluster()
    asyncio.run(throttle(cluster).set())
    rates = {LEADER_RATE: "1000", FOLLOWER_RATE: "1000"}
    assert cluster.configs == {
        (BROKER, "1"): rates,
        (BROKER, "2"): rates,
        (BROKER, "3"): rates,
        (TOPIC, "a"): {LEADERS: "0:1,0:2,1:2,1:1", FOLLOWERS: "0:3,1:3"},
    }
    asyncio.run(throttle(cluster).remove())
    assert not any(cluster.configs.values())


def test_a_broker_that_is_away_needs_no_limit_and_refusals_are_told() -> None:
    cluster = Cluster(brokers=(1, 3, 4))
    asyncio.run(throttle(cluster).set())
    assert [name for kind, name in cluster.configs if kind == BROKER] == ["1", "3"]
    cluster.refused = {(TOPIC, "a"): ErrorCode.TOPIC_AUTHORIZATION_FAILED}
    with pytest.raises(KafkaError):
        asyncio.run(throttle(cluster).set())
