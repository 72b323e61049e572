"""Whatever happens, the log says what the state is: a crash after any batch loads what was true then."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odradek.broker.groups.options import GroupOptions
from odradek.broker.groups.service import GroupCoordinator
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_groups import DescribedGroup
from odradek.wire.messages.heartbeat import HeartbeatRequest
from odradek.wire.messages.join_group import JoinGroupResponse
from odradek.wire.messages.sync_group import SyncGroupResponse
from odradek.wire.persistent.group.legacy_offset_commit import LegacyOffsetCommitKey, LegacyOffsetCommitValue
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.records.compression import Codec
from odradek.wire.records.control import ControlType, EndTxnMarkerValue, build_end_txn_batch
from tests.unit.broker.coordinator.fake_log import FakeLog
from tests.unit.broker.groups.scene import GROUP, REBALANCE_MS, SHARD, TOPIC, TOPIC_ID, Groups, protocols

NAMES = ("g1", "g2")
SETTLED = ("Stable", "Empty")
View = dict[str, tuple[dict[tuple[str, int], int], DescribedGroup | None]]


def view(groups: Groups) -> View:
    """What a client can see of each group; membership only where no rebalance is going on."""
    seen: View = {}
    for name in groups.listed():
        described = groups.describe(name)
        settled = described.group_state in SETTLED
        seen[name] = (groups.offsets(name), described if settled else None)
    return seen


class Clients:
    """Members that do what chance says."""

    def __init__(self, groups: Groups, seed: int) -> None:
        self.groups = groups
        self.chance = random.Random(seed)
        self.known: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}
        self.joins: list[tuple[str, Promise[JoinGroupResponse]]] = []
        self.syncs: list[Promise[SyncGroupResponse]] = []

    def step(self) -> None:
        """One request, or some time that passes."""
        group = self.chance.choice(NAMES)
        act = self.chance.choice(
            (self.join, self.rejoin, self.rejoin, self.sync, self.sync, self.commit, self.commit, self.leave, self.wait)
        )
        if self.chance.random() < 0.05:
            act = self.drop
        act(group)
        self.groups.world.run_soon()
        self._collect()

    def join(self, group: str) -> None:
        """A new member, static or dynamic."""
        instance = self.chance.choice((None, None, "i1", "i2"))
        offers = protocols(*self.chance.choice((("range",), ("range", "sticky"))))
        self.joins.append((group, self.groups.join(group=group, instance=instance, version=3, offers=offers)))

    def rejoin(self, group: str) -> None:
        """A member that is known joins again."""
        for member_id, _ in self.known[group]:
            self.joins.append((group, self.groups.join(member_id, group=group)))

    def sync(self, group: str) -> None:
        """All known members of the group sync."""
        ids = [member_id for member_id, _ in self.known[group]]
        parts = {member_id: self.chance.randbytes(3) for member_id in ids}
        for member_id, generation in self.known[group]:
            self.syncs.append(self.groups.sync(member_id, generation, parts, group=group))

    def commit(self, group: str) -> None:
        """A member, or nobody in particular, commits."""
        member_id, generation = self.chance.choice([("", -1), *self.known[group]])
        self.groups.commit(
            self.chance.randrange(100),
            group=group,
            partition=self.chance.randrange(3),
            member_id=member_id,
            generation=generation,
        )

    def leave(self, group: str) -> None:
        """A member leaves."""
        if self.known[group]:
            member_id, _ = self.known[group].pop(0)
            self.groups.leave((member_id, None), group=group)

    def wait(self, _group: str) -> None:
        """Time passes; members may lose their sessions."""
        self.groups.world.advance(self.chance.choice((100, 3000, 6000, 70_000)))

    def drop(self, group: str) -> None:
        """The group, or its topic, is deleted."""
        if self.chance.random() < 0.5:
            self.groups.delete(group)
        else:
            self.groups.coordinator.topics_deleted({TOPIC: TOPIC_ID})

    def _collect(self) -> None:
        open_joins = []
        for group, join in self.joins:
            if not join.done:
                open_joins.append((group, join))
            elif join.result().error_code == ErrorCode.NONE:
                answer = join.result()
                self.known[group] = [entry for entry in self.known[group] if entry[0] != answer.member_id]
                self.known[group].append((answer.member_id, answer.generation_id))
        self.joins = open_joins


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 150))
def test_a_crash_after_any_batch_loads_what_was_true_then(seed: int, steps: int) -> None:
    groups = Groups(seed=seed)
    clients = Clients(groups, seed)
    views: dict[int, View] = {0: {}}
    for _ in range(steps):
        before = len(groups.log.batches.get(SHARD, []))
        clients.step()
        after = len(groups.log.batches.get(SHARD, []))
        for passed in range(before + 1, after):
            views.pop(passed, None)  # several batches in one step: what was true in between was not looked at
        views[after] = view(groups)
    for batches, expected in views.items():
        loaded = view(Groups(log=groups.log.prefix(SHARD, batches)))
        assert sorted(loaded) == sorted(expected)
        for name, (offsets, described) in expected.items():
            assert loaded[name][0] == offsets
            if described is not None:
                assert loaded[name][1] == described


def test_a_stable_group_goes_on_after_a_restart() -> None:
    groups = Groups()
    ids = groups.stable(3)
    before = groups.describe()
    groups.commit(7, member_id=ids[0], generation=1)
    groups.restart()
    assert groups.describe() == before
    assert [groups.heartbeat(member_id, 1) for member_id in ids] == [ErrorCode.NONE] * 3
    assert groups.offset() == 7
    assert groups.answer(groups.sync(ids[1], 1)).assignment == f"for {ids[1]}".encode()


def test_members_have_a_whole_session_after_a_restart() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.world.advance(9000)
    groups.restart()
    groups.world.advance(9000)
    assert groups.heartbeat(member, 1) == ErrorCode.NONE
    groups.world.advance(10_000)
    assert groups.describe().group_state == "Empty"


def test_a_group_that_is_too_large_after_a_restart_rebalances() -> None:
    groups = Groups()
    ids = groups.stable(3)
    smaller = Groups(GroupOptions(max_size=2), groups.log)
    assert smaller.describe().group_state == "PreparingRebalance"
    joins = [smaller.join(member_id) for member_id in ids]
    assert smaller.answer(joins[2]).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    smaller.world.advance(REBALANCE_MS)
    assert len(smaller.answer(joins[0]).members) == 2


def test_requests_while_loading() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.commit(1, member_id=member, generation=1)
    groups.coordinator = GroupCoordinator(
        writer=groups.log, options=groups.options, clock=groups.world, scheduler=groups.world, random=groups.world
    )
    coordinator = groups.coordinator
    coordinator.elected(0, 1)
    join = groups.join(member)
    listing = coordinator.list_groups((), ())
    assert join.result().error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert listing.error is not None
    groups.world.run_soon()
    assert groups.heartbeat(member, 1) == ErrorCode.NONE


def test_resigning_tells_parked_members_to_look_elsewhere() -> None:
    groups = Groups()
    (first,) = groups.stable()
    parked = groups.join(groups.new_id())
    groups.coordinator.resigned(0, 1)
    assert groups.answer(parked).error_code == ErrorCode.NOT_COORDINATOR
    assert groups.heartbeat(first, 1) == ErrorCode.NOT_COORDINATOR
    assert groups.listed() == []


def test_a_heartbeat_during_loading_is_well() -> None:
    groups = Groups()
    (member,) = groups.stable()
    groups.coordinator.resigned(0, None)
    groups.coordinator.elected(0, 1)
    request = HeartbeatRequest(group_id=GROUP, generation_id=9, member_id=member)
    assert groups.coordinator.heartbeat(request).result().error_code == ErrorCode.NONE
    groups.world.run_soon()
    assert groups.coordinator.heartbeat(request).result().error_code == ErrorCode.ILLEGAL_GENERATION


def txn_commit(log: FakeLog, groups: Groups, producer_id: int, offset: int) -> None:
    """Put a transactional offset commit into the log, as Kafka's coordinator writes it."""
    source = Groups()
    source.commit(offset)
    (record,) = source.log.records(SHARD)
    builder = BatchBuilder(producer_id=producer_id, producer_epoch=0, is_transactional=True)
    builder.append(groups.world.now_ms(), record.key, record.value)
    log.append(SHARD, bytearray(builder.build()), 0)


def end_txn(log: FakeLog, producer_id: int, control_type: ControlType) -> None:
    """Put a transaction marker into the log."""
    marker = EndTxnMarkerValue(control_type, 0)
    batch = build_end_txn_batch(marker, base_offset=0, timestamp_ms=1, producer_id=producer_id, producer_epoch=0)
    log.append(SHARD, bytearray(batch), 0)


@pytest.mark.parametrize(("control_type", "offset"), [(ControlType.COMMIT, 20), (ControlType.ABORT, 10)])
def test_transactional_offsets_in_the_log_count_when_committed(control_type: ControlType, offset: int) -> None:
    groups = Groups()
    groups.commit(10)
    txn_commit(groups.log, groups, 5, 20)
    groups.restart()
    assert groups.offset() == 10
    assert groups.fetch(0, stable=True)[0].error_code == ErrorCode.UNSTABLE_OFFSET_COMMIT
    end_txn(groups.log, 5, control_type)
    groups.restart()
    assert groups.offset() == offset
    assert groups.fetch(0, stable=True)[0].committed_offset == offset


def test_a_later_commit_outlives_the_end_of_an_earlier_transaction() -> None:
    groups = Groups()
    txn_commit(groups.log, groups, 5, 20)
    groups.restart()
    groups.commit(30)
    end_txn(groups.log, 5, ControlType.COMMIT)
    groups.restart()
    assert groups.offset() == 30


def test_offsets_in_the_oldest_record_type_are_read() -> None:
    log = FakeLog()
    builder = BatchBuilder()
    key = b"\0\0" + LegacyOffsetCommitKey(group="old", topic=TOPIC, partition=1).encode(0)
    value = b"\0\0" + LegacyOffsetCommitValue(offset=4, metadata="m", commit_timestamp=1).encode(0)
    builder.append(1, key, value)
    log.append(SHARD, bytearray(builder.build()), 0)
    assert Groups(log=log).offset(1, group="old") == 4


def test_records_of_groups_of_other_kinds_do_no_harm() -> None:
    groups = Groups()
    groups.commit(1)
    builder = BatchBuilder()
    builder.append(1, b"\0\x0b\0\1g", b"\0\0\0\0\0\1")
    builder.append(1, b"\0\x63whatever", b"?")
    groups.log.append(SHARD, bytearray(builder.build()), 0)
    groups.restart()
    assert groups.listed() == ["readers"]
    assert groups.offset() == 1


def test_the_log_can_be_compressed() -> None:
    groups = Groups(GroupOptions(compression=Codec.GZIP))
    groups.commit(1, metadata="x" * 500)
    assert len(groups.log.batches[SHARD][0]) < 400
    groups.restart()
    assert groups.offset() == 1
