"""What must hold of a quorum whatever happens to it; checked after every event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odradek.quorum.leader import LeaderState
from odradek.quorum.log import Batch
from odradek.wire.persistent.metadata.topic_record import TopicRecord

if TYPE_CHECKING:
    from tests.sim.quorum.run import Host


class Violation(AssertionError):
    """An invariant, by its name, does not hold."""


def names(batch: Batch) -> tuple[str, ...]:
    """What a batch says, for comparison."""
    return tuple(record.name for record in batch.records if isinstance(record, TopicRecord))


class Invariants:
    """Remembers what was seen of all nodes in all of their lives."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        """epoch -> node"""
        self.committed: dict[int, tuple[int, int, tuple[str, ...]]] = {}
        """base offset -> (end offset, epoch, names)"""
        self.committed_end = 0
        self.votes: dict[tuple[int, int], int] = {}
        """(voter, epoch) -> for whom"""
        self._high_watermarks: dict[int, int] = {}
        self._leaders_high_watermark = -1
        self._leaders_epoch = 0

    def voted(self, voter: int, epoch: int, candidate: int) -> None:
        """nobody-votes-twice: one vote in an epoch, across restarts."""
        before = self.votes.setdefault((voter, epoch), candidate)
        if before != candidate:
            raise Violation(f"nobody-votes-twice: {voter} voted for {before} and {candidate} in epoch {epoch}")

    def handed_over(self, host: Host, batches: Sequence[Batch]) -> None:
        """committed-never-changes: whoever gets a batch as committed gets the same as everybody, in order."""
        for batch in batches:
            if batch.base_offset != host.next_offset:
                raise Violation(f"committed-in-order: {host.id} got {batch.base_offset}, not {host.next_offset}")
            host.next_offset = batch.last_offset + 1
            what = (batch.last_offset + 1, batch.epoch, names(batch))
            if batch.base_offset < self.committed_end and batch.base_offset not in self.committed:
                raise Violation(f"committed-never-changes: another batch begins at {batch.base_offset} at {host.id}")
            before = self.committed.setdefault(batch.base_offset, what)
            if before != what:
                raise Violation(f"committed-never-changes: {before} at {batch.base_offset} became {what} at {host.id}")
            self.committed_end = max(self.committed_end, batch.last_offset + 1)

    def check(self, hosts: Sequence[Host]) -> None:
        """Everything that can be seen from outside, as of now."""
        for host in hosts:
            raft = host.raft
            if raft is None:
                self._high_watermarks.pop(host.id, None)
                continue
            if raft.high_watermark < self._high_watermarks.get(host.id, -1):
                raise Violation(f"high-watermark-monotonic: {host.id} went back to {raft.high_watermark}")
            self._high_watermarks[host.id] = raft.high_watermark
            role = raft.role
            if isinstance(role, LeaderState):
                self._check_leader(host, role, hosts)

    def _check_leader(self, host: Host, role: LeaderState, hosts: Sequence[Host]) -> None:
        if role.epoch not in self.leaders:
            self.leaders[role.epoch] = host.id
            self._check_complete(host, role.epoch)
        elif self.leaders[role.epoch] != host.id:
            raise Violation(f"one-leader-per-epoch: {self.leaders[role.epoch]} and {host.id} lead epoch {role.epoch}")
        if role.high_watermark < 0 or role.epoch < self._leaders_epoch:
            return
        if role.high_watermark < self._leaders_high_watermark:
            raise Violation(f"high-watermark-monotonic: that of the leaders went back to {role.high_watermark}")
        moved = role.high_watermark > self._leaders_high_watermark
        self._leaders_epoch, self._leaders_high_watermark = role.epoch, role.high_watermark
        if moved:
            self._check_durable(host, role, hosts)

    def _check_durable(self, host: Host, role: LeaderState, hosts: Sequence[Host]) -> None:
        """committed-is-durable: a majority has it, of the voters now, or of those before a change that came since."""
        assert host.raft is not None
        durable = {each.id: each.log.durable for each in hosts}
        of_then = host.raft._replica.history.voters_at(role.high_watermark - 1)
        for voters in (tuple(role.voters), of_then.ids):
            held = [voter for voter in voters if durable[voter] >= role.high_watermark]
            if len(held) > len(voters) // 2:
                return
        raise Violation(
            f"committed-is-durable: the high watermark is {role.high_watermark}, and of {voters} have {held}"
        )

    def _check_complete(self, host: Host, epoch: int) -> None:
        """committed-never-lost: a leader has all that was ever committed, or a snapshot of it."""
        for base, (end, of_epoch, _names) in self.committed.items():
            if end <= host.log.start_offset or of_epoch >= epoch:
                continue
            if host.log.epoch_at(base) != of_epoch:
                raise Violation(f"committed-never-lost: {host.id} leads epoch {epoch} without offset {base}")

    def check_logs(self, hosts: Sequence[Host]) -> None:
        """logs-equal-below-the-high-watermark: on every node, byte for byte."""
        seen: dict[int, tuple[int, bytes]] = {}
        for host in hosts:
            if host.raft is None:
                continue
            for base, end, _epoch, data in host.log.batches:
                if end <= host.raft.high_watermark:
                    before = seen.setdefault(base, (end, data))
                    if before != (end, data):
                        raise Violation(f"logs-equal-below-the-high-watermark: {host.id} differs at offset {base}")
