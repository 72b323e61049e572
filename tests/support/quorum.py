"""A quorum of controllers as processes, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse, Listener
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
)
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid, uuid_from_string
from tests.support.cluster import CLUSTER_ID, Node
from tests.support.process import HOST, BrokerProcess, free_port, wait_for
from tests.support.wire import Connection

Response = TypeVar("Response", bound=Message)
UPGRADE = 1
SAFE_DOWNGRADE = 2
QUICK = {"controller.quorum.fetch.timeout.ms": "1000", "controller.quorum.election.timeout.ms": "500"}


class Controllers:
    """Controllers by id, which are not started yet; those in `voters` are static voters where that is given."""

    def __init__(self, directory: Path, ids: Sequence[int], *, voters: Sequence[int] = ()) -> None:
        self._directory = directory
        self.ports = {node_id: free_port() for node_id in ids}
        at = {node_id: f"{HOST}:{port}" for node_id, port in self.ports.items()}
        self.servers = ",".join(at.values())
        self.static_voters = ",".join(f"{voter}@{at[voter]}" for voter in voters)
        self.nodes: dict[int, Node] = {}
        self.watched: dict[int, BrokerProcess] = {}
        """Nodes of another kind that may lead, too."""

    def add(self, node_id: int, *options: str, **properties: str) -> Node:
        """Format a node with these options; properties have `_` for a dot."""
        port = self.ports[node_id]
        settings = {
            "process.roles": "controller",
            "listeners": f"CONTROLLER://{HOST}:{port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self.servers,
            **QUICK,
            **{name.replace("_", "."): value for name, value in properties.items()},
        }
        if self.static_voters and not options:
            del settings["controller.quorum.bootstrap.servers"]
            settings["controller.quorum.voters"] = self.static_voters
        node = self.nodes[node_id] = Node(self._directory / f"node-{node_id}", node_id, settings)
        node.port = port
        node.format(*options)
        return node

    def kill(self) -> None:
        """End all at once."""
        for node in self.nodes.values():
            node.kill()

    def directory_id(self, node_id: int) -> Uuid:
        """The id of a node's metadata directory."""
        lines = (self.nodes[node_id].data_dir / "meta.properties").read_text().splitlines()
        return uuid_from_string(next(line.partition("=")[2] for line in lines if line.startswith("directory.id=")))

    def ask(self, request: Message, response: type[Response], node_id: int | None = None) -> Response:
        """A node's answer; of the leader, unless another one is named."""
        connection = Connection(HOST, self.ports[self.leader() if node_id is None else node_id])
        try:
            return connection.call(request, response)
        finally:
            connection.close()

    def described(self) -> DescribeQuorumResponsePartitionData | None:
        """What the leader says of the quorum; None while nobody leads."""
        topic = DescribeQuorumRequestTopicData(
            topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
        )
        for node_id, node in {**self.nodes, **self.watched}.items():
            if not node.running:
                continue
            try:
                answer = self.ask(DescribeQuorumRequest(topics=[topic]), DescribeQuorumResponse, node_id)
            except OSError:
                continue
            if answer.error_code == 0 and answer.topics[0].partitions[0].error_code == 0:
                return answer.topics[0].partitions[0]
        return None

    def leader(self) -> int:
        """Who leads, once somebody does."""
        found: list[int] = []

        def leads() -> bool:
            described = self.described()
            found.extend([] if described is None else [described.leader_id])
            return bool(found)

        wait_for(leads, "a controller leads")
        return found[0]

    def voters(self) -> dict[int, Uuid]:
        """The directories of voters by id."""
        self.leader()
        described = self.described()
        return {} if described is None else {v.replica_id: v.replica_directory_id for v in described.current_voters}

    def level(self, feature: str) -> int:
        """The finalized level of a feature, as the leader says."""
        answer = self.ask(
            ApiVersionsRequest(client_software_name="test", client_software_version="1"), ApiVersionsResponse
        )
        return next((each.max_version_level for each in answer.finalized_features if each.name == feature), 0)

    def update(self, feature: str, level: int, upgrade_type: int = UPGRADE, *, validate_only: bool = False) -> str:
        """Why a feature cannot be set; empty if it can."""
        key = FeatureUpdateKey(feature=feature, max_version_level=level, upgrade_type=upgrade_type)
        request = UpdateFeaturesRequest(timeout_ms=5000, feature_updates=[key], validate_only=validate_only)
        answers: list[UpdateFeaturesResponse] = []

        def decided() -> bool:
            answers.append(self.ask(request, UpdateFeaturesResponse))
            return answers[-1].error_code != ErrorCode.NOT_CONTROLLER

        wait_for(decided, "the leader decides")
        answer = answers[-1]
        return "" if answer.error_code == 0 else answer.error_message or ErrorCode(answer.error_code).name

    def add_voter(self, node_id: int) -> ErrorCode:
        """Make a node a voter."""
        request = AddRaftVoterRequest(
            cluster_id=CLUSTER_ID, timeout_ms=5000, voter_id=node_id, voter_directory_id=self.directory_id(node_id),
            listeners=[Listener(name="CONTROLLER", host=HOST, port=self.ports[node_id])],
        )  # fmt: skip
        return ErrorCode(self.ask(request, AddRaftVoterResponse).error_code)

    def remove_voter(self, node_id: int) -> ErrorCode:
        """Make a voter an observer."""
        request = RemoveRaftVoterRequest(
            cluster_id=CLUSTER_ID, voter_id=node_id, voter_directory_id=self.directory_id(node_id)
        )
        return ErrorCode(self.ask(request, RemoveRaftVoterResponse).error_code)


def eventually(change: Callable[[], ErrorCode], what: str) -> None:
    """Try a change of voters until it is made: what goes by is answered REQUEST_TIMED_OUT."""
    refused: list[ErrorCode] = []

    def made() -> bool:
        code = change()
        refused.append(code)
        assert code in (ErrorCode.NONE, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_LEADER_OR_FOLLOWER), code
        return code is ErrorCode.NONE

    wait_for(made, what, interval_s=0.1)
