"""A seeded run of a quorum: nodes that crash, a network that fails, a client that appends, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Sequence

from odradek.metadata.bootstrap import bootstrap_records
from odradek.ports import Promise
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, Batch
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.quorum.retention import Retention
from odradek.quorum.roles import Nominee
from odradek.quorum.settings import QuorumSettings, RaftCluster
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.errors import KafkaError
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse, Listener
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse, SupportedFeatureKey
from odradek.wire.messages.begin_quorum_epoch import BeginQuorumEpochRequest
from odradek.wire.messages.end_quorum_epoch import EndQuorumEpochRequest
from odradek.wire.messages.fetch import FetchRequest
from odradek.wire.messages.fetch_snapshot import FetchSnapshotRequest
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest
from odradek.wire.messages.update_raft_voter import UpdateRaftVoterRequest
from odradek.wire.messages.vote import VoteRequest, VoteResponse
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.schema import Message
from odradek.wire.uuids import ZERO_UUID
from tests.sim.quorum.invariants import Invariants, Violation
from tests.sim.quorum.world import PORT, LogDisk, Network, NodeTransport
from tests.unit.fakes import FakeWorld
from tests.unit.quorum.memory import MemoryElectionState, MemorySnapshots

CLUSTER_ID = "FJkmiIyzQJqAwCJ4G8Cvjg"
LISTENER = "CONTROLLER"
STEP_MS = 5.0
HEAL_MS = 60_000


def directory_of(node_id: int) -> bytes:
    return bytes([node_id]) * 16


class Host:
    """A machine: its disks stay, its node comes and goes. Also the node's listener, and its server."""

    def __init__(self, node_id: int, run: Run) -> None:
        self.id = node_id
        self.name = f"n{node_id}"
        self.log = LogDisk(run.world, run.rng)
        self.state = MemoryElectionState()
        self.snapshots = MemorySnapshots()
        self.raft: RaftNode | None = None
        self.incarnation = 0
        self.next_offset = 0
        self.names: list[str] = []
        self.restarts_ms = 0.0
        self.candidacy: object = None
        self._run = run

    @property
    def identity(self) -> NodeIdentity:
        point = VoterEndpoint(LISTENER, self.name, PORT)
        return NodeIdentity(self.id, directory_of(self.id), (point,))

    def start(self) -> None:
        run = self._run
        self.incarnation += 1
        self.names = []
        self.next_offset = self.log.start_offset
        cluster = RaftCluster(
            CLUSTER_ID,
            LISTENER,
            NodeTransport(run.network, self, self.name),
            NodeTransport(run.network, self, self.name),
            run.world,
            run.world,
            run.settings,
        )
        stores = RaftStores(self.log, self.state, self.snapshots)
        raft = RaftNode(self.identity, stores, run.world, run.failed, cluster=cluster)
        raft.add_listener(self)
        raft.start()
        self.raft = raft

    def crash(self) -> None:
        if self.raft is not None:
            self.raft.close()
            self.raft = None
            self.incarnation += 1
            self.log.crash()

    # The listener

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        self.names = [record.name for record in records if isinstance(record, TopicRecord)]
        self.next_offset = offset + 1
        if not self._run.stale_snapshot_is_fine(self.names, offset):
            raise Violation(f"committed-never-changes: the snapshot at {offset} that {self.id} loads is not the log")

    def commit(self, batches: Sequence[Batch]) -> None:
        self._run.invariants.handed_over(self, batches)
        for batch in batches:
            self.names += [record.name for record in batch.records if isinstance(record, TopicRecord)]

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        pass

    # The server

    def answer(self, request: Message) -> Promise[Message] | None:
        raft = self.raft
        if raft is None:
            return None
        try:
            if isinstance(request, VoteRequest):
                return Promise.of(self._vote(raft, request))
            if isinstance(request, BeginQuorumEpochRequest):
                return Promise.of(raft.voting.begin_quorum_epoch(request, LISTENER))
            if isinstance(request, EndQuorumEpochRequest):
                return Promise.of(raft.voting.end_quorum_epoch(request, LISTENER))
            if isinstance(request, FetchRequest):
                return raft.serving.fetch(request, LISTENER).then(lambda response: response)
            if isinstance(request, FetchSnapshotRequest):
                return Promise.of(raft.serving.fetch_snapshot(request, LISTENER))
            if isinstance(request, UpdateRaftVoterRequest):
                return raft.voter_changes.update(request, LISTENER).then(lambda response: response)
        except KafkaError as error:
            return Promise.failed(error)
        assert isinstance(request, ApiVersionsRequest)
        feature = SupportedFeatureKey(name="kraft.version", min_version=0, max_version=1)
        return Promise.of(ApiVersionsResponse(supported_features=[feature]))

    def _vote(self, raft: RaftNode, request: VoteRequest) -> VoteResponse:
        response = raft.voting.vote(request, LISTENER)
        if response.topics and response.topics[0].partitions[0].vote_granted:
            asked = request.topics[0].partitions[0]
            if not asked.pre_vote:
                self._run.invariants.voted(self.id, asked.replica_epoch, asked.replica_id)
                self._run.voted(self)
        return response


class Run:
    """`go` makes trouble for a while; `heal` ends it, and sees that the quorum works again."""

    def __init__(self, seed: int, *, static: bool = False) -> None:
        """The voters of a `static` run are fixed until their leader raises kraft.version, as it tries now and then."""
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = FakeWorld(self.rng.getrandbits(32))
        self.network = Network(self.world, self.rng)
        self.invariants = Invariants()
        # Time-outs that are short beside the network's delays make rivals in one epoch, and elections without number.
        self.settings = QuorumSettings(
            election_timeout_ms=self.rng.choice((30, 200, 1000)),
            election_backoff_max_ms=self.rng.choice((20, 1000)),
            fetch_timeout_ms=self.rng.choice((150, 600, 2000)),
            retention_bytes=4000,
        )
        self.acknowledged: list[str] = []
        self.voter_changes = 0
        self.upgrades = 0
        self.snapshots_taken = 0
        self._next_name = 0
        self._heals_ms = 0.0
        self._is_well_treated = False
        voters = self.rng.randint(3, 5)
        self.hosts = [Host(number, self) for number in range(1, voters + 2)]
        self.settings = self.settings._replace(
            bootstrap_servers=tuple((host.name, PORT) for host in self.hosts[:2]),
        )
        times = SnapshotTimes(self.world.now_ms(), self.world.now_ms())
        first = VoterSet(
            tuple(VoterNode(host.id, host.identity.directory_id, host.identity.endpoints) for host in self.hosts[:-1])
        )
        if static:
            unnamed = [voter._replace(directory_id=ZERO_UUID, max_kraft_version=0) for voter in first.voters]
            self.settings = self.settings._replace(static_voters=VoterSet(tuple(unnamed)))
        for host in self.hosts:
            self.network.servers[host.name] = host
            known = first if host is not self.hosts[-1] else VoterSet()
            content = build_snapshot(
                BOOTSTRAP_SNAPSHOT, None if static else known, 0 if static else 1, bootstrap_records(), times
            )
            host.snapshots.write(BOOTSTRAP_SNAPSHOT, content)
            host.start()

    def failed(self, error: BaseException) -> None:
        raise Violation(f"no-node-fails: {error!r}")

    def voted(self, host: Host) -> None:
        """A state that is rare by itself: a voter that forgets whatever it can just after it has voted."""
        if not self._is_well_treated and self.rng.random() < 0.1:
            self.world.call_soon(lambda: self._crash(host, restarts_ms=0.0))

    def leading(self) -> Host | None:
        """The node that leads the newest epoch."""
        leaders = [host for host in self.hosts if host.raft is not None and host.raft.is_leader]
        return max(leaders, key=lambda host: host.raft.epoch if host.raft is not None else 0, default=None)

    def stale_snapshot_is_fine(self, names: list[str], offset: int) -> bool:
        """A snapshot has to say what the committed log up to its offset says."""
        said = [
            name
            for base in sorted(self.invariants.committed)
            for name in self.invariants.committed[base][2]
            if self.invariants.committed[base][0] <= offset + 1
        ]
        return said == names

    # Trouble

    def go(self, steps: int) -> None:
        for _step in range(steps):
            self._trouble()
            if self.settings.static_voters.voters and self.rng.random() < 0.1:
                self._upgrade()
            self._advance(STEP_MS)
            if self.rng.random() < 0.3:
                self._append()

    def _advance(self, milliseconds: float) -> None:
        for _slice in range(5):
            self.world.advance(milliseconds / 5)
            self._look()

    def _look(self) -> None:
        for host in self.hosts:
            if host.raft is not None:
                role = host.raft.role
                if isinstance(role, Nominee) and not role.is_prospective:
                    self.invariants.voted(host.id, host.raft.epoch, host.id)
                    if role is not host.candidacy:
                        host.candidacy = role
                        self.voted(host)
        self.invariants.check(self.hosts)

    def _trouble(self) -> None:
        now_ms = self.world.monotonic_ms()
        for host in self.hosts:
            if host.raft is None and host.restarts_ms <= now_ms:
                host.start()
        if self.network.cut and self._heals_ms <= now_ms:
            self.network.cut = {}
        dice = self.rng.random()
        if dice < 0.004:
            self._crash(self.rng.choice(self.hosts))
        elif dice < 0.006:
            leader = self.leading()
            if leader is not None:
                self._crash(leader)
        elif dice < 0.010:
            self._partition()
        elif dice < 0.013:
            self.network.loss = self.rng.choice((0.0, 0.0, 0.05, 0.3))
            self.network.repetition = self.rng.choice((0.0, 0.1, 0.3))
            self.network.longest_ms = self.rng.choice((2.0, 20.0, 20.0, 700.0))
        elif dice < 0.016:
            for host in self.hosts:
                host.log.longest_flush_ms = self.rng.choice((1.0, 10.0, 200.0))
        elif dice < 0.022:
            self._snapshot(self.rng.choice(self.hosts))
        elif dice < 0.030:
            self._change_voters()
        elif dice < 0.031:
            leader = self.leading()
            if leader is not None and leader.raft is not None:
                leader.raft.shutdown()
        elif dice < 0.035:
            self.invariants.check_logs(self.hosts)

    def _crash(self, host: Host, restarts_ms: float | None = None) -> None:
        host.crash()
        after_ms = self.rng.choice((0.0, 50.0, 3000.0)) if restarts_ms is None else restarts_ms
        host.restarts_ms = self.world.monotonic_ms() + after_ms

    def _partition(self) -> None:
        """Cut some from the others, maybe in one direction only."""
        names = [host.name for host in self.hosts]
        self.rng.shuffle(names)
        some = names[: self.rng.randint(1, len(names) - 1)]
        one_way = self.rng.random() < 0.3
        for one in some:
            for other in names:
                if other not in some:
                    self.network.cut[(one, other)] = None
                    if not one_way:
                        self.network.cut[(other, one)] = None
        self._heals_ms = self.world.monotonic_ms() + self.rng.choice((300.0, 2500.0, 6000.0))

    def _snapshot(self, host: Host) -> None:
        """What a node has as committed becomes a snapshot, and its log begins behind one."""
        raft = host.raft
        if raft is None or host.next_offset == 0 or host.next_offset > raft.end_offset:
            return
        epoch = host.log.epoch_at(host.next_offset - 1)
        if epoch is None:
            return
        records = [(TopicRecord(name=name, topic_id=name.encode().ljust(16)), 0) for name in host.names]
        raft.store_snapshot(*raft.build_snapshot(host.next_offset - 1, epoch, records, self.world.now_ms()))
        self.snapshots_taken += 1
        Retention(raft._replica, self.settings).clean(self.world.now_ms())

    def _upgrade(self) -> None:
        leader = self.leading()
        if leader is None or leader.raft is None or leader.raft.kraft_version > 0:
            return
        try:
            leader.raft.upgrade_kraft_version(1, validate_only=False)
            self.upgrades += 1
        except KafkaError:
            pass  # not all voters have said that they support it

    def _change_voters(self) -> None:
        leader = self.leading()
        if leader is None or leader.raft is None:
            return
        raft = leader.raft
        outside = [host for host in self.hosts if host.id not in raft.voters.ids]
        if outside and (len(raft.voters.voters) < 3 or self.rng.random() < 0.5):
            host = self.rng.choice(outside)
            request = AddRaftVoterRequest(
                cluster_id=CLUSTER_ID,
                timeout_ms=1000,
                voter_id=host.id,
                voter_directory_id=directory_of(host.id),
                listeners=[Listener(name=LISTENER, host=host.name, port=PORT)],
            )
            raft.voter_changes.add(request).on_done(self._changed)
        elif len(raft.voters.voters) > 2:
            node_id = self.rng.choice(raft.voters.ids)
            raft.voter_changes.remove(
                RemoveRaftVoterRequest(
                    cluster_id=CLUSTER_ID, voter_id=node_id, voter_directory_id=directory_of(node_id)
                )
            )

    def _changed(self, answer: Promise[AddRaftVoterResponse]) -> None:
        self.voter_changes += answer.result().error_code == 0

    def _append(self) -> None:
        """A client of whoever believes to lead."""
        for host in self.hosts:
            leader = host.raft.leader if host.raft is not None and host.raft.is_leader else None
            if host.raft is not None and leader is not None and leader.high_watermark >= 0:
                self._next_name += 1
                name = f"t{self._next_name}"
                host.raft.append([(TopicRecord(name=name, topic_id=name.encode().ljust(16)), 0)], atomic=True)

    # The end of it

    def heal(self) -> None:
        """All is well again: a leader emerges, commits, and everybody has what it has."""
        self._is_well_treated = True
        self.network.cut = {}
        self.network.loss = self.network.repetition = 0.0
        self.network.longest_ms = 5.0
        for host in self.hosts:
            host.log.longest_flush_ms = 1.0
            if host.raft is None:
                host.start()
        deadline_ms = self.world.monotonic_ms() + HEAL_MS
        while not self._is_well():
            if self.world.monotonic_ms() > deadline_ms:
                raise Violation(f"available-again: {[(host.id, host.raft and host.raft.role) for host in self.hosts]}")
            self._advance(50.0)
            self._append()
        self.invariants.check_logs(self.hosts)

    def _is_well(self) -> bool:
        leader = self.leading()
        if leader is None or leader.raft is None or leader.raft.leader is None:
            return False
        ahead = leader.raft.leader.high_watermark > leader.raft.leader.epoch_start_offset + 3
        return ahead and all(
            host.raft is not None
            and host.raft.leader_id == leader.id
            and host.raft.high_watermark > leader.raft.leader.epoch_start_offset
            for host in self.hosts
        )
