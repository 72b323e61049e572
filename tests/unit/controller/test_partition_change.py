"""What becomes of one partition, case by case: elections, eligible replicas, completed reassignments."""

from __future__ import annotations

from collections.abc import Collection

from odradek.controller.partition_change import Election, PartitionChange, PartitionRules
from odradek.metadata.image import NO_LEADER, RECOVERED, RECOVERING, PartitionImage
from odradek.metadata.snapshot import Writing
from odradek.metadata.topics_delta import merged
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord

TOPIC_ID = b"t" * 16


def directory(broker_id: int) -> bytes:
    return bytes([broker_id]) * 16


def partition(
    replicas: tuple[int, ...],
    isr: tuple[int, ...],
    leader: int,
    *,
    elr: tuple[int, ...] = (),
    last_known: tuple[int, ...] = (),
    adding: tuple[int, ...] = (),
    removing: tuple[int, ...] = (),
) -> PartitionImage:
    return PartitionImage(
        replicas=replicas,
        isr=isr,
        leader=leader,
        leader_epoch=4,
        partition_epoch=9,
        directories=tuple(directory(each) for each in replicas),
        elr=elr,
        last_known_elr=last_known,
        adding=adding,
        removing=removing,
    )


def change(
    before: PartitionImage, alive: Collection[int], *, min_isr: int = 1, elr_enabled: bool = True, version: int = 33
) -> PartitionChange:
    rules = PartitionRules(lambda broker_id: broker_id in alive, min_isr, Writing(version, elr_enabled), directory)
    return PartitionChange(before, TOPIC_ID, 0, rules)


def result(before: PartitionImage, wanted: PartitionChange) -> PartitionImage:
    record = wanted.build()
    assert record is not None
    assert isinstance(record.message, PartitionChangeRecord)
    return merged(before, record.message)


def test_what_is_as_it_should_be_is_no_change() -> None:
    before = partition((1, 2, 3), (1, 2), 1)
    assert change(before, {1, 2, 3}).build() is None
    assert change(partition((1, 2), (), NO_LEADER, last_known=(1,)), {2}).build() is None


def test_the_last_leader_is_not_elected_while_another_replica_is_eligible() -> None:
    before = partition((1, 2), (), NO_LEADER, elr=(2,), last_known=(1,))
    assert change(before, {1}, min_isr=2).build() is None
    after = result(before, change(before, {1, 2}, min_isr=2))
    assert (after.leader, after.isr, after.elr, after.recovery_state) == (2, (2,), (), RECOVERED)


def test_the_last_leader_is_elected_when_nobody_is_eligible_and_has_to_recover() -> None:
    before = partition((1, 2), (), NO_LEADER, last_known=(1,))
    after = result(before, change(before, {1, 2}, min_isr=2))
    assert (after.leader, after.isr, after.recovery_state) == (1, (1,), RECOVERING)
    assert (after.last_known_elr, after.leader_epoch) == ((), 5)
    # Several are what another controller noted that does not elect the last leader.
    several = partition((1, 2), (), NO_LEADER, last_known=(1, 2))
    assert change(several, {1, 2}, min_isr=2).build() is None
    assert change(before, {1, 2}, min_isr=2, elr_enabled=False).build() is None


def test_a_last_leader_that_is_no_replica_any_more_does_not_lead() -> None:
    before = partition((1, 2, 3), (), NO_LEADER, last_known=(3,), adding=(3,))
    wanted = change(before, {3}, min_isr=2)
    wanted.replicas, wanted.adding = [1, 2], []
    after = result(before, wanted)
    assert (after.replicas, after.leader, after.isr) == ((1, 2), NO_LEADER, ())


def test_the_last_leader_is_noted_as_it_goes_and_forgotten_as_another_comes() -> None:
    before = partition((1, 2), (1,), 1)
    wanted = change(before, {2})
    wanted.isr = []
    gone = result(before, wanted)
    assert (gone.leader, gone.isr, gone.elr, gone.last_known_elr) == (NO_LEADER, (), (1,), (1,))
    back = result(gone, change(gone, {1, 2}))
    assert (back.leader, back.isr, back.elr, back.last_known_elr) == (1, (1,), (), ())


def test_an_eligible_replica_waits_for_the_isr_to_be_empty() -> None:
    before = partition((1, 2, 3), (1, 2), 1, elr=(3,))
    wanted = change(before, {3}, min_isr=3)
    after = result(before, wanted)
    assert (after.leader, after.isr, after.elr) == (NO_LEADER, (1, 2), (3,))


def test_a_crash_makes_nobody_eligible() -> None:
    before = partition((1, 2, 3), (1, 2), 1, elr=(3,))
    wanted = change(before, {2, 3}, min_isr=3)
    wanted.isr = [2]
    wanted.unclean_shutdown = (1,)
    after = result(before, wanted)
    assert (after.leader, after.isr, after.elr) == (2, (2,), (3,))


def test_without_eligible_replicas_the_last_one_in_sync_stays_so() -> None:
    before = partition((1, 2), (1,), 1)
    wanted = change(before, set(), elr_enabled=False)
    wanted.isr = []
    after = result(before, wanted)
    assert (after.leader, after.isr, after.elr, after.last_known_elr) == (NO_LEADER, (1,), (), ())


def test_an_unclean_election_is_the_last_resort() -> None:
    before = partition((1, 2, 3), (1, 2), 1)
    wanted = change(before, {2, 3}, elr_enabled=False)
    wanted.election = Election.UNCLEAN
    assert result(before, wanted)[1:3] == ((1, 2), 2)
    wanted = change(before, {3}, elr_enabled=False)
    wanted.election = Election.UNCLEAN
    after = result(before, wanted)
    assert (after.leader, after.isr, after.recovery_state) == (3, (3,), RECOVERING)


def test_a_preferred_election_falls_back_on_who_can_lead() -> None:
    before = partition((1, 2, 3), (1, 2, 3), 2)
    for alive, leader in (({1, 2, 3}, 1), ({3}, 3), (set(), NO_LEADER)):
        wanted = change(before, alive)
        wanted.election = Election.PREFERRED
        assert result(before, wanted).leader == leader
    stays = change(before, {2, 3})
    stays.election = Election.PREFERRED
    assert stays.build() is None


def test_a_reassignment_is_not_complete_without_anybody_in_sync() -> None:
    before = partition((3, 1, 2), (1, 2), 1, adding=(3,), removing=(1, 2))
    assert change(before, {1, 2, 3}).build() is None
    only_removing = partition((3, 1), (1,), 1, removing=(1,))
    assert change(only_removing, {1, 3}).build() is None


def test_as_many_new_replicas_as_go_complete_without_those_that_stay() -> None:
    before = partition((1, 2, 4, 3), (1, 3, 4), 1, adding=(4,), removing=(3,))
    after = result(before, change(before, {1, 2, 3, 4}))
    assert (after.replicas, after.isr, after.leader, after.leader_epoch) == ((1, 2, 4), (1, 4), 1, 5)
    # With fewer, there would be fewer copies than were asked for.
    fewer = partition((1, 2, 4, 3, 5), (1, 3, 4, 5), 1, adding=(4,), removing=(3, 5))
    assert change(fewer, {1, 2, 3, 4, 5}).build() is None


def test_a_new_replica_is_in_the_directory_that_its_broker_has_and_the_others_stay() -> None:
    before = partition((1, 2), (1, 2), 1)._replace(directories=(b"x" * 16, b"y" * 16))
    wanted = change(before, {1, 2})
    wanted.replicas, wanted.adding = [3, 2, 1], [3]
    after = result(before, wanted)
    assert after.directories == (directory(3), b"y" * 16, b"x" * 16)
    assert (after.leader, after.leader_epoch, after.adding) == (1, 4, (3,))


def test_fewer_in_sync_replicas_begin_an_epoch_before_metadata_version_12_only() -> None:
    before = partition((1, 2, 3), (1, 2), 1)
    for version, epoch in ((11, before.leader_epoch + 1), (12, before.leader_epoch)):
        wanted = change(before, {1, 2, 3}, elr_enabled=False, version=version)
        wanted.isr = [1]
        assert (result(before, wanted).leader, result(before, wanted).leader_epoch) == (1, epoch)
        grown = change(before, {1, 2, 3}, elr_enabled=False, version=version)
        grown.isr = [1, 2, 3]
        assert result(before, grown).leader_epoch == before.leader_epoch
