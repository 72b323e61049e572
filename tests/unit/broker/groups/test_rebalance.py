"""How classic groups form, change and fall apart."""

from __future__ import annotations

import pytest

from odradek.broker.groups.options import NEW_MEMBER_JOIN_TIMEOUT_MS, GroupOptions
from odradek.wire.errors import ErrorCode
from tests.unit.broker.groups.scene import (
    DELAY_MS,
    GROUP,
    REBALANCE_MS,
    SESSION_MS,
    SHARD,
    Groups,
    protocols,
)


def test_a_first_join_is_given_an_id_and_sent_back() -> None:
    groups = Groups()
    response = groups.answer(groups.join(client_id="app"))
    assert response.error_code == ErrorCode.MEMBER_ID_REQUIRED
    assert response.member_id.startswith("app-")
    assert groups.describe().group_state == "Empty"


def test_before_version_4_the_first_join_is_enough() -> None:
    groups = Groups()
    join = groups.join(version=3)
    groups.world.advance(DELAY_MS)
    response = groups.answer(join)
    assert (response.error_code, response.generation_id) == (ErrorCode.NONE, 1)
    assert response.leader == response.member_id


def test_the_initial_delay_gathers_members_into_one_generation() -> None:
    groups = Groups()
    answers = groups.form(3)
    assert {answer.generation_id for answer in answers} == {1}
    leader, *followers = answers
    assert sorted(member.member_id for member in leader.members) == sorted(answer.member_id for answer in answers)
    assert all(follower.members == [] and follower.leader == leader.member_id for follower in followers)
    assert all(answer.protocol_name == "range" and answer.protocol_type == "consumer" for answer in answers)


def test_the_initial_delay_is_prolonged_by_who_joins_late() -> None:
    groups = Groups()
    first, second = groups.new_id(), groups.new_id()
    early = groups.join(first)
    groups.world.advance(DELAY_MS - 1)
    late = groups.join(second)
    groups.world.advance(DELAY_MS)
    assert not early.done
    groups.world.advance(1)
    assert groups.answer(early).generation_id == groups.answer(late).generation_id == 1


def test_the_initial_delay_is_bounded_by_the_rebalance_timeout() -> None:
    groups = Groups()
    joins = [groups.join(groups.new_id(), rebalance_ms=7000)]
    for _ in range(7):
        groups.world.advance(1000)
        joins.append(groups.join(groups.new_id(), rebalance_ms=7000))
        if joins[0].done:
            break
    assert joins[0].done
    assert groups.world.monotonic_ms() == 7000


def test_members_get_what_the_leader_assigned() -> None:
    groups = Groups()
    answers = groups.form(2)
    ids = [answer.member_id for answer in answers]
    assert groups.sync_all(ids, 1) == [f"for {member_id}".encode() for member_id in ids]
    described = groups.describe()
    assert described.group_state == "Stable"
    assert described.protocol_data == "range"
    assert {member.client_host for member in described.members} == {"/127.0.0.1"}


def test_a_member_that_the_leader_forgot_gets_an_empty_assignment() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    parked = groups.sync(follower, 1)
    assert groups.answer(groups.sync(leader, 1, {leader: b"all"})).assignment == b"all"
    assert groups.answer(parked).assignment == b""


def test_a_late_sync_is_answered_from_the_stable_group() -> None:
    groups = Groups()
    leader, follower = groups.form(2)
    assignments = {leader.member_id: b"1", follower.member_id: b"2"}
    groups.answer(groups.sync(leader.member_id, 1, assignments))
    assert groups.answer(groups.sync(follower.member_id, 1)).assignment == b"2"


def test_a_leader_that_hands_in_two_assignments_gets_the_first_and_so_it_stays_after_a_restart() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    groups.log.commits_at_once = False
    first = groups.sync(leader, 1, {leader: b"1", follower: b"2"})
    second = groups.sync(leader, 1, {leader: b"2", follower: b"1"})
    assert groups.answer(first).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    groups.log.commit(SHARD)
    assert groups.answer(second).assignment == b"1"
    assert groups.answer(groups.sync(follower, 1)).assignment == b"2"
    groups.restart()
    assert groups.answer(groups.sync(follower, 1)).assignment == b"2"


def test_a_new_member_makes_everyone_join_again() -> None:
    groups = Groups()
    (first,) = groups.stable()
    second = groups.new_id()
    newcomer = groups.join(second)
    assert groups.heartbeat(first, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    assert not newcomer.done
    again = groups.join(first)
    assert groups.answer(again).generation_id == groups.answer(newcomer).generation_id == 2
    assert groups.heartbeat(first, 1) == ErrorCode.ILLEGAL_GENERATION
    assert groups.heartbeat(first, 2) == ErrorCode.NONE


def test_who_does_not_rejoin_in_time_is_out() -> None:
    groups = Groups()
    slow, other = groups.stable(2)
    newcomer = groups.join(groups.new_id())
    rejoin = groups.join(other)
    for _ in range(7):
        groups.world.advance(REBALANCE_MS / 8)
        groups.heartbeat(slow, 1)
    assert not newcomer.done
    groups.world.advance(REBALANCE_MS / 8)
    assert groups.answer(newcomer).generation_id == groups.answer(rejoin).generation_id == 2
    assert groups.answer(rejoin).leader != slow
    assert groups.heartbeat(slow, 2) == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_silent_member_is_out_after_its_session_timeout() -> None:
    groups = Groups()
    silent, other = groups.stable(2)
    groups.world.advance(SESSION_MS - 1)
    assert groups.heartbeat(other, 1) == ErrorCode.NONE
    groups.world.advance(1)
    assert groups.heartbeat(other, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    response = groups.answer(groups.join(other))
    assert (response.generation_id, response.leader) == (2, other)
    assert [member.member_id for member in response.members] == [other]
    assert groups.heartbeat(silent, 2) == ErrorCode.UNKNOWN_MEMBER_ID


def test_the_group_is_empty_when_the_last_member_is_gone() -> None:
    groups = Groups()
    groups.stable()
    groups.world.advance(SESSION_MS)
    described = groups.describe()
    assert (described.group_state, described.members, described.protocol_type) == ("Empty", [], "consumer")


def test_heartbeats_keep_a_session_alive() -> None:
    groups = Groups()
    (member,) = groups.stable()
    for _ in range(5):
        groups.world.advance(SESSION_MS - 1)
        assert groups.heartbeat(member, 1) == ErrorCode.NONE


def test_an_offset_commit_keeps_a_session_alive() -> None:
    groups = Groups()
    (member,) = groups.stable()
    for offset in range(3):
        groups.world.advance(SESSION_MS - 1)
        assert groups.commit(offset, member_id=member, generation=1) == ErrorCode.NONE


def test_a_handed_out_id_that_is_not_used_is_forgotten() -> None:
    groups = Groups()
    member_id = groups.new_id()
    groups.world.advance(SESSION_MS)
    assert groups.answer(groups.join(member_id)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_handed_out_id_is_waited_for() -> None:
    groups = Groups()
    (first,) = groups.stable()
    groups.new_id()
    parked = groups.join(first)
    assert not parked.done
    groups.world.advance(SESSION_MS)
    assert groups.answer(parked).generation_id == 2


def test_a_new_member_whose_client_is_gone_leaves_the_rebalance_alone() -> None:
    groups = Groups()
    (first,) = groups.stable()
    gone = groups.join(groups.new_id(), rebalance_ms=NEW_MEMBER_JOIN_TIMEOUT_MS * 3)
    for _ in range(int(NEW_MEMBER_JOIN_TIMEOUT_MS / SESSION_MS * 2)):
        groups.world.advance(SESSION_MS / 2)
        groups.heartbeat(first, 1)
    assert groups.answer(gone).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_who_does_not_sync_in_time_is_out() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    parked = groups.sync(follower, 1)
    for _ in range(7):
        groups.world.advance(REBALANCE_MS / 8)
        assert groups.heartbeat(leader, 1) == ErrorCode.NONE
    groups.world.advance(REBALANCE_MS / 8)
    assert groups.answer(parked).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert groups.heartbeat(leader, 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.answer(groups.join(follower)).leader == follower


def test_leaving_starts_a_rebalance_and_the_next_in_line_leads() -> None:
    groups = Groups()
    leader, follower = groups.stable(2)
    response = groups.leave((leader, None), ("stranger", None))
    assert [member.error_code for member in response.members] == [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID]
    assert groups.heartbeat(follower, 1) == ErrorCode.REBALANCE_IN_PROGRESS
    assert groups.answer(groups.join(follower)).leader == follower


def test_leaving_answers_a_parked_join() -> None:
    groups = Groups()
    first, second = groups.stable(2)
    groups.join(first)
    parked = groups.join(second, offers=protocols("range", metadata=b""))
    groups.leave((first, None))
    assert groups.answer(parked).generation_id == 2


def test_a_rejoin_with_nothing_new_repeats_the_generation() -> None:
    groups = Groups()
    _, follower = groups.stable(2)
    response = groups.answer(groups.join(follower))
    assert (response.generation_id, response.error_code, response.members) == (1, ErrorCode.NONE, [])
    assert groups.describe().group_state == "Stable"


@pytest.mark.parametrize("who", ["leader", "follower with new metadata"])
def test_a_rejoin_with_something_new_starts_a_rebalance(who: str) -> None:
    groups = Groups()
    leader, follower = groups.stable(2)
    if who == "leader":
        groups.join(leader)
    else:
        groups.join(follower, offers=protocols("range", metadata=b"\0\1"))
    assert groups.describe().group_state == "PreparingRebalance"


def test_most_votes_win_among_what_all_support() -> None:
    groups = Groups()
    offers = [("roundrobin", "range"), ("range", "roundrobin", "sticky"), ("sticky", "roundrobin", "range")]
    joins = [groups.join(groups.new_id(), offers=protocols(*names)) for names in offers]
    groups.world.advance(DELAY_MS * 2)
    assert {groups.answer(join).protocol_name for join in joins} == {"roundrobin"}


@pytest.mark.parametrize("offer", [{"protocol_type": "connect"}, {"offers": protocols("zigzag")}, {"offers": []}])
def test_a_member_that_cannot_agree_with_the_others_is_refused(offer: dict[str, object]) -> None:
    groups = Groups()
    groups.stable()
    response = groups.answer(groups.join(**offer))  # type: ignore[arg-type] # the parameters are typed by hand
    assert response.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        ({"group": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_ms": 5999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"member_id": "stranger"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"offers": []}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": ""}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
def test_joins_that_are_refused(refused: dict[str, object], code: ErrorCode) -> None:
    groups = Groups()
    response = groups.answer(groups.join(**refused))  # type: ignore[arg-type] # the parameters are typed by hand
    assert response.error_code == code


def test_a_full_group_refuses_newcomers_and_keeps_its_members() -> None:
    groups = Groups(GroupOptions(max_size=2))
    leader, _ = groups.stable(2)
    assert groups.answer(groups.join()).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    groups.join(leader)
    assert groups.describe().group_state == "PreparingRebalance"


def test_a_full_rebalance_refuses_who_comes_last() -> None:
    groups = Groups(GroupOptions(max_size=2))
    ids = [groups.new_id() for _ in range(3)]
    joins = [groups.join(member_id) for member_id in ids]
    assert groups.answer(joins[2]).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert not joins[0].done


def test_sync_errors() -> None:
    groups = Groups()
    (member,) = groups.stable()
    assert groups.answer(groups.sync(member, 2)).error_code == ErrorCode.ILLEGAL_GENERATION
    assert groups.answer(groups.sync("stranger", 1)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.answer(groups.sync(member, 1, protocol="zigzag")).error_code == (
        ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    )
    assert groups.answer(groups.sync(member, 1, group="none")).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    groups.join(groups.new_id())
    assert groups.answer(groups.sync(member, 1)).error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_a_rebalance_tells_those_who_wait_for_an_assignment() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    parked = groups.sync(follower, 1)
    groups.leave((leader, None))
    assert groups.answer(parked).error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_unknown_groups_and_members() -> None:
    groups = Groups()
    assert groups.heartbeat("m", 1, group="none") == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.heartbeat("m", 1, group="") == ErrorCode.INVALID_GROUP_ID
    response = groups.leave(("m", None), group="none")
    assert response.error_code == ErrorCode.NONE
    assert response.members[0].error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.leave(("m", None), group="").error_code == ErrorCode.INVALID_GROUP_ID


def test_a_lost_assignment_sends_everyone_back_to_join() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    groups.log.commits_at_once = False
    parked = [groups.sync(follower, 1), groups.sync(leader, 1, {leader: b"1", follower: b"2"})]
    groups.world.advance(groups.options.commit_timeout_ms)
    assert {groups.answer(sync).error_code for sync in parked} == {ErrorCode.COORDINATOR_NOT_AVAILABLE}
    groups.log.commits_at_once = True
    groups.log.commit(SHARD)
    assert groups.heartbeat(leader, 1) == ErrorCode.REBALANCE_IN_PROGRESS


def test_the_assignment_is_told_once_it_is_committed() -> None:
    groups = Groups()
    leader, follower = (answer.member_id for answer in groups.form(2))
    groups.log.commits_at_once = False
    parked = [groups.sync(follower, 1), groups.sync(leader, 1, {leader: b"1", follower: b"2"})]
    groups.world.run_soon()
    assert not any(sync.done for sync in parked)
    assert groups.describe().group_state == "CompletingRebalance"
    groups.log.commit(SHARD)
    assert [groups.answer(sync).assignment for sync in parked] == [b"2", b"1"]
    assert groups.describe().group_state == "Stable"


def test_an_assignment_that_is_overtaken_by_a_rebalance_is_not_handed_out() -> None:
    groups = Groups()
    (leader,) = (answer.member_id for answer in groups.form(1))
    groups.log.commits_at_once = False
    overtaken = groups.sync(leader, 1, {leader: b"old"})
    newcomer = groups.join(version=3)
    assert groups.answer(overtaken).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    rejoin = groups.join(leader)
    assert groups.answer(newcomer).generation_id == groups.answer(rejoin).generation_id == 2
    groups.log.commit(SHARD)
    assert groups.describe().group_state == "CompletingRebalance"


def test_nobody_has_an_assignment_when_assigning_failed() -> None:
    groups = Groups()
    first, second = groups.stable(2)
    newcomer = groups.join(version=3)
    for member_id in (first, second):
        groups.join(member_id)
    assert groups.answer(newcomer).generation_id == 2
    assert {member.member_assignment for member in groups.describe().members} != {b""}
    groups.leave((second, None))
    assert {member.member_assignment for member in groups.describe().members} == {b""}


def test_members_roll_through_a_restart_of_each() -> None:
    groups = Groups()
    ids = groups.stable(3)
    generation = 1
    for _ in range(3):
        leaving = ids.pop(0)
        groups.leave((leaving, None))
        newcomer = groups.new_id()
        joins = [groups.join(member_id) for member_id in (*ids, newcomer)]
        answers = sorted((groups.answer(join) for join in joins), key=lambda answer: answer.leader != answer.member_id)
        ids = [answer.member_id for answer in answers]
        generation += 1
        assert {answer.generation_id for answer in answers} == {generation}
        groups.sync_all(ids, generation)
    described = groups.describe()
    assert described.group_state == "Stable"
    assert sorted(member.member_id for member in described.members) == sorted(ids)
    assert described.group_id == GROUP
