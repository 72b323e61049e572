"""A member of a classic group."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from odradek.ports import Promise
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.sync_group import SyncGroupResponse

NO_ASSIGNMENT = b""


class ClassicMember:
    """What a member said when it joined, its assignment, and the replies it waits for."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "group_instance_id",
        "is_new",
        "join_reply",
        "member_id",
        "protocol_type",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "sync_reply",
    )

    def __init__(
        self,
        *,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocol_type: str,
        protocols: Sequence[JoinGroupRequestProtocol],
        assignment: bytes = NO_ASSIGNMENT,
    ) -> None:
        self.member_id = member_id
        self.group_instance_id = group_instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocol_type = protocol_type
        self.protocols = list(protocols)
        self.assignment = assignment
        self.join_reply: Promise[JoinGroupResponse] | None = None
        self.sync_reply: Promise[SyncGroupResponse] | None = None
        self.is_new = False
        """Has not been through a rebalance yet: a time-out removes it although its JoinGroup is parked."""

    @property
    def is_static(self) -> bool:
        """Whether it has a group instance id (KIP-345)."""
        return self.group_instance_id is not None

    @property
    def is_awaiting_join(self) -> bool:
        """Whether its JoinGroup is parked."""
        return self.join_reply is not None

    @property
    def has_satisfied_heartbeat(self) -> bool:
        """Whether it counts as alive without a heartbeat, since it waits for an answer of ours."""
        return not self.is_new and (self.join_reply is not None or self.sync_reply is not None)

    def metadata(self, protocol: str | None) -> bytes:
        """What it sent for `protocol`; ValueError if it does not support that."""
        for supported in self.protocols:
            if supported.name == protocol:
                return supported.metadata
        raise ValueError(f"member {self.member_id} does not support protocol {protocol}")

    def vote(self, candidates: Collection[str]) -> str:
        """The candidate that it likes best; ValueError if it supports none."""
        for supported in self.protocols:
            if supported.name in candidates:
                return supported.name
        raise ValueError(f"member {self.member_id} supports none of the candidate protocols")

    def matches(self, protocols: Sequence[JoinGroupRequestProtocol]) -> bool:
        """Whether it would join with the same protocols and metadata as before."""
        return self.protocols == list(protocols)
