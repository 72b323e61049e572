"""A classic group: members, generation, leader, and the protocol they share."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.broker.groups.classic.member import ClassicMember
from odradek.broker.groups.classic.state import PREVIOUS, REBALANCEABLE, GroupState
from odradek.broker.groups.subscriptions import CONSUMER_PROTOCOL_TYPE, subscribed_topics
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponseMember


class ClassicGroup:
    """One group. Its methods keep the members' books; when what happens is decided by the operations."""

    def __init__(
        self,
        group_id: str,
        *,
        state: GroupState = GroupState.EMPTY,
        generation: int = 0,
        protocol_type: str | None = None,
        protocol: str | None = None,
        leader: str | None = None,
        state_timestamp_ms: int | None = None,
    ) -> None:
        self.group_id = group_id
        self.state = state
        self.previous_state = GroupState.DEAD
        self.generation = generation
        self.protocol_type = protocol_type
        self.protocol = protocol
        self.leader = leader
        self.state_timestamp_ms = state_timestamp_ms
        """When it came into its state; None for a group written by a broker that did not say."""
        self.members: dict[str, ClassicMember] = {}
        self.static_members: dict[str, str] = {}
        """Member ids by group instance id."""
        self.pending_join: dict[str, None] = {}
        """Ids that were handed out with MEMBER_ID_REQUIRED, whose owners have yet to join."""
        self.pending_sync: dict[str, None] = {}
        self.stores_generation: int | None = None
        """The generation whose assignment is being written."""
        self.new_member_added = False
        """Somebody joined during the initial rebalance delay, which is prolonged then."""
        self.subscribed_topics: tuple[str, ...] | None = None
        """What the members subscribe to, where that can be read."""
        self._supporters: dict[str, int] = {}
        self._awaiting_join = 0

    @property
    def is_empty(self) -> bool:
        """Whether it has no members."""
        return self.state is GroupState.EMPTY

    @property
    def is_simple(self) -> bool:
        """Whether nobody ever joined: it is there for offsets that were committed without a group."""
        return self.is_empty and self.protocol_type is None and not self.pending_join

    @property
    def is_consumer_group(self) -> bool:
        """Whether its members speak the consumer protocol."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance may start from here."""
        return self.state in REBALANCEABLE

    @property
    def awaiting_join_count(self) -> int:
        """How many JoinGroup requests are parked."""
        return self._awaiting_join

    @property
    def has_all_members_joined(self) -> bool:
        """Whether every member, and everyone who was given an id, is waiting for the next generation."""
        return self._awaiting_join == len(self.members) and not self.pending_join

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest of the members' rebalance time-outs."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def transition(self, state: GroupState, now_ms: int) -> None:
        """Go on to `state`; RuntimeError if it cannot be reached from here."""
        if self.state not in PREVIOUS[state]:
            raise RuntimeError(f"group {self.group_id} cannot go from {self.state.value} to {state.value}")
        self.previous_state = self.state
        self.state = state
        self.state_timestamp_ms = now_ms

    def add(self, member: ClassicMember) -> None:
        """Take a member in; the first one becomes leader and decides the protocol type."""
        if member.group_instance_id is not None:
            if member.group_instance_id in self.static_members:
                raise RuntimeError(f"group instance id {member.group_instance_id} is in use")
            self.static_members[member.group_instance_id] = member.member_id
        if not self.members:
            self.protocol_type = member.protocol_type
        if self.leader is None:
            self.leader = member.member_id
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        if member.is_awaiting_join:
            self._awaiting_join += 1
        self.pending_join.pop(member.member_id, None)

    def remove(self, member_id: str) -> ClassicMember | None:
        """Take a member that waits for nothing, or a pending one, out.

        A leader who leaves is followed by the longest-standing member.
        """
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count_protocols(member, -1)
            if member.group_instance_id is not None:
                self.static_members.pop(member.group_instance_id, None)
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        self.pending_join.pop(member_id, None)
        self.pending_sync.pop(member_id, None)
        return member

    def replace_static(self, old: ClassicMember, new: ClassicMember) -> None:
        """Put `new` in the place of `old`, which has the same group instance id and waits for nothing."""
        self.members = {
            (new.member_id if member_id == old.member_id else member_id): (new if member is old else member)
            for member_id, member in self.members.items()
        }
        self._count_protocols(old, -1)
        self._count_protocols(new, 1)
        if self.leader == old.member_id:
            self.leader = new.member_id
        if new.group_instance_id is not None:
            self.static_members[new.group_instance_id] = new.member_id

    def update_protocols(self, member: ClassicMember, protocols: Sequence[JoinGroupRequestProtocol]) -> None:
        """The member supports `protocols` from now on."""
        self._count_protocols(member, -1)
        member.protocols = list(protocols)
        self._count_protocols(member, 1)

    def count_awaiting_join(self, change: int) -> None:
        """A JoinGroup was parked (1) or answered (-1)."""
        self._awaiting_join += change

    def elect_joined_leader(self) -> bool:
        """Make sure that the leader is one who joined; returns False if nobody has."""
        if self.leader is None:
            return False
        if self.members[self.leader].is_awaiting_join:
            return True
        for member in self.members.values():
            if member.is_awaiting_join:
                self.leader = member.member_id
                return True
        return False

    def next_generation(self, now_ms: int) -> None:
        """Form the generation of those who joined, or become empty."""
        self.generation += 1
        self.pending_sync.clear()
        self.protocol = self.select_protocol() if self.members else None
        self.subscribed_topics = self.compute_subscribed_topics()
        self.transition(GroupState.COMPLETING_REBALANCE if self.members else GroupState.EMPTY, now_ms)

    def select_protocol(self) -> str:
        """The protocol that all members support and most of them like best."""
        everyone = len(self.members)
        candidates = {name: None for name, count in self._supporters.items() if count == everyone}
        votes: dict[str, int] = {}
        for member in self.members.values():
            choice = member.vote(candidates)
            votes[choice] = votes.get(choice, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def supports(self, protocol_type: str, protocols: Sequence[JoinGroupRequestProtocol]) -> bool:
        """Whether somebody with these protocols could join."""
        if self.is_empty:
            return bool(protocol_type) and bool(protocols)
        everyone = len(self.members)
        return self.protocol_type == protocol_type and any(
            self._supporters.get(protocol.name, 0) == everyone for protocol in protocols
        )

    def compute_subscribed_topics(self) -> tuple[str, ...] | None:
        """The topics that the members of a consumer group subscribe to; None where that is not known."""
        if not self.is_consumer_group:
            return None
        if not self.members:
            return ()
        if self.protocol is None:
            return None
        topics: dict[str, None] = {}
        try:
            for member in self.members.values():
                topics.update(dict.fromkeys(subscribed_topics(member.metadata(self.protocol))))
        except ProtocolError:
            return None
        return tuple(topics)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member reads `topic`; a consumer group whose subscriptions cannot be read may read anything."""
        if self.subscribed_topics is not None:
            return topic in self.subscribed_topics
        return self.is_consumer_group

    def check_member(self, member_id: str, group_instance_id: str | None) -> ClassicMember:
        """The member; raises UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID if another one has its instance id."""
        if group_instance_id is not None:
            current = self.static_members.get(group_instance_id)
            if current is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if current != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def response_members(self) -> list[JoinGroupResponseMember]:
        """The members with their metadata, as the leader is told of them."""
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                metadata=member.metadata(self.protocol),
            )
            for member in self.members.values()
        ]

    def _count_protocols(self, member: ClassicMember, change: int) -> None:
        for protocol in member.protocols:
            self._supporters[protocol.name] = self._supporters.get(protocol.name, 0) + change
            if not self._supporters[protocol.name]:
                del self._supporters[protocol.name]
