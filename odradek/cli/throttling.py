"""The limits on replication that Kafka's reassignment tool sets while it copies partitions, and takes away (KIP-73)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from odradek.cli.rebalance_plan import Change
from odradek.cli.session import check
from odradek.config.alter import AlterOp
from odradek.config.types import ResourceType
from odradek.net.client import Client
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
LEADERS, FOLLOWERS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"


class Throttle:
    """Limits what the copies of `changes` take: of each broker that reads, and of each that copies."""

    def __init__(self, client: Client, changes: Iterable[Change], bytes_per_second: int) -> None:
        copies = [change for change in changes if change.added]
        self._client = client
        self._rate = str(bytes_per_second)
        self._brokers = sorted({broker for each in copies for broker in (*each.before.replicas, *each.replicas)})
        self._replicas: dict[str, dict[str, list[str]]] = {}
        for change in copies:
            topic, partition, sources = change.before
            listed = self._replicas.setdefault(topic, {LEADERS: [], FOLLOWERS: []})
            listed[LEADERS] += [f"{partition}:{broker}" for broker in sources]
            listed[FOLLOWERS] += [f"{partition}:{broker}" for broker in change.added]

    async def set(self) -> None:
        """Set the limits. Raises KafkaError, ClientError."""
        await self._alter(
            AlterOp.SET,
            {str(broker): dict.fromkeys(RATES, self._rate) for broker in self._brokers},
            {
                topic: {name: ",".join(replicas) for name, replicas in listed.items()}
                for topic, listed in self._replicas.items()
            },
        )

    async def remove(self) -> None:
        """Take them away, whoever has set them. Raises KafkaError, ClientError."""
        await self._alter(
            AlterOp.DELETE,
            {str(broker): dict.fromkeys(RATES) for broker in self._brokers},
            {topic: dict.fromkeys((LEADERS, FOLLOWERS)) for topic in self._replicas},
        )

    async def _alter(
        self,
        operation: AlterOp,
        brokers: Mapping[str, Mapping[str, str | None]],
        topics: Mapping[str, Mapping[str, str | None]],
    ) -> None:
        there = [broker.node_id for broker in (await self._client.metadata(None)).brokers]
        for name, values in brokers.items():
            if int(name) in there:  # one that is away sends nothing
                await self._send([_resource(ResourceType.BROKER, name, operation, values)], int(name))
        if topics:
            await self._send(
                [_resource(ResourceType.TOPIC, name, operation, values) for name, values in topics.items()]
            )

    async def _send(self, resources: list[AlterConfigsResource], node_id: int | None = None) -> None:
        """A broker's own properties are altered at that broker only."""
        request = IncrementalAlterConfigsRequest(resources=resources)
        response = await self._client.send(request, IncrementalAlterConfigsResponse, node_id=node_id)
        for each in response.responses:
            check(each.error_code, each.error_message)


def _resource(
    kind: ResourceType, name: str, operation: AlterOp, values: Mapping[str, str | None]
) -> AlterConfigsResource:
    configs = [AlterableConfig(name=key, config_operation=operation, value=value) for key, value in values.items()]
    return AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
