"""Raising kraft.version, after which the voters are in the log and can change (KIP-853)."""

from __future__ import annotations

import logging

from odradek.quorum.leader import LeaderState
from odradek.quorum.leading import Leading
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import VoterSet
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

NAME = "kraft.version"


def upgrade(state: QuorumState, leading: Leading, version: int, *, validate_only: bool) -> None:
    """Append the version with the voters as they have reported themselves; nothing if it is in force already.

    Raises KafkaError NOT_CONTROLLER on a node that does not lead, INVALID_UPDATE_VERSION for an older version, or as
    long as a voter has not said that it supports this one.
    """
    leader = leading.leader
    if leader is None:
        raise KafkaError(ErrorCode.NOT_CONTROLLER)
    current = state.replica.history.kraft_version
    if version == current:
        return
    if version < current:
        raise _invalid(
            f"Invalid upgrade of {NAME} from version {current} to {version} because the new version is a downgrade"
        )
    voters = _voters(leader, current, version)
    if not validate_only:
        _log.info("kraft.version becomes %d, by the record at offset %d", version, state.replica.end_offset)
        leading.append_upgrade(leader, version, voters)


def _voters(leader: LeaderState, current: int, version: int) -> VoterSet:
    voters = leader.reported
    if voters is None:
        raise _invalid(f"Invalid upgrade of {NAME} from version {current} to {version}")
    for voter in voters.voters:
        if not voter.min_kraft_version <= version <= voter.max_kraft_version:
            raise _invalid(f"Invalid upgrade of {NAME} to {version} because not all of the voters support it")
    return voters


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_UPDATE_VERSION, message)
