"""Up to where a follower's log is the leader's (KIP-101, KIP-279, KIP-595)."""

from __future__ import annotations

from odradek.storage.leader_epochs import UNDEFINED_EPOCH, UNDEFINED_OFFSET
from odradek.storage.log import Log


def offset_to_keep(log: Log, leader_epoch: int, leader_end_offset: int) -> int:
    """Where to cut a log, given the largest epoch that the leader knows of those that the follower asked for.

    It ends in the leader's log at `leader_end_offset`. Where the follower does not have that epoch either, the cut goes
    to the end of the one before, and the next fetch tells whether that is enough.
    """
    own_epoch, own_end_offset = log.leader_epochs.end_offset_for(leader_epoch, log.log_end_offset)
    if own_epoch == UNDEFINED_EPOCH or own_end_offset == UNDEFINED_OFFSET:
        return min(leader_end_offset, log.log_end_offset)
    if own_epoch != leader_epoch:
        return min(own_end_offset, log.log_end_offset)
    return min(own_end_offset, leader_end_offset, log.log_end_offset)
