"""What a node of a quorum is told: its time-outs, whom it may ask for the leader, and how it reaches the others."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

from odradek.config import BrokerConfig
from odradek.ports import Promise, Random, Scheduler
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.schema import Message
from odradek.wire.uuids import ZERO_UUID

Resp = TypeVar("Resp", bound=Message)
Address = tuple[str, int]
"""Host and port."""


class Transport(Protocol):
    """Connections to other nodes; requests to one address are answered in their order."""

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        """The answer to a request; fails with KafkaError if none comes."""
        ...


class QuorumSettings(NamedTuple):
    """The properties `controller.quorum.*` and `metadata.max.retention.*`, by their names there."""

    election_timeout_ms: int = 1000
    election_backoff_max_ms: int = 1000
    fetch_timeout_ms: int = 2000
    request_timeout_ms: int = 2000
    retry_backoff_ms: int = 20
    fetch_max_bytes: int = 8 * 1024 * 1024
    fetch_snapshot_max_bytes: int = 8 * 1024 * 1024
    static_voters: VoterSet = VoterSet()
    """`controller.quorum.voters`: who votes while kraft.version is 0."""
    bootstrap_servers: tuple[Address, ...] = ()
    """Whom to ask who leads."""
    auto_join: bool = False
    retention_bytes: int = -1
    retention_ms: int = -1

    @classmethod
    def from_config(cls, config: BrokerConfig) -> QuorumSettings:
        """What a node's properties say; ConfigError for addresses that are none."""
        listener = config.controller_listener_names[0]
        voters = [_voter(text, listener) for text in config.list_("controller.quorum.voters")]
        servers = [_address(text) for text in config.list_("controller.quorum.bootstrap.servers")]
        if not servers:
            servers = [(point.host, point.port) for voter in voters for point in voter.endpoints]
        return cls(
            election_timeout_ms=config.int_("controller.quorum.election.timeout.ms"),
            election_backoff_max_ms=config.int_("controller.quorum.election.backoff.max.ms"),
            fetch_timeout_ms=config.int_("controller.quorum.fetch.timeout.ms"),
            request_timeout_ms=config.int_("controller.quorum.request.timeout.ms"),
            retry_backoff_ms=config.int_("controller.quorum.retry.backoff.ms"),
            fetch_max_bytes=config.int_("controller.quorum.fetch.max.bytes"),
            fetch_snapshot_max_bytes=config.int_("controller.quorum.fetch.snapshot.max.bytes"),
            static_voters=VoterSet(tuple(sorted(voters, key=lambda voter: voter.id))),
            bootstrap_servers=tuple(servers),
            auto_join=config.bool_("controller.quorum.auto.join.enable"),
            retention_bytes=config.int_("metadata.max.retention.bytes"),
            retention_ms=config.int_("metadata.max.retention.ms"),
        )


def _address(text: str) -> Address:
    host, _colon, port = text.strip().rpartition(":")
    return host.strip("[]"), int(port)


def _voter(text: str, listener: str) -> VoterNode:
    node_id, _at, address = text.strip().partition("@")
    host, port = _address(address)
    # Which versions it supports it has yet to say.
    return VoterNode(int(node_id), ZERO_UUID, (VoterEndpoint(listener, host, port),), max_kraft_version=0)


class RaftCluster(NamedTuple):
    """What a node needs that may have others beside it."""

    cluster_id: str
    listener_name: str
    """The listener at which controllers reach each other: the first of `controller.listener.names`."""
    control: Transport
    """For votes and what else is answered at once."""
    fetches: Transport
    """For Fetch, which waits at the other side, and FetchSnapshot."""
    scheduler: Scheduler
    random: Random
    settings: QuorumSettings
