"""One node of a quorum of three, whose peers are played by the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

from odradek.metadata.bootstrap import bootstrap_records
from odradek.ports import Promise
from odradek.quorum.election_state import ElectionState
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, Batch
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.quorum.settings import QuorumSettings, RaftCluster
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.errors import ErrorCode
from odradek.wire.messages import vote
from odradek.wire.messages.begin_quorum_epoch import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochRequestPartitionData,
    BeginQuorumEpochRequestTopicData,
    LeaderEndpoint,
)
from odradek.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    LeaderIdAndEpoch,
    PartitionData,
    ReplicaState,
)
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.schema import Message
from odradek.wire.uuids import ZERO_UUID
from tests.unit.fakes import FakeWorld
from tests.unit.quorum.memory import MemoryElectionState, MemoryRaftLog, MemorySnapshots

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)

CLUSTER_ID = "FJkmiIyzQJqAwCJ4G8Cvjg"
LISTENER = "CONTROLLER"
TOPIC = "__cluster_metadata"
TOPIC_ID = bytes(15) + b"\x01"


def directory(node_id: int) -> bytes:
    return bytes([node_id]) * 16


def voter(node_id: int) -> VoterNode:
    return VoterNode(node_id, directory(node_id), (VoterEndpoint(LISTENER, f"n{node_id}", 9093),))


class Sent(NamedTuple):
    host: str
    request: Message
    answer: Promise[Message]


class Wire:
    """A Transport that keeps what is sent until the test answers."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        promise: Promise[Message] = Promise()
        self.sent.append(Sent(host, request, promise))
        return cast("Promise[Resp]", promise)

    def take(self, kind: type[Req]) -> list[tuple[str, Req, Promise[Message]]]:
        """What was sent of a kind since it was asked for last."""
        found = [(each.host, each.request, each.answer) for each in self.sent if isinstance(each.request, kind)]
        self.sent = [each for each in self.sent if not isinstance(each.request, kind)]
        return found


class Listener:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.leaders: list[tuple[int | None, int]] = []
        self.snapshots: list[int] = []

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        self.names = [record.name for record in records if isinstance(record, TopicRecord)]
        self.snapshots.append(offset)

    def commit(self, batches: Sequence[Batch]) -> None:
        self.names += [record.name for batch in batches for record in batch.records if isinstance(record, TopicRecord)]

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        self.leaders.append((leader_id, epoch))


class Scene:
    """Node `own_id` (1), with voters 1, 2 and 3; 4 is an observer."""

    def __init__(
        self, own_id: int = 1, voters: Sequence[int] = (1, 2, 3), settings: QuorumSettings | None = None,
        *, static: bool = False,
    ) -> None:  # fmt: skip
        self.world = FakeWorld(7)
        self.wire = Wire()
        self.log = MemoryRaftLog()
        self.state = MemoryElectionState()
        self.snapshots = MemorySnapshots()
        self.settings = settings or QuorumSettings(bootstrap_servers=(("boot", 9093),))
        times = SnapshotTimes(1, 1)
        known: VoterSet | None = VoterSet(tuple(voter(each) for each in voters))
        if static:
            unnamed = tuple(voter(each)._replace(directory_id=ZERO_UUID, max_kraft_version=0) for each in voters)
            self.settings = self.settings._replace(static_voters=VoterSet(unnamed))
            known = None
        first = build_snapshot(BOOTSTRAP_SNAPSHOT, known, 0 if static else 1, bootstrap_records(), times)
        self.snapshots.write(BOOTSTRAP_SNAPSHOT, first)
        self.own_id = own_id
        self.start()

    def start(self) -> None:
        self.listener = Listener()
        self.fatal: list[BaseException] = []
        identity = NodeIdentity(self.own_id, directory(self.own_id), voter(self.own_id).endpoints)
        cluster = RaftCluster(CLUSTER_ID, LISTENER, self.wire, self.wire, self.world, self.world, self.settings)
        stores = RaftStores(self.log, self.state, self.snapshots)
        self.raft = RaftNode(identity, stores, self.world, self.fatal.append, cluster=cluster)
        self.raft.add_listener(self.listener)
        self.raft.start()

    def restart(self) -> None:
        self.raft.close()
        self.log.crash()
        self.wire.sent = []
        self.start()

    @property
    def saved(self) -> ElectionState:
        found = self.state.load()
        assert found is not None
        return found

    # Requests to it

    def vote(
        self, candidate: int, epoch: int, log: tuple[int, int] = (0, 0), *, pre: bool = False, to: int | None = None
    ) -> vote.VoteResponsePartitionData:
        """Ask for its vote, as a candidate whose log ends with an epoch at an offset; the answer's only partition."""
        partition = vote.VoteRequestPartitionData(
            partition_index=0, replica_epoch=epoch, replica_id=candidate, replica_directory_id=directory(candidate),
            voter_directory_id=directory(self.own_id), last_offset_epoch=log[0], last_offset=log[1], pre_vote=pre,
        )  # fmt: skip
        response = self.raft.voting.vote(
            vote.VoteRequest(
                cluster_id=CLUSTER_ID,
                voter_id=self.own_id if to is None else to,
                topics=[vote.VoteRequestTopicData(topic_name=TOPIC, partitions=[partition])],
            ),
            LISTENER,
        )
        assert response.error_code == 0
        return response.topics[0].partitions[0]

    def begin(self, leader: int, epoch: int) -> ErrorCode:
        """Say that somebody leads."""
        partition = BeginQuorumEpochRequestPartitionData(
            partition_index=0, voter_directory_id=directory(self.own_id), leader_id=leader, leader_epoch=epoch
        )
        response = self.raft.voting.begin_quorum_epoch(
            BeginQuorumEpochRequest(
                cluster_id=CLUSTER_ID,
                voter_id=self.own_id,
                topics=[BeginQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[partition])],
                leader_endpoints=[LeaderEndpoint(name=LISTENER, host=f"n{leader}", port=9093)],
            ),
            LISTENER,
        )
        return ErrorCode(response.topics[0].partitions[0].error_code)

    def fetch(
        self, replica: int, offset: int, last_epoch: int, *, epoch: int | None = None, wait_ms: int = 0,
        known: int | None = None, key: bytes | None = None,
    ) -> Promise[FetchResponse]:  # fmt: skip
        """Fetch from it as a replica; `known` is the high watermark that the replica knows."""
        partition = FetchPartition(
            partition=0, current_leader_epoch=self.raft.epoch if epoch is None else epoch, fetch_offset=offset,
            last_fetched_epoch=last_epoch, partition_max_bytes=1 << 20,
            replica_directory_id=directory(replica) if key is None else key,
        )  # fmt: skip
        if known is not None:
            partition.high_watermark = known
        request = FetchRequest(
            cluster_id=CLUSTER_ID, replica_state=ReplicaState(replica_id=replica), max_wait_ms=wait_ms,
            topics=[FetchTopic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
        )  # fmt: skip
        return self.raft.serving.fetch(request, LISTENER)

    def fetched(
        self, replica: int, offset: int, last_epoch: int, *, epoch: int | None = None, key: bytes | None = None
    ) -> PartitionData:
        """The answer to that, which comes at once."""
        return self.fetch(replica, offset, last_epoch, epoch=epoch, key=key).result().responses[0].partitions[0]

    # Answers to it

    def answer_votes(self, *, granted: bool, pre: bool) -> int:
        """Answer its requests for votes; how many there were."""
        asked = self.wire.take(vote.VoteRequest)
        for _host, request, promise in asked:
            partition = request.topics[0].partitions[0]
            assert partition.pre_vote is pre
            told = vote.VoteResponsePartitionData(
                partition_index=0, leader_id=-1, leader_epoch=partition.replica_epoch, vote_granted=granted
            )
            promise.resolve(vote.VoteResponse(topics=[vote.VoteResponseTopicData(topic_name=TOPIC, partitions=[told])]))
        return len(asked)

    def elect(self) -> None:
        """Let it be elected by the others."""
        self.world.advance(2 * self.settings.election_timeout_ms + self.settings.fetch_timeout_ms)
        assert self.answer_votes(granted=True, pre=True)
        assert self.answer_votes(granted=True, pre=False)
        assert self.raft.is_leader

    def lead(self, *replicas: int) -> None:
        """Let it be elected, and let others fetch all, so that its epoch is committed."""
        self.elect()
        for replica in replicas or (2,):
            self.fetched(replica, self.raft.end_offset, self.raft.epoch)
        assert self.raft.high_watermark == self.raft.end_offset

    def answer_fetch(self, leader: int, epoch: int, partition: PartitionData) -> None:
        """Answer its last Fetch as the leader."""
        _host, _request, promise = self.wire.take(FetchRequest)[-1]
        partition.current_leader = LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
        promise.resolve(
            FetchResponse(responses=[FetchableTopicResponse(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])])
        )


def topics(*names: str) -> list[tuple[Message, int]]:
    return [(TopicRecord(name=name, topic_id=name.encode().ljust(16)), 0) for name in names]
