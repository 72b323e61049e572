"""A controller with several registered brokers, for tests to send what brokers and admins send."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.metadata.image import BrokerRegistration, PartitionImage
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    BrokerState,
)
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatResponse
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from tests.unit.controller.harness import Disk, Node

TOPIC = "t"


class Cluster:
    """Brokers 1 to `size`, each with one directory, unfenced."""

    def __init__(self, size: int = 3, properties: dict[str, str] | None = None) -> None:
        self.node = Node(Disk(), properties=properties).start()
        self.epochs: dict[int, int] = {}
        for broker_id in range(1, size + 1):
            self.register(broker_id)

    def register(self, broker_id: int, *, previous_epoch: int = -1, unfence: bool = True) -> int:
        """A new incarnation of a broker, with the same directory as before."""
        epoch = self.node.register(
            broker_id,
            previous_epoch=previous_epoch,
            unfence=unfence,
            directories=[bytes([broker_id]) * 16],
        )
        self.epochs[broker_id] = epoch
        return epoch

    def broker(self, broker_id: int) -> BrokerRegistration:
        """A broker as it is in the image."""
        return self.node.image.cluster.brokers[broker_id]

    def heartbeat(
        self, broker_id: int, *, want_fence: bool = False, want_shut_down: bool = False
    ) -> BrokerHeartbeatResponse:
        """A heartbeat of a broker that has followed all metadata."""
        answer = self.node.heartbeat(
            broker_id, self.epochs[broker_id], want_fence=want_fence, want_shut_down=want_shut_down
        )
        assert answer.error_code == 0
        return answer

    def fence(self, *broker_ids: int) -> None:
        """Brokers go, one after the other."""
        for broker_id in broker_ids:
            assert self.heartbeat(broker_id, want_fence=True).is_fenced

    def unfence(self, *broker_ids: int) -> None:
        """Brokers come back, in the same incarnation."""
        for broker_id in broker_ids:
            assert not self.heartbeat(broker_id).is_fenced

    def create(self, *assignments: Sequence[int], name: str = TOPIC, **configs: str) -> bytes:
        """A topic with these replicas; its id."""
        topic = CreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            assignments=[
                CreatableReplicaAssignment(partition_index=index, broker_ids=list(replicas))
                for index, replicas in enumerate(assignments)
            ],
            configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
        )
        (answer,) = self.node.send(CreateTopicsRequest(topics=[topic]), CreateTopicsResponse).topics
        assert answer.error_code == 0, answer.error_message
        return answer.topic_id

    def partition(self, index: int = 0, name: str = TOPIC) -> PartitionImage:
        """A partition as it is in the image."""
        return self.node.image.topics.by_name[name].partitions[index]

    def shown(self, index: int = 0, name: str = TOPIC) -> tuple[int, list[int], list[int]]:
        """(leader, ISR, ELR) of a partition."""
        partition = self.partition(index, name)
        return partition.leader, sorted(partition.isr), sorted(partition.elr)

    def propose(
        self,
        *isr: int,
        index: int = 0,
        sender: int | None = None,
        version: int = 3,
        recovery_state: int = 0,
        epochs: dict[int, int] | None = None,
        leader_epoch: int | None = None,
        partition_epoch: int | None = None,
        broker_epoch: int | None = None,
        topic_id: bytes | None = None,
    ) -> AlterPartitionResponsePartitionData:
        """What the leader is answered that proposes an ISR; all that is not given is as it should be."""
        topic = self.node.image.topics.by_name[TOPIC]
        partition = topic.partitions.get(index) or topic.partitions[0]
        broker_id = partition.leader if sender is None else sender
        known = {**self.epochs, **(epochs or {})}
        wanted = AlterPartitionRequestPartitionData(
            partition_index=index,
            leader_epoch=partition.leader_epoch if leader_epoch is None else leader_epoch,
            partition_epoch=partition.partition_epoch if partition_epoch is None else partition_epoch,
            leader_recovery_state=recovery_state,
        )
        if version >= 3:
            wanted.new_isr_with_epochs = [BrokerState(broker_id=each, broker_epoch=known.get(each, 0)) for each in isr]
        else:
            wanted.new_isr = list(isr)
        request = AlterPartitionRequest(
            broker_id=broker_id,
            broker_epoch=self.epochs[broker_id] if broker_epoch is None else broker_epoch,
            topics=[AlterPartitionRequestTopicData(topic_id=topic_id or topic.id, partitions=[wanted])],
        )
        answer = self.node.send(request, AlterPartitionResponse, version)
        if answer.error_code:
            return AlterPartitionResponsePartitionData(error_code=answer.error_code)
        return answer.topics[0].partitions[0]

    def elect(self, election_type: int, *indexes: int) -> list[int]:
        """The error codes of an election of leaders."""
        request = ElectLeadersRequest(
            election_type=election_type,
            topic_partitions=[TopicPartitions(topic=TOPIC, partitions=list(indexes) or [0])],
            timeout_ms=1000,
        )
        (answer,) = self.node.send(request, ElectLeadersResponse).replica_election_results
        return [each.error_code for each in answer.partition_result]

    def reassign(self, *targets: Sequence[int] | None, may_change_factor: bool = True) -> list[int]:
        """The error codes of a reassignment of the first partitions; None cancels one."""
        request = AlterPartitionReassignmentsRequest(
            topics=[
                ReassignableTopic(
                    name=TOPIC,
                    partitions=[
                        ReassignablePartition(
                            partition_index=index, replicas=None if replicas is None else list(replicas)
                        )
                        for index, replicas in enumerate(targets)
                    ],
                )
            ],
            allow_replication_factor_change=may_change_factor,
            timeout_ms=1000,
        )
        (answer,) = self.node.send(request, AlterPartitionReassignmentsResponse).responses
        return [each.error_code for each in answer.partitions]
