"""Members with a group instance id (KIP-345): they come back under the same name."""

from __future__ import annotations

import pytest

from odradek.broker.groups.options import GroupOptions
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.join_group import JoinGroupResponse
from tests.unit.broker.coordinator.fake_log import NO_LEADER
from tests.unit.broker.groups.scene import DELAY_MS, SESSION_MS, SHARD, Groups, protocols


def stable(groups: Groups, *instances: str) -> list[str]:
    """A stable group of static members; their ids, the leader's first."""
    joins = [groups.join(instance=instance) for instance in instances]
    groups.world.advance(DELAY_MS * 2)
    answers = [groups.answer(join) for join in joins]
    ids = [answer.member_id for answer in answers]
    assert answers[0].leader == ids[0]
    assignments = {member_id: instance.encode() for member_id, instance in zip(ids, instances, strict=True)}
    followers = [
        groups.sync(member_id, 1, instance=instance) for member_id, instance in zip(ids[1:], instances[1:], strict=True)
    ]
    groups.answer(groups.sync(ids[0], 1, assignments, instance=instances[0]))
    assert all(follower.done for follower in followers)
    return ids


def test_a_static_member_joins_at_once_with_an_id_of_its_instance() -> None:
    groups = Groups()
    join = groups.join(instance="i1")
    groups.world.advance(DELAY_MS)
    assert groups.answer(join).member_id.startswith("i1-")


def test_a_follower_that_comes_back_keeps_assignment_and_generation() -> None:
    groups = Groups()
    _, old = stable(groups, "i1", "i2")
    back = groups.answer(groups.join(instance="i2"))
    assert (back.error_code, back.generation_id) == (ErrorCode.NONE, 1)
    assert back.member_id != old
    assert groups.answer(groups.sync(back.member_id, 1, instance="i2")).assignment == b"i2"
    assert groups.describe().group_state == "Stable"
    assert groups.heartbeat(old, 1, instance="i2") == ErrorCode.FENCED_INSTANCE_ID
    assert groups.heartbeat(old, 1) == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_leader_that_comes_back_is_told_to_leave_the_assignment_alone() -> None:
    groups = Groups()
    stable(groups, "i1", "i2")
    back = groups.answer(groups.join(instance="i1"))
    assert (back.leader, back.skip_assignment) == (back.member_id, True)
    assert len(back.members) == 2


def test_an_old_client_that_led_is_told_of_its_former_self() -> None:
    groups = Groups()
    old, _ = stable(groups, "i1", "i2")
    back = groups.answer(groups.join(instance="i1", version=8))
    assert (back.leader, back.skip_assignment, back.members) == (old, False, [])
    assert groups.heartbeat(back.member_id, 1, instance="i1") == ErrorCode.NONE


def test_a_static_member_that_is_back_in_time_causes_no_rebalance() -> None:
    groups = Groups()
    leader, _ = stable(groups, "i1", "i2")
    groups.world.advance(SESSION_MS - 1)
    groups.heartbeat(leader, 1)
    groups.answer(groups.join(instance="i2"))
    groups.world.advance(2)
    assert groups.heartbeat(leader, 1) == ErrorCode.NONE


def test_a_change_of_the_selected_protocol_rebalances() -> None:
    groups = Groups()
    joins = [groups.join(instance=name, offers=protocols("a", "b")) for name in ("i1", "i2")]
    groups.world.advance(DELAY_MS * 2)
    ids = [groups.answer(join).member_id for join in joins]
    groups.answer(groups.sync(ids[0], 1, {ids[0]: b"1", ids[1]: b"2"}, instance="i1", protocol="a"))
    groups.join(instance="i2", offers=protocols("b"))
    assert groups.describe().group_state == "PreparingRebalance"


def test_coming_back_while_the_leader_assigns_starts_over() -> None:
    groups = Groups()
    joins = [groups.join(instance=name) for name in ("i1", "i2")]
    groups.world.advance(DELAY_MS * 2)
    first, _ = (groups.answer(join) for join in joins)
    back = groups.join(instance="i2")
    assert groups.describe().group_state == "PreparingRebalance"
    assert groups.answer(groups.join(first.member_id, instance="i1")).generation_id == 2
    assert groups.answer(back).generation_id == 2


def test_the_former_self_of_a_static_member_is_fenced_at_once() -> None:
    groups = Groups()
    zombie = groups.join(instance="i1")
    second = groups.join(instance="i1")
    assert groups.answer(zombie).error_code == ErrorCode.FENCED_INSTANCE_ID
    groups.world.advance(DELAY_MS)
    assert groups.answer(second).error_code == ErrorCode.NONE


def test_the_wrong_instance_is_fenced_everywhere() -> None:
    groups = Groups()
    first, second = stable(groups, "i1", "i2")
    assert groups.answer(groups.join(first, instance="i2")).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert groups.answer(groups.join(first, instance="none")).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.answer(groups.sync(first, 1, instance="i2")).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert groups.heartbeat(first, 1, instance="i2") == ErrorCode.FENCED_INSTANCE_ID
    assert groups.commit(1, member_id=first, generation=1, instance="i2") == ErrorCode.FENCED_INSTANCE_ID
    response = groups.leave((first, "i2"))
    assert response.members[0].error_code == ErrorCode.FENCED_INSTANCE_ID
    assert groups.heartbeat(second, 1, instance="i2") == ErrorCode.NONE


def test_an_administrator_removes_a_static_member_by_its_instance() -> None:
    groups = Groups()
    stable(groups, "i1", "i2")
    response = groups.leave(("", "i2"), ("", "none"), ("", None))
    assert [member.error_code for member in response.members] == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]
    assert groups.describe().group_state == "PreparingRebalance"


def test_a_static_member_that_stays_away_holds_the_rebalance_up_until_its_session_ends() -> None:
    groups = Groups(GroupOptions())
    first, second = stable(groups, "i1", "i2")
    groups.leave((first, "i1"))
    groups.heartbeat(second, 1, instance="i2")
    join = groups.join(groups.new_id())
    groups.world.advance(SESSION_MS - 1)
    assert not join.done
    groups.world.advance(1)
    answer = groups.answer(join)
    assert [member.member_id for member in answer.members] == [answer.member_id]


def test_a_static_member_that_did_not_rejoin_is_still_in_the_next_generation() -> None:
    groups = Groups()
    joins = [groups.join(instance=name, session_ms=100_000, rebalance_ms=10_000) for name in ("i1", "i2")]
    groups.world.advance(DELAY_MS * 2)
    first, second = (groups.answer(join).member_id for join in joins)
    groups.answer(groups.sync(first, 1, {}, instance="i1"))
    groups.answer(groups.sync(second, 1, {}, instance="i2"))
    again = groups.join(first, instance="i1", session_ms=100_000, rebalance_ms=10_000)
    groups.world.advance(10_000)
    answer = groups.answer(again)
    assert answer.generation_id == 2
    assert [member.member_id for member in answer.members] == [first, second]


def test_a_replacement_that_a_rebalance_overtakes_joins_that() -> None:
    groups = Groups()
    first, _ = stable(groups, "i1", "i2")
    groups.log.commits_at_once = False
    back = groups.join(instance="i2")
    again = groups.join(first, instance="i1")
    groups.log.commit(SHARD)
    assert groups.answer(again).generation_id == groups.answer(back).generation_id == 2


def test_a_replacement_that_a_rebalance_awaits_is_not_told_of_the_old_generation() -> None:
    groups = Groups()
    first, _ = stable(groups, "i1", "i2")
    groups.log.commits_at_once = False
    back = groups.join(instance="i2")
    groups.join(version=3)
    groups.log.commit(SHARD)
    groups.world.run_soon()
    assert not back.done
    assert groups.answer(groups.join(first, instance="i1")).generation_id == 2
    assert groups.answer(back).generation_id == 2


def test_a_replacement_that_cannot_be_stored_is_taken_back() -> None:
    groups = Groups()
    _, old = stable(groups, "i1", "i2")
    groups.log.append_error = NO_LEADER
    answer: JoinGroupResponse = groups.answer(groups.join(instance="i2"))
    assert (answer.error_code, answer.member_id) == (ErrorCode.NOT_COORDINATOR, "")
    groups.log.append_error = None
    assert groups.heartbeat(old, 1, instance="i2") == ErrorCode.NONE


@pytest.mark.parametrize("restart", [False, True])
def test_static_members_survive_a_restart(restart: bool) -> None:
    groups = Groups()
    _, old = stable(groups, "i1", "i2")
    if restart:
        groups.restart()
    back = groups.answer(groups.join(instance="i2"))
    assert back.generation_id == 1
    groups.restart()
    assert groups.heartbeat(back.member_id, 1, instance="i2") == ErrorCode.NONE
    assert groups.heartbeat(old, 1, instance="i2") == ErrorCode.FENCED_INSTANCE_ID
    assert groups.log.high_watermarks[SHARD] == groups.log.end(SHARD)
