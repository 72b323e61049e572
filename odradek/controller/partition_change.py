"""How one partition changes: leader, in-sync and eligible replicas, assignment (KIP-455, KIP-966)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from odradek.metadata.image import NO_LEADER, RECOVERING, PartitionImage
from odradek.metadata.snapshot import VersionedRecord, Writing
from odradek.metadata.topics_delta import NO_LEADER_CHANGE
from odradek.metadata.versions import DIRECTORIES_SINCE, SAME_EPOCH_ON_SHRINK_SINCE, partition_version
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.uuids import Uuid


class Election(Enum):
    """Who may lead: PREFERRED puts the first replica first, ONLINE keeps a leader that will do, UNCLEAN takes any."""

    PREFERRED = "preferred"
    ONLINE = "online"
    UNCLEAN = "unclean"


class PartitionRules(NamedTuple):
    """What holds for the partition from outside of it."""

    is_acceptable_leader: Callable[[int], bool]
    min_isr: int
    writing: Writing
    default_directory: Callable[[int], Uuid]

    @property
    def elr_enabled(self) -> bool:
        """Whether eligible leader replicas are kept (KIP-966)."""
        return self.writing.elr_enabled


class PartitionChange:
    """Collects what shall become of a partition, and says it in a record."""

    def __init__(self, partition: PartitionImage, topic_id: Uuid, index: int, rules: PartitionRules) -> None:
        self._partition = partition
        self._topic_id = topic_id
        self._index = index
        self._rules = rules
        self.isr = list(partition.isr)
        self.replicas = list(partition.replicas)
        self.adding = list(partition.adding)
        self.removing = list(partition.removing)
        self.election = Election.ONLINE
        self.unclean_shutdown: Sequence[int] = ()
        self.recovery_state = partition.recovery_state
        self.directories = dict(zip(partition.replicas, partition.directories, strict=False))
        self._elr = list(partition.elr)

    def build(self) -> VersionedRecord | None:
        """The record, or None if nothing changes."""
        record = PartitionChangeRecord(topic_id=self._topic_id, partition_id=self._index)
        empty = PartitionChangeRecord(topic_id=self._topic_id, partition_id=self._index)
        before = self._partition
        self._complete_reassignment()
        self._move_to_elr()
        self._elect(record)
        if record.leader == NO_LEADER_CHANGE and not set(before.replicas) <= set(self.replicas):
            # Naming the leader again starts an epoch, which fences the replicas that are gone.
            record.leader = before.leader
        self._set_elr(record)
        if record.isr is None and (self.isr or self._rules.elr_enabled) and tuple(self.isr) != before.isr:
            record.isr = self.isr
        self._set_epoch(record)
        self._set_last_known_leader(record)
        self._set_assignment(record)
        if self.recovery_state != before.recovery_state:
            record.leader_recovery_state = self.recovery_state
        if record == empty:
            return None
        return VersionedRecord(record, partition_version(self._rules.writing.metadata_version))

    def _set_epoch(self, record: PartitionChangeRecord) -> None:
        """Fewer in-sync replicas are an epoch of their own for brokers that came before metadata version 3.6-IV0."""
        if self._rules.writing.metadata_version >= SAME_EPOCH_ON_SHRINK_SINCE or record.isr is None:
            return
        if record.leader == NO_LEADER_CHANGE and not set(self._partition.isr) <= set(record.isr):
            record.leader = self._partition.leader

    def _complete_reassignment(self) -> None:
        """Nothing is left to do once all new replicas are in sync; if they are fewer, once all that remain are."""
        if not self.adding and not self.removing:
            return
        isr = [replica for replica in self.isr if replica not in self.removing]
        replicas = [replica for replica in self.replicas if replica not in self.removing]
        wanted = replicas if len(self.adding) < len(self.removing) else self.adding
        if set(wanted) <= set(isr):
            self.isr, self.replicas, self.adding, self.removing = isr, replicas, [], []

    def _move_to_elr(self) -> None:
        """Below min.insync.replicas the high watermark stands still, so who leaves the ISR still has all of it.

        Unlike in Kafka, a replica that is removed is not kept: it deletes what it had, and may be added again empty.
        """
        if not self._rules.elr_enabled:
            return
        if len(self.isr) >= self._rules.min_isr:
            self._elr = []
            return
        gone = {*self.isr, *self.unclean_shutdown}
        candidates = {*self._elr, *self._partition.isr}
        self._elr = sorted(each for each in candidates if each not in gone and each in self.replicas)

    def _elect(self, record: PartitionChangeRecord) -> None:
        leader, is_unclean = self._new_leader()
        if leader == self._partition.leader:
            return
        if leader in self._elr:
            self.isr = [leader]
            self._elr = [replica for replica in self._elr if replica != leader]
        record.leader = leader
        if is_unclean:
            record.isr = [leader]
            if self._partition.recovery_state != RECOVERING:
                record.leader_recovery_state = RECOVERING

    def _new_leader(self) -> tuple[int, bool]:
        current = self._partition.leader
        if self.election is Election.PREFERRED and self._is_valid(self.replicas[0]):
            return self.replicas[0], False
        if self._is_valid(current):
            return current, False
        for replica in self.replicas:
            if self._is_valid(replica):
                return replica, False
        if self._may_elect_last_known_leader():
            return self._partition.last_known_elr[0], True
        if self.election is Election.UNCLEAN:
            for replica in self.replicas:
                if self._rules.is_acceptable_leader(replica):
                    return replica, True
        return NO_LEADER, False

    def _may_elect_last_known_leader(self) -> bool:
        last_known = self._partition.last_known_elr
        has_none = self._rules.elr_enabled and not self._elr and not self.isr
        if not has_none or len(last_known) != 1:
            return False
        return last_known[0] in self.replicas and self._rules.is_acceptable_leader(last_known[0])

    def _is_valid(self, replica: int) -> bool:
        is_eligible = replica in self.isr or (not self.isr and replica in self._elr)
        return is_eligible and self._rules.is_acceptable_leader(replica)

    def _set_elr(self, record: PartitionChangeRecord) -> None:
        if record.isr is not None or not self._rules.elr_enabled:
            self._elr = []
        if tuple(self._elr) != self._partition.elr:
            record.eligible_leader_replicas = self._elr

    def _set_last_known_leader(self, record: PartitionChangeRecord) -> None:
        """Without any in-sync or eligible replica, the last leader is the best that a balanced recovery can do."""
        if not self._rules.elr_enabled:
            return
        before = self._partition
        if record.leader == NO_LEADER and not before.last_known_elr:
            record.last_known_elr = [before.leader]
        elif record.leader >= 0 and before.last_known_elr:
            record.last_known_elr = []

    def _set_assignment(self, record: PartitionChangeRecord) -> None:
        before = self._partition
        if self.replicas:
            directories = [
                self.directories[replica] if replica in self.directories else self._rules.default_directory(replica)
                for replica in self.replicas
            ]
            has_directories = self._rules.writing.metadata_version >= DIRECTORIES_SINCE
            if has_directories and tuple(directories) != before.directories:
                record.directories = directories
            if tuple(self.replicas) != before.replicas:
                record.replicas = self.replicas
        if tuple(self.removing) != before.removing:
            record.removing_replicas = self.removing
        if tuple(self.adding) != before.adding:
            record.adding_replicas = self.adding
