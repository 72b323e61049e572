"""A member of a consumer group over a raw connection, heartbeat by heartbeat, and what administrators ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from odradek.wire.messages.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.uuids import Uuid, uuid_to_string
from tests.support.process import wait_for
from tests.support.requests import code
from tests.support.wire import Connection

Partitions = dict[Uuid, list[int]]
GROUP_RESOURCE = 32
REBALANCE_MS = 10_000
_ids = iter(range(1 << 30))


class RawConsumer:
    """Says what it is told to say; what it owns is what it was assigned last, unless the test says otherwise."""

    def __init__(
        self, connection: Connection, group: str, *topics: str, regex: str | None = None, instance: str | None = None
    ) -> None:
        self.connection = connection
        self.group = group
        self.topics: list[str] | None = list(topics)
        self.regex = regex
        self.instance = instance
        self.member_id = uuid_to_string(next(_ids).to_bytes(16, "big"))
        self.epoch = 0
        self.owned: Partitions = {}

    def send(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """One heartbeat with just these fields beside the ids and the epoch; changes nothing here."""
        fields: dict[str, object] = {
            "group_id": self.group,
            "member_id": self.member_id,
            "member_epoch": self.epoch,
            "instance_id": self.instance,
            **changes,
        }
        request = ConsumerGroupHeartbeatRequest(**fields)  # type: ignore[arg-type]  # fields by name
        return self.connection.call(request, ConsumerGroupHeartbeatResponse, 1)

    def join(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """The first heartbeat: everything, and nothing owned."""
        self.epoch, self.owned = 0, {}
        fields: dict[str, object] = {
            "rebalance_timeout_ms": REBALANCE_MS,
            "subscribed_topic_names": self.topics,
            "subscribed_topic_regex": self.regex,
            "topic_partitions": [],
            **changes,
        }
        return self._taken(self.send(**fields))

    def beat(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """A heartbeat that says what is owned."""
        return self._taken(self.send(topic_partitions=_wire(self.owned), **changes))

    def settle(self, *others: RawConsumer) -> None:
        """Let members beat until nobody's epoch or assignment moves any more."""
        members = (self, *others)

        def still() -> bool:
            before = [(member.epoch, dict(member.owned)) for member in members]
            for _ in range(2):
                for member in members:
                    assert code(member.beat().error_code) == "NONE"
            epochs = {member.epoch for member in members}
            return before == [(member.epoch, member.owned) for member in members] and len(epochs) == 1

        wait_for(still, "the group settles")

    def leave(self, epoch: int = -1) -> ConsumerGroupHeartbeatResponse:
        return self.send(member_epoch=epoch)

    def count(self) -> int:
        return sum(len(partitions) for partitions in self.owned.values())

    def _taken(self, answer: ConsumerGroupHeartbeatResponse) -> ConsumerGroupHeartbeatResponse:
        if code(answer.error_code) == "NONE":
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                self.owned = {topic.topic_id: sorted(topic.partitions) for topic in answer.assignment.topic_partitions}
        return answer


def _wire(owned: Mapping[Uuid, Sequence[int]]) -> list[ConsumerGroupHeartbeatRequestTopicPartitions]:
    return [
        ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=list(partitions))
        for topic_id, partitions in owned.items()
    ]


def describe_consumers(connection: Connection, group: str) -> DescribedGroup:
    request = ConsumerGroupDescribeRequest(group_ids=[group])
    return connection.call(request, ConsumerGroupDescribeResponse, 1).groups[0]


def set_group_config(
    connection: Connection, group: str, has_effect: Callable[[], bool] | None = None, **values: str
) -> None:
    """Set properties of a group (underscores for dots), and wait for what shows that they are in force."""
    configs = [
        AlterableConfig(name=name.replace("_", "."), config_operation=0, value=value) for name, value in values.items()
    ]
    resource = AlterConfigsResource(resource_type=GROUP_RESOURCE, resource_name=group, configs=configs)
    answer = connection.call(IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse)
    assert code(answer.responses[0].error_code) == "NONE", answer.responses[0].error_message
    if has_effect is not None:
        wait_for(has_effect, f"{values} have an effect")
