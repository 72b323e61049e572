"""Who votes, from which offset of the log on (KIP-853)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from odradek.wire.messages.voters_record import Endpoint, KRaftVersionFeature, Voter, VotersRecord
from odradek.wire.uuids import ZERO_UUID, Uuid

T = TypeVar("T")

BEFORE_LOG = -1
"""The offset of what a snapshot says."""


class VoterEndpoint(NamedTuple):
    """Where a voter's listener is reached."""

    listener: str
    host: str
    port: int


def address_of(endpoints: Iterable[VoterEndpoint], listener: str) -> tuple[str, int] | None:
    """Host and port of a listener; None if it is not among them."""
    return next(((point.host, point.port) for point in endpoints if point.listener == listener), None)


class VoterNode(NamedTuple):
    """One voter; `directory_id` is ZERO_UUID where voters are static."""

    id: int
    directory_id: Uuid
    endpoints: tuple[VoterEndpoint, ...]
    min_kraft_version: int = 0
    max_kraft_version: int = 1

    def address(self, listener: str) -> tuple[str, int] | None:
        """Host and port of one of its listeners."""
        return address_of(self.endpoints, listener)


class VoterSet(NamedTuple):
    """All voters, by id."""

    voters: tuple[VoterNode, ...] = ()

    def find(self, node_id: int, directory_id: Uuid) -> VoterNode | None:
        """The voter that is this node with this directory; either may leave the directory open."""
        for voter in self.voters:
            if voter.id == node_id and (
                ZERO_UUID in (voter.directory_id, directory_id) or voter.directory_id == directory_id
            ):
                return voter
        return None

    @property
    def ids(self) -> tuple[int, ...]:
        """The voters' ids."""
        return tuple(voter.id for voter in self.voters)

    @property
    def majority(self) -> int:
        """How many of them decide."""
        return len(self.voters) // 2 + 1

    def by_id(self, node_id: int) -> VoterNode | None:
        """The voter of this id, whichever its directory."""
        return next((voter for voter in self.voters if voter.id == node_id), None)

    def has(self, node_id: int, directory_id: Uuid) -> bool:
        """Whether this node with this directory votes."""
        return self.find(node_id, directory_id) is not None

    def is_only(self, node_id: int, directory_id: Uuid) -> bool:
        """Whether this node decides alone."""
        return len(self.voters) == 1 and self.find(node_id, directory_id) is not None

    def updated(self, node: VoterNode) -> VoterSet:
        """The set with one voter's endpoints and versions replaced."""
        return VoterSet(tuple(node if voter.id == node.id else voter for voter in self.voters))

    def added(self, node: VoterNode) -> VoterSet:
        """The set with one voter more."""
        return VoterSet(tuple(sorted((*self.voters, node), key=lambda voter: voter.id)))

    def without(self, node_id: int) -> VoterSet:
        """The set with one voter less."""
        return VoterSet(tuple(voter for voter in self.voters if voter.id != node_id))

    def to_record(self) -> VotersRecord:
        """The control record that says this."""
        return VotersRecord(
            version=0,
            voters=[
                Voter(
                    voter_id=voter.id,
                    voter_directory_id=voter.directory_id,
                    endpoints=[
                        Endpoint(name=point.listener, host=point.host, port=point.port) for point in voter.endpoints
                    ],
                    kraft_version_feature=KRaftVersionFeature(
                        min_supported_version=voter.min_kraft_version, max_supported_version=voter.max_kraft_version
                    ),
                )
                for voter in self.voters
            ],
        )

    @classmethod
    def from_record(cls, record: VotersRecord) -> VoterSet:
        """What a control record says."""
        return cls(
            tuple(
                VoterNode(
                    id=voter.voter_id,
                    directory_id=voter.voter_directory_id,
                    endpoints=tuple(VoterEndpoint(point.name, point.host, point.port) for point in voter.endpoints),
                    min_kraft_version=voter.kraft_version_feature.min_supported_version,
                    max_kraft_version=voter.kraft_version_feature.max_supported_version,
                )
                for voter in sorted(record.voters, key=lambda voter: voter.voter_id)
            )
        )


class VotersHistory:
    """Voter sets and kraft.version by the offset of the control record that set them.

    The latest counts as soon as it is appended; when the log is cut, what was cut off counts no more.
    """

    def __init__(self, static_voters: VoterSet = VoterSet()) -> None:  # noqa: B008 - a tuple, never changed
        self._voters: list[tuple[int, VoterSet]] = [(BEFORE_LOG, static_voters)]
        self._kraft_versions: list[tuple[int, int]] = [(BEFORE_LOG, 0)]

    @property
    def voters(self) -> VoterSet:
        """The latest voter set."""
        return self._voters[-1][1]

    @property
    def voters_offset(self) -> int:
        """Where it stands in the log; BEFORE_LOG for one that only a snapshot or the configuration says."""
        return self._voters[-1][0]

    @property
    def kraft_version(self) -> int:
        """The latest kraft.version: 0 for static voters, 1 for those in the log."""
        return self._kraft_versions[-1][1]

    def voters_at(self, offset: int) -> VoterSet:
        """The voter set as of the record at `offset`."""
        return next(voters for at, voters in reversed(self._voters) if at <= offset)

    def kraft_version_at(self, offset: int) -> int:
        """kraft.version as of the record at `offset`."""
        return next(version for at, version in reversed(self._kraft_versions) if at <= offset)

    def set_voters(self, offset: int, voters: VoterSet) -> None:
        """Take in a VotersRecord."""
        _put(self._voters, offset, voters)

    def set_kraft_version(self, offset: int, version: int) -> None:
        """Take in a KRaftVersionRecord."""
        _put(self._kraft_versions, offset, version)

    def truncate_to(self, offset: int) -> None:
        """Forget the records from `offset` on."""
        self._voters = [entry for entry in self._voters if entry[0] < offset]
        self._kraft_versions = [entry for entry in self._kraft_versions if entry[0] < offset]


def _put(entries: list[tuple[int, T]], offset: int, value: T) -> None:
    if entries[-1][0] == offset:
        entries.pop()
    entries.append((offset, value))
