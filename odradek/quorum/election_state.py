"""The file `quorum-state`: which epoch this node is in, who leads it, and whom this node voted for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from odradek.wire.errors import ProtocolError
from odradek.wire.uuids import ZERO_UUID, Uuid, uuid_from_string, uuid_to_string

NOBODY = -1
DATA_VERSION = 1


class ElectionState(NamedTuple):
    """What must survive a restart so that nobody votes twice in an epoch. NOBODY where there is no leader or vote."""

    leader_epoch: int = 0
    leader_id: int = NOBODY
    voted_id: int = NOBODY
    voted_directory_id: Uuid = ZERO_UUID

    def to_bytes(self, static_voters: Sequence[int] | None = None) -> bytes:
        """The file's content: QuorumStateData as JSON, in version 0 where voters are static, else in version 1."""
        if static_voters is not None:
            return json.dumps(
                {
                    "clusterId": "",
                    "leaderId": self.leader_id,
                    "leaderEpoch": self.leader_epoch,
                    "votedId": self.voted_id,
                    "appliedOffset": 0,
                    "currentVoters": [{"voterId": voter_id} for voter_id in static_voters],
                    "data_version": 0,
                },
                separators=(",", ":"),
            ).encode()
        content = {
            "leaderId": self.leader_id,
            "leaderEpoch": self.leader_epoch,
            "votedId": self.voted_id,
            "votedDirectoryId": uuid_to_string(self.voted_directory_id),
            "data_version": DATA_VERSION,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ElectionState:
        """Read a file of version 0 or 1; ProtocolError if it is neither."""
        try:
            content = json.loads(data)
            if content["data_version"] not in (0, DATA_VERSION):
                raise ProtocolError(f"quorum-state of version {content['data_version']}")
            return cls(
                leader_epoch=int(content["leaderEpoch"]),
                leader_id=int(content["leaderId"]),
                voted_id=int(content["votedId"]),
                voted_directory_id=uuid_from_string(content.get("votedDirectoryId") or uuid_to_string(ZERO_UUID)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"quorum-state cannot be read: {error!r}") from error
