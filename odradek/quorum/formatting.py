"""What formatting leaves in a data directory (KIP-853), and reading it back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from odradek.config import parse_properties
from odradek.config.types import ConfigError
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.raft import NodeIdentity
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot
from odradek.quorum.voters import VoterNode, VoterSet
from odradek.wire.errors import ProtocolError
from odradek.wire.schema import Message
from odradek.wire.uuids import ZERO_UUID, Uuid, uuid_from_string, uuid_to_string

META_PROPERTIES_FILE = "meta.properties"
META_PROPERTIES_VERSION = 1
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class MetaProperties(NamedTuple):
    """`meta.properties`, which every log directory has: whose it is."""

    cluster_id: str
    node_id: int
    directory_id: Uuid
    """ZERO_UUID in a file from before directories had ids (Apache Kafka 3.6 and older)."""

    def to_bytes(self, now_ms: int) -> bytes:
        """The file's content, dated as Java's Properties do."""
        lines = [
            "#",
            f"#{_java_date(now_ms)}",
            f"node.id={self.node_id}",
            f"directory.id={uuid_to_string(self.directory_id)}",
            f"version={META_PROPERTIES_VERSION}",
            f"cluster.id={self.cluster_id}",
        ]
        return ("\n".join(lines) + "\n").encode("latin-1")

    @classmethod
    def from_bytes(cls, data: bytes) -> MetaProperties:
        """Read the file; ProtocolError with one line for the user if it cannot be used."""
        try:
            properties = parse_properties(data.decode("latin-1"))
            version = properties["version"]
            if version != str(META_PROPERTIES_VERSION):
                raise ProtocolError(f"{META_PROPERTIES_FILE} has version {version}")
            return cls(
                cluster_id=properties["cluster.id"],
                node_id=int(properties["node.id"]),
                directory_id=uuid_from_string(properties.get("directory.id", uuid_to_string(ZERO_UUID))),
            )
        except KeyError as error:
            raise ProtocolError(f"{META_PROPERTIES_FILE} lacks {error.args[0]}") from error
        except (ValueError, ConfigError) as error:
            raise ProtocolError(f"{META_PROPERTIES_FILE} cannot be read: {error}") from error


def _java_date(now_ms: int) -> str:
    at = time.gmtime(now_ms / 1000)
    return (
        f"{_DAYS[at.tm_wday]} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:02} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} UTC {at.tm_year}"
    )


def bootstrap_checkpoint(
    identity: NodeIdentity, records: Sequence[tuple[Message, int]], kraft_version: int, now_ms: int
) -> bytes:
    """The bootstrap snapshot of a node that starts as the only voter, with the records of the first transaction."""
    voters = VoterSet((VoterNode(identity.node_id, identity.directory_id, identity.endpoints),))
    return quorum_checkpoint(voters, records, kraft_version, now_ms)


def quorum_checkpoint(
    voters: VoterSet | None, records: Sequence[tuple[Message, int]], kraft_version: int, now_ms: int
) -> bytes:
    """The bootstrap snapshot of a node of any quorum.

    `voters` is None where it does not say who votes: with `controller.quorum.voters`, or for a node that joins later.
    """
    times = SnapshotTimes(last_contained_ms=now_ms, now_ms=now_ms)
    return build_snapshot(BOOTSTRAP_SNAPSHOT, voters, kraft_version, records, times)
