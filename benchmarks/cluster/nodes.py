"""Three combined nodes of either kind on loopback, the same settings on both, and what is asked of a whole cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import odradek
from benchmarks import procfs
from benchmarks.brokers import DELETION_TIMEOUT_S, SETTINGS, with_start_script_options
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse
from odradek.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponsePartition,
)
from odradek.wire.schema import Message
from tests.support.apache import LOG4J, VERSION, kafka_libs
from tests.support.cluster import CLUSTER_ID, Cluster, Node
from tests.support.process import BrokerFailed, wait_for
from tests.support.requests import connect
from tests.support.wire import Closed

NODES = 3
PARTITIONS = 6
MIN_INSYNC_REPLICAS = 2
RETURN_TIMEOUT_S = 90.0
"""For a killed node to be a member of every ISR again."""
FORMAT_TIMEOUT_S = 60.0
START_ATTEMPTS = 3
_PREFERRED = 0
Response = TypeVar("Response", bound=Message)


class ApacheNode(Node):
    """A node of Apache Kafka with the JVM options of its own start script."""

    name = "apache"

    def format(self, *options: str) -> None:
        formatter = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self.config), *options]
        subprocess.run(self._java(*formatter), check=True, capture_output=True, timeout=FORMAT_TIMEOUT_S)

    def launch(self) -> None:
        self._spawn(self._java("kafka.Kafka", str(self.config)), pipe_stdout=False)

    def await_ready(self) -> None:
        self._await_metadata()

    def _java(self, *arguments: str) -> list[str]:
        log4j = self.directory / "log4j2.yaml"
        log4j.write_text(LOG4J)
        options = [f"-Dlog4j2.configurationFile={log4j}"]
        return with_start_script_options(["java", *options, "-cp", f"{kafka_libs()}/*", *arguments])


@dataclass(frozen=True)
class Kind:
    """One of the two kinds of nodes."""

    key: str
    title: str
    node: type[Node]


ODRADEK = Kind("odradek", f"3 nodes of Odradek {odradek.__version__}", Node)
APACHE = Kind("apache", f"3 nodes of Apache Kafka {VERSION}", ApacheNode)
KINDS = (ODRADEK, APACHE)


class Nodes:
    """A running cluster of three."""

    def __init__(self, kind: Kind, cluster: Cluster) -> None:
        self.kind = kind
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        """All of its addresses."""
        return self._cluster.bootstrap_servers

    def node(self, node_id: int) -> Node:
        """By its id, running or not."""
        return self._cluster.nodes[node_id]

    @property
    def nodes(self) -> Sequence[Node]:
        """All, by ascending id."""
        return list(self._cluster.nodes.values())

    def cpu_s(self) -> float:
        """CPU seconds that those that run have used."""
        return sum(procfs.cpu_s(node.pid) for node in self.nodes)

    def resident_bytes(self) -> int:
        """VmRSS of all."""
        return sum(procfs.resident_bytes(node.pid) for node in self.nodes)

    def peak_resident_bytes(self) -> int:
        """VmHWM of all."""
        return sum(procfs.peak_resident_bytes(node.pid) for node in self.nodes)

    def proportional_bytes(self) -> int:
        """PSS of all; 0 where it may not be read."""
        return sum(procfs.proportional_bytes(node.pid) for node in self.nodes)

    def call(self, request: Message, response: type[Response]) -> Response:
        """Ask the first node that answers. Raises BrokerFailed."""
        for node in self.nodes:
            if node.running:
                try:
                    with connect(node) as connection:
                        return connection.call(request, response)
                except (OSError, Closed):
                    continue
        raise BrokerFailed(f"none of {self.kind.title} answers; the log of the first ends:\n{self.nodes[0].log_tail()}")

    def create_topic(self, name: str) -> None:
        """With replicas on all nodes, of which each is the preferred leader of as many. Raises BrokerFailed."""
        topic = CreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            assignments=[
                CreatableReplicaAssignment(
                    partition_index=index, broker_ids=[1 + (index + place) % NODES for place in range(NODES)]
                )
                for index in range(PARTITIONS)
            ],
            configs=[CreatableTopicConfig(name="min.insync.replicas", value=str(MIN_INSYNC_REPLICAS))],
        )
        answer = self.call(CreateTopicsRequest(topics=[topic], timeout_ms=20_000), CreateTopicsResponse).topics[0]
        if answer.error_code:
            raise BrokerFailed(f"{name} could not be created: {ErrorCode(answer.error_code).name}")
        self.await_in_sync(name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until no node has files of it. Raises TimeoutError."""
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=30_000)
        self.call(request, DeleteTopicsResponse)
        directories = [node.data_dir for node in self.nodes]
        wait_for(
            lambda: not any(any(each.glob(f"{name}-*")) or any(each.glob(f"{name}.*-delete")) for each in directories),
            f"the files of {name} are deleted",
            DELETION_TIMEOUT_S,
        )

    def partitions(self, topic: str) -> list[MetadataResponsePartition]:
        """As the metadata has them, by index."""
        request = MetadataRequest(topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
        found = self.call(request, MetadataResponse).topics[0].partitions
        return sorted(found, key=lambda partition: partition.partition_index)

    def active_controller(self) -> int:
        """The leader of the quorum; -1 while there is none."""
        wanted = DescribeQuorumRequestTopicData(
            topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
        )
        answer = self.call(DescribeQuorumRequest(topics=[wanted]), DescribeQuorumResponse)
        return -1 if answer.error_code else answer.topics[0].partitions[0].leader_id

    def await_in_sync(self, topic: str) -> None:
        """Until all partitions have a leader and all replicas are in sync. Raises TimeoutError."""

        def is_whole() -> bool:
            partitions = self.partitions(topic)
            return len(partitions) == PARTITIONS and all(
                partition.leader_id >= 0 and len(partition.isr_nodes) == NODES for partition in partitions
            )

        wait_for(is_whole, f"all replicas of {topic} are in sync", RETURN_TIMEOUT_S, 0.1)

    def await_preferred_leaders(self, topic: str) -> None:
        """Elect them, until each node leads what it should. Raises TimeoutError."""

        def are_elected() -> bool:
            if all(partition.leader_id == partition.replica_nodes[0] for partition in self.partitions(topic)):
                return True
            request = ElectLeadersRequest(election_type=_PREFERRED, topic_partitions=None, timeout_ms=10_000)
            self.call(request, ElectLeadersResponse)
            return False

        wait_for(are_elected, f"the preferred replicas of {topic} lead", RETURN_TIMEOUT_S, 0.2)


@contextmanager
def running(kind: Kind, directory: Path, settings: Mapping[str, str]) -> Iterator[Nodes]:
    """Three nodes in a new directory that know each other; ended at the exit. Raises BrokerFailed, TimeoutError."""
    cluster = _started(kind, directory, settings)
    try:
        nodes = Nodes(kind, cluster)
        wait_for(
            lambda: len(nodes.call(MetadataRequest(topics=[]), MetadataResponse).brokers) == NODES,
            f"{kind.title} know each other",
            60.0,
        )
        yield nodes
    finally:
        cluster.kill()


def _started(kind: Kind, directory: Path, settings: Mapping[str, str]) -> Cluster:
    """Somebody may take a port between its choice and its use: then all begins anew with others."""
    for attempt in range(START_ATTEMPTS):
        try:
            cluster = Cluster(directory / str(attempt), NODES, {**SETTINGS, **settings}, kind.node)
        except subprocess.CalledProcessError as error:
            raise BrokerFailed(f"{kind.title}: formatting failed: {error.stdout!r} {error.stderr!r}") from error
        try:
            cluster.start()
        except BrokerFailed as error:
            cluster.kill()
            if attempt + 1 == START_ATTEMPTS or "address already in use" not in str(error).lower():
                raise
        except BaseException:
            cluster.kill()
            raise
        else:
            return cluster
    raise AssertionError("the last attempt ends above")
