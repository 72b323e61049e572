"""Which state a node of the quorum is in, and how it gets from one to another (KIP-595, KIP-853, KIP-996).

What an answer rests on is saved before it is given: every change of epoch, leader or vote is on the disk when the
method that makes it returns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from odradek.ports import Clock, Random
from odradek.quorum.election_state import NOBODY, ElectionState
from odradek.quorum.identity import NodeIdentity
from odradek.quorum.leader import LeaderState
from odradek.quorum.log import ElectionStateStore
from odradek.quorum.replica import Replica
from odradek.quorum.roles import Follower, Nominee, Resigned, Role, Unattached
from odradek.quorum.settings import QuorumSettings
from odradek.quorum.voters import VoterEndpoint, VoterNode
from odradek.wire.errors import KafkaError
from odradek.wire.uuids import ZERO_UUID, Uuid

_log = logging.getLogger(__name__)

NEVER_MS = float("inf")


class QuorumState:
    """The durable part, `election`, and the role in that epoch. `on_role` is called after each change of role."""

    def __init__(
        self,
        identity: NodeIdentity,
        replica: Replica,
        store: ElectionStateStore,
        clock: Clock,
        random: Random | None,
        settings: QuorumSettings,
    ) -> None:
        self.identity = identity
        self.settings = settings
        self.election = ElectionState()
        self.role: Role = Unattached(NEVER_MS)
        self.leader_endpoints: tuple[VoterEndpoint, ...] = ()
        self.on_role: Callable[[Role], None] = lambda _left: None
        self.replica = replica
        self.clock = clock
        self._store = store
        self._random = random

    @property
    def epoch(self) -> int:
        """The epoch that this node is in."""
        return self.election.leader_epoch

    @property
    def leader_id(self) -> int | None:
        """Who leads it, as far as this node knows."""
        return None if self.election.leader_id == NOBODY else self.election.leader_id

    @property
    def is_voter(self) -> bool:
        """Whether the latest voter set has this node in it."""
        return self.replica.history.voters.has(self.identity.node_id, self.identity.directory_id)

    def endpoints_of(self, leader_id: int) -> tuple[VoterEndpoint, ...]:
        """Where a leader is reached, as the latest voter set says."""
        voter = self.replica.history.voters.by_id(leader_id)
        return voter.endpoints if voter is not None else ()

    def initialize(self) -> None:
        """Take up the state that was left; a leader that comes back leads no more, and cannot vote in that epoch."""
        saved = self._store.load() or ElectionState()
        if saved.leader_epoch < self.replica.last_epoch:
            saved = ElectionState(leader_epoch=self.replica.last_epoch)
        self.election = saved
        own = self.identity
        if saved.leader_id == own.node_id:
            voters = self.replica.history.voters.ids if self.is_voter else ()
            others = {voter_id: None for voter_id in voters if voter_id != own.node_id}
            self.role = Resigned(self._election_deadline_ms(), (), others)
        elif saved.leader_id != NOBODY and self.endpoints_of(saved.leader_id):
            self.leader_endpoints = self.endpoints_of(saved.leader_id)
            self.role = self._following()
        elif saved.leader_epoch == 0:
            self.role = Unattached(self._first_election_ms())
        else:
            self.role = Unattached(self._election_deadline_ms())

    # Transitions

    def become_unattached(self, epoch: int, leader_id: int = NOBODY) -> None:
        """There is a newer epoch, or nobody is known to lead this one. The vote of this epoch stays given."""
        role = self.role
        keeps_deadline = (
            isinstance(role, Unattached | Resigned)
            or (isinstance(role, Nominee) and not role.is_rejected and not role.is_backing_off)
        ) and role.deadline_ms != NEVER_MS
        deadline_ms = role.deadline_ms if keeps_deadline and not isinstance(role, LeaderState) else None
        if not self.is_voter:
            deadline_ms = NEVER_MS
        if epoch == self.epoch:
            self._save(self.election._replace(leader_id=leader_id))
        else:
            self._save(ElectionState(leader_epoch=epoch, leader_id=leader_id))
        self.leader_endpoints = ()
        self._enter(Unattached(self._election_deadline_ms() if deadline_ms is None else deadline_ms))

    def become_follower(self, epoch: int, leader_id: int, endpoints: tuple[VoterEndpoint, ...]) -> None:
        """Somebody else leads."""
        if epoch == self.epoch:
            self._save(self.election._replace(leader_id=leader_id))
        else:
            self._save(ElectionState(leader_epoch=epoch, leader_id=leader_id))
        self.leader_endpoints = endpoints
        self._enter(self._following())

    def become_prospective(self) -> None:
        """Ask whether an election would be won, which costs nobody an epoch; not for observers."""
        retries = self.role.retries + 1 if isinstance(self.role, Nominee) else 1
        self._enter(self._nominee(retries, is_prospective=True))

    def become_candidate(self) -> None:
        """Call an election in the next epoch, and vote for oneself in it."""
        retries = self.role.retries if isinstance(self.role, Nominee) else 1
        own = self.identity
        self._save(ElectionState(self.epoch + 1, NOBODY, own.node_id, own.directory_id))
        self.leader_endpoints = ()
        self._enter(self._nominee(retries, is_prospective=False))

    def become_leader(self) -> None:
        """Lead the epoch of the candidate."""
        granting = list(self.role.granted) if isinstance(self.role, Nominee) else [self.identity.node_id]
        self._save(self.election._replace(leader_id=self.identity.node_id))
        self._lead(granting)

    def lead_alone(self) -> None:
        """Lead the next epoch as the only voter: it has its own vote, so being leader is all there is to be saved."""
        self._save(ElectionState(leader_epoch=self.epoch + 1, leader_id=self.identity.node_id))
        self._lead([self.identity.node_id])

    def become_resigned(self, successors: Sequence[VoterNode]) -> None:
        """Lead this epoch no more; that this node did stays on the disk, so that it neither votes nor leads in it."""
        others = {voter.id: None for voter in successors}
        self._enter(Resigned(self._election_deadline_ms(), successors, others))

    def learn(self, leader_id: int, epoch: int, endpoints: tuple[VoterEndpoint, ...]) -> bool:
        """Somebody says who leads which epoch (NOBODY if unknown); False for what cannot be, which is not believed."""
        if epoch < self.epoch:
            return True
        if leader_id == self.identity.node_id:
            return epoch == self.epoch and isinstance(self.role, LeaderState | Resigned)
        known = self.leader_id if epoch == self.epoch else None
        if leader_id != NOBODY and known is not None and known != leader_id:
            _log.error("epoch %d is said to be led by %d, and is led by %d", epoch, leader_id, known)
            return False
        endpoints = endpoints or self.endpoints_of(leader_id)
        if leader_id != NOBODY and endpoints:
            if epoch > self.epoch or known is None or len(endpoints) > len(self.leader_endpoints):
                self.become_follower(epoch, leader_id, endpoints)
        elif epoch > self.epoch:
            self.become_unattached(epoch, leader_id)
        return True

    def add_vote(self, voter_id: int, directory_id: Uuid) -> None:
        """Vote for somebody else in this epoch, in which this node has not voted; it gets its time to win."""
        self._save(self.election._replace(voted_id=voter_id, voted_directory_id=directory_id))
        if isinstance(self.role, Nominee):
            retries = self.role.retries
            self._enter(self._nominee(retries, is_prospective=True))
        else:
            self._enter(Unattached(self._election_deadline_ms() if self.is_voter else NEVER_MS))

    def can_vote_for(self, voter_id: int, directory_id: Uuid, *, is_up_to_date: bool, is_pre_vote: bool) -> bool:
        """Whether this node may grant its vote in its epoch; `is_up_to_date` if the other's log is at least as long."""
        role = self.role
        if isinstance(role, LeaderState):
            return False
        if is_pre_vote:
            return is_up_to_date and not (isinstance(role, Follower) and role.has_fetched)
        if isinstance(role, Follower | Resigned) or (isinstance(role, Nominee) and not role.is_prospective):
            return False
        if self.election.voted_id != NOBODY:
            voted = self.election.voted_directory_id
            return self.election.voted_id == voter_id and voted in (ZERO_UUID, directory_id)
        return self.leader_id is None and is_up_to_date

    def _lead(self, granting: Sequence[int]) -> None:
        self.leader_endpoints = self.identity.endpoints
        history = self.replica.history
        self._enter(
            LeaderState(self.identity.node_id, self.epoch, self.replica.end_offset, history.voters, tuple(granting))
        )

    def _nominee(self, retries: int, *, is_prospective: bool) -> Nominee:
        voters, own_id = self.replica.history.voters, self.identity.node_id
        nominee = Nominee(voters, own_id, is_prospective, self._election_deadline_ms(), retries)
        nominee.record(own_id, granted=True)
        return nominee

    def _following(self) -> Follower:
        now_ms = self.clock.monotonic_ms()
        return Follower(now_ms + self.settings.fetch_timeout_ms, now_ms + self.settings.fetch_timeout_ms)

    def _election_deadline_ms(self) -> float:
        if self._random is None:
            return NEVER_MS
        timeout_ms = self.settings.election_timeout_ms
        return self.clock.monotonic_ms() + timeout_ms + self._random.below(max(1, timeout_ms))

    def _first_election_ms(self) -> float:
        """Where nobody can have been elected yet, there is no leader whose first sign would be worth waiting for."""
        if self._random is None:
            return NEVER_MS
        return self.clock.monotonic_ms() + self._random.below(max(1, self.settings.election_timeout_ms // 10))

    def attempt(self, step: Callable[[], None]) -> None:
        """Do what time or an answer brings; a node whose disk fails by it has said so, and stops: nobody waits here."""
        try:
            step()
        except KafkaError:
            if not self.replica.has_failed:
                raise

    def _save(self, election: ElectionState) -> None:
        if election != self.election:
            try:
                history = self.replica.history
                self._store.save(election, history.voters.ids if history.kraft_version == 0 else None)
            except OSError as error:
                raise self.replica.fail(error) from error
            self.election = election

    def _enter(self, role: Role) -> None:
        left, self.role = self.role, role
        _log.info("%s in epoch %d (leader %s)", type(role).__name__.lower(), self.epoch, self.leader_id)
        self.on_role(left)
