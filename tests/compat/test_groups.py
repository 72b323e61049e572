"""Classic consumer groups, request by request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.sync_group import SyncGroupResponse
from tests.support.groups import RawMember
from tests.support.process import wait_for
from tests.support.requests import await_coordinator, code
from tests.support.targets import Target
from tests.support.wire import Connection

Unique = Callable[[str], str]
NewMember = Callable[..., RawMember]


@pytest.fixture
def group(connection: Connection, unique: Unique) -> str:
    """A group id whose coordinator answers."""
    name = unique("group")
    await_coordinator(connection, name)
    return name


@pytest.fixture
def new_member(target: Target, group: str) -> Iterator[NewMember]:
    """Makes members of this test's group."""
    members: list[RawMember] = []

    def make(**options: object) -> RawMember:
        members.append(RawMember(target, group, **options))  # type: ignore[arg-type]  # passed on as they are
        return members[-1]

    yield make
    for member in members:
        member.close()


def describe(connection: Connection, group: str) -> DescribedGroup:
    return connection.call(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse).groups[0]


def join_all(leader: RawMember, *others: RawMember) -> None:
    """Form the next generation of a group: the leader is in it or founds it, the others come or stay."""
    if leader.generation < 0:
        leader.join()
        leader.sync({leader.member_id: b""})
    for member in others:
        if not member.member_id:
            member.get_member_id()
        member.start_join()
    wait_for(lambda: leader.heartbeat() == "REBALANCE_IN_PROGRESS", "a rebalance")
    leader.start_join()
    for member in (leader, *others):
        assert code(member.finish_join().error_code) == "NONE"


@pytest.mark.parametrize("version", range(7))
def test_find_coordinator_in_every_version(target: Target, connection: Connection, group: str, version: int) -> None:
    """Versions 0 to 6; KIP-699 asks for many keys from 4 on."""
    many = version >= 4
    request = FindCoordinatorRequest(coordinator_keys=[group]) if many else FindCoordinatorRequest(key=group)
    answer = connection.call(request, FindCoordinatorResponse, version)
    found = answer.coordinators[0] if many else answer
    assert (code(found.error_code), found.host, found.port) == ("NONE", target.host, target.port)


def test_find_coordinator_with_an_unknown_type(connection: Connection) -> None:
    """INVALID_REQUEST."""
    request = FindCoordinatorRequest(key_type=9, coordinator_keys=["x"])
    assert code(connection.call(request, FindCoordinatorResponse, 4).coordinators[0].error_code) == "INVALID_REQUEST"


def test_a_new_dynamic_member_is_told_its_id_first(new_member: NewMember) -> None:
    """KIP-394: MEMBER_ID_REQUIRED, then the same id joins; the id starts with the client id."""
    member = new_member()
    member.start_join()
    first = member.finish_join()
    assert code(first.error_code) == "MEMBER_ID_REQUIRED"
    assert first.member_id.startswith("raw-")
    member.start_join()
    second = member.finish_join()
    assert (code(second.error_code), second.member_id) == ("NONE", first.member_id)


@pytest.mark.parametrize("version", range(2, 4))
def test_old_versions_join_at_once(new_member: NewMember, version: int) -> None:
    """Before version 4 of JoinGroup there is no MEMBER_ID_REQUIRED."""
    member = new_member()
    member.start_join(version)
    assert code(member.finish_join(version).error_code) == "NONE"


def test_the_first_member_leads_generation_1(new_member: NewMember) -> None:
    """The leader sees all members with their metadata."""
    member = new_member(protocols=("range", "roundrobin"))
    answer = member.join()
    assert (answer.generation_id, answer.leader, answer.protocol_name) == (1, member.member_id, "range")
    assert answer.protocol_type == "consumer"
    assert [(entry.member_id, entry.metadata) for entry in answer.members] == [(member.member_id, b"range")]
    assert not answer.skip_assignment


def test_sync_hands_out_the_leaders_assignment(new_member: NewMember) -> None:
    """SyncGroup: followers wait for the leader, and each gets its own part."""
    leader, follower = new_member(), new_member()
    join_all(leader, follower)
    waiting = follower.connection.send(follower.sync_request(), 5)
    answer = leader.sync({leader.member_id: b"for the leader", follower.member_id: b"for the follower"})
    assert (answer.assignment, answer.protocol_name) == (b"for the leader", "range")
    assert follower.connection.receive(SyncGroupResponse, 5, waiting).assignment == b"for the follower"
    assert leader.heartbeat() == follower.heartbeat() == "NONE"


def test_only_the_leader_sees_the_members(new_member: NewMember) -> None:
    """Followers get an empty list, and every generation is one higher."""
    leader, follower, late = new_member(), new_member(), new_member()
    join_all(leader, follower)
    leader.sync({})
    follower.sync()
    late.get_member_id()
    late.start_join()
    for member in (leader, follower):
        wait_for(lambda member=member: member.heartbeat() == "REBALANCE_IN_PROGRESS", "a rebalance")  # type: ignore[misc]  # binds the loop's value
        member.start_join()
    answers = [member.finish_join() for member in (leader, follower, late)]
    assert {answer.generation_id for answer in answers} == {3}
    assert [len(answer.members) for answer in answers] == [3, 0, 0]
    assert {answer.leader for answer in answers} == {leader.member_id}


def test_the_protocol_is_one_that_all_members_support(new_member: NewMember) -> None:
    """Each member votes for its first among the common ones."""
    leader, follower = new_member(protocols=("range", "sticky")), new_member(protocols=("sticky", "cooperative"))
    leader.join()
    leader.sync({})
    follower.get_member_id()
    follower.start_join()
    leader.start_join()
    assert leader.finish_join().protocol_name == follower.finish_join().protocol_name == "sticky"


def test_a_member_without_a_common_protocol_is_refused(new_member: NewMember) -> None:
    """INCONSISTENT_GROUP_PROTOCOL, for its protocols or for its type."""
    new_member(protocols=("range",)).join()
    for stranger in (new_member(protocols=("other",)), new_member(protocol_type="connect")):
        stranger.start_join()
        assert code(stranger.finish_join().error_code) == "INCONSISTENT_GROUP_PROTOCOL"


@pytest.mark.parametrize("timeout_ms", [1, 100_000_000])
def test_session_timeouts_outside_the_limits(new_member: NewMember, timeout_ms: int) -> None:
    """group.min.session.timeout.ms and group.max.session.timeout.ms: INVALID_SESSION_TIMEOUT."""
    member = new_member(session_timeout_ms=timeout_ms)
    member.start_join()
    assert code(member.finish_join().error_code) == "INVALID_SESSION_TIMEOUT"


def test_an_empty_group_id_is_invalid(target: Target, connection: Connection) -> None:
    """INVALID_GROUP_ID."""
    member = RawMember(target, "")
    member.start_join()
    assert code(member.finish_join().error_code) == "INVALID_GROUP_ID"
    assert member.heartbeat() == "INVALID_GROUP_ID"
    member.close()


def test_who_the_group_does_not_know(new_member: NewMember, new_topic: Callable[..., str]) -> None:
    """UNKNOWN_MEMBER_ID for a stranger, ILLEGAL_GENERATION for a member of another time."""
    member, stranger, topic = new_member(), new_member(), new_topic()
    member.join()
    member.sync({})
    stranger.member_id, stranger.generation = "stranger", member.generation
    assert stranger.heartbeat() == stranger.leave() == stranger.commit(topic, 0) == "UNKNOWN_MEMBER_ID"
    assert code(stranger.sync().error_code) == "UNKNOWN_MEMBER_ID"
    stranger.start_join()
    assert code(stranger.finish_join().error_code) == "UNKNOWN_MEMBER_ID"
    member.generation += 1
    assert member.heartbeat() == member.commit(topic, 0) == "ILLEGAL_GENERATION"
    assert code(member.sync().error_code) == "ILLEGAL_GENERATION"


def test_sync_with_another_protocol(new_member: NewMember) -> None:
    """KIP-559: INCONSISTENT_GROUP_PROTOCOL when the member means another protocol than the group."""
    member = new_member()
    member.join()
    member.protocols = ("other",)
    assert code(member.sync({}).error_code) == "INCONSISTENT_GROUP_PROTOCOL"


def test_a_member_that_leaves_makes_the_others_rebalance(new_member: NewMember) -> None:
    """LeaveGroup."""
    leader, follower = new_member(), new_member()
    join_all(leader, follower)
    leader.sync({})
    follower.sync()
    assert follower.leave() == "NONE"
    wait_for(lambda: leader.heartbeat() == "REBALANCE_IN_PROGRESS", "a rebalance")
    answer = leader.join()
    assert [entry.member_id for entry in answer.members] == [leader.member_id]
    assert follower.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_a_member_that_stays_silent_is_removed(connection: Connection, group: str, new_member: NewMember) -> None:
    """session.timeout.ms: no heartbeat, no membership."""
    member = new_member(session_timeout_ms=400)
    member.join()
    member.sync({})
    assert member.heartbeat() == "NONE"
    wait_for(lambda: describe(connection, group).group_state == "Empty", "the end of a session")
    assert member.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_heartbeats_keep_a_session_alive(new_member: NewMember) -> None:
    """Each heartbeat starts the time-out again."""
    member = new_member(session_timeout_ms=900)
    member.join()
    member.sync({})
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert member.heartbeat() == "NONE"
        time.sleep(0.1)


def test_a_member_that_misses_the_rebalance_is_removed(new_member: NewMember) -> None:
    """rebalance.timeout.ms: the others do not wait longer."""
    silent = new_member(rebalance_timeout_ms=600, session_timeout_ms=20_000)
    newcomer = new_member(rebalance_timeout_ms=600)
    silent.join()
    silent.sync({})
    begun = time.monotonic()
    answer = newcomer.join()
    assert 0.4 <= time.monotonic() - begun < 8
    assert (answer.leader, len(answer.members)) == (newcomer.member_id, 1)
    assert silent.heartbeat() == "UNKNOWN_MEMBER_ID"


def test_a_group_has_a_largest_size(target: Target, connection: Connection, group: str, new_member: NewMember) -> None:
    """group.max.size: GROUP_MAX_SIZE_REACHED."""
    limit = int(target.overrides.get("group.max.size", "0"))
    if not limit:
        pytest.skip("the broker's group.max.size is not known")
    join_all(*(new_member() for _ in range(limit)))
    late = new_member()
    late.start_join()
    answer = late.finish_join()
    if code(answer.error_code) == "MEMBER_ID_REQUIRED":
        late.start_join()
        answer = late.finish_join()
    assert code(answer.error_code) == "GROUP_MAX_SIZE_REACHED"


def test_a_static_member_that_comes_back_does_not_disturb_the_others(new_member: NewMember) -> None:
    """KIP-345: a new member id, the same generation, and the leader's place without a new assignment."""
    first, other = new_member(instance="a"), new_member(instance="b")
    join_all(first, other)
    first.sync({first.member_id: b"A", other.member_id: b"B"})
    assert other.sync().assignment == b"B"
    back = new_member(instance="b")
    back.start_join()
    answer = back.finish_join()
    assert (code(answer.error_code), answer.generation_id) == ("NONE", other.generation)
    assert answer.member_id != other.member_id
    assert back.sync().assignment == b"B"
    assert first.heartbeat() == "NONE"
    assert other.heartbeat() == "FENCED_INSTANCE_ID"


def test_a_static_leader_that_comes_back_is_told_to_skip_the_assignment(new_member: NewMember) -> None:
    """KIP-814: skip_assignment, with the members, in version 9."""
    leader = new_member(instance="leader")
    leader.join()
    leader.sync({leader.member_id: b"all"})
    back = new_member(instance="leader")
    back.start_join()
    answer = back.finish_join()
    assert answer.skip_assignment
    assert answer.leader == back.member_id
    assert back.sync().assignment == b"all"


def test_an_admin_removes_static_members_by_their_instance(
    connection: Connection, group: str, new_member: NewMember
) -> None:
    """KIP-345's batch leave: an unknown instance is an error of its own."""
    member = new_member(instance="one")
    member.join()
    member.sync({})
    identities = [MemberIdentity(member_id="", group_instance_id=name) for name in ("one", "nobody")]
    answer = connection.call(LeaveGroupRequest(group_id=group, members=identities), LeaveGroupResponse)
    assert [code(entry.error_code) for entry in answer.members] == ["NONE", "UNKNOWN_MEMBER_ID"]
    assert describe(connection, group).group_state == "Empty"


def test_describe_group_follows_its_life(connection: Connection, group: str, new_member: NewMember) -> None:
    """Dead, CompletingRebalance, Stable, Empty."""
    unknown = describe(connection, group)
    assert (unknown.group_state, unknown.members) == ("Dead", [])
    assert code(unknown.error_code) == "GROUP_ID_NOT_FOUND"
    member = new_member()
    member.join()
    assert describe(connection, group).group_state == "CompletingRebalance"
    member.sync({member.member_id: b"mine"})
    stable = describe(connection, group)
    assert (stable.group_state, stable.protocol_type, stable.protocol_data) == ("Stable", "consumer", "range")
    (described,) = stable.members
    assert (described.member_id, described.client_id, described.client_host) == (
        member.member_id,
        "raw",
        "/127.0.0.1",
    )
    assert (described.member_metadata, described.member_assignment) == (b"range", b"mine")
    member.leave()
    empty = describe(connection, group)
    assert (empty.group_state, empty.protocol_type, empty.protocol_data) == ("Empty", "consumer", "")


def test_before_version_6_an_unknown_group_is_dead_without_an_error(connection: Connection, group: str) -> None:
    """KIP-1043."""
    described = connection.call(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse, 5).groups[0]
    assert (code(described.error_code), described.group_state) == ("NONE", "Dead")


def test_list_groups_filters(connection: Connection, group: str, new_member: NewMember) -> None:
    """KIP-518 by state, KIP-848 by type; both without regard to case."""
    member = new_member()
    member.join()
    member.sync({})

    def listed(states: list[str], types: list[str]) -> tuple[str, str, str] | None:
        request = ListGroupsRequest(states_filter=states, types_filter=types)
        for entry in connection.call(request, ListGroupsResponse).groups:
            if entry.group_id == group:
                return entry.group_state, entry.group_type, entry.protocol_type
        return None

    assert listed([], []) == ("Stable", "classic", "consumer")
    assert listed(["stable"], ["Classic"]) == ("Stable", "classic", "consumer")
    assert listed(["Empty"], []) is None
    assert listed([], ["consumer"]) is None


def test_delete_groups(connection: Connection, group: str, new_member: NewMember, unique: Unique) -> None:
    """KIP-229: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, and gone."""

    def delete(name: str) -> str:
        answer = connection.call(DeleteGroupsRequest(groups_names=[name]), DeleteGroupsResponse)
        return code(answer.results[0].error_code)

    member = new_member()
    member.join()
    member.sync({})
    assert delete(group) == "NON_EMPTY_GROUP"
    member.leave()
    assert delete(group) == "NONE"
    assert delete(group) == delete(unique("nobody")) == "GROUP_ID_NOT_FOUND"
    assert describe(connection, group).group_state == "Dead"
