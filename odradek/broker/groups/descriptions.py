"""DescribeGroups and ListGroups of one shard."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.table import Group, GroupTable
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_groups import DescribedGroup, DescribedGroupMember
from odradek.wire.messages.list_groups import ListedGroup

CLASSIC_TYPE = "classic"
CONSUMER_TYPE = "consumer"
FIRST_WITH_GROUP_ID_NOT_FOUND = 6


class Descriptions:
    """Which groups there are is told as of the committed log; their members are those of now."""

    def __init__(self, table: GroupTable) -> None:
        self._table = table

    def describe(self, group_ids: Sequence[str], version: int) -> list[DescribedGroup]:
        """The groups; one that does not exist is Dead, with GROUP_ID_NOT_FOUND from version 6 on (KIP-1043)."""
        return [self._describe(group_id, version) for group_id in group_ids]

    def list_groups(self, states: Sequence[str], types: Sequence[str]) -> list[ListedGroup]:
        """The groups in one of `states` and of one of `types`, both in any case; an empty filter lets all pass."""
        wanted = {state.lower().strip() for state in states}
        kinds = {name.lower().strip() for name in types}
        listed = [_listed(group_id, group) for group_id, group in self._table.groups.committed_items()]
        return [
            group
            for group in listed
            if (not wanted or group.group_state.lower() in wanted) and (not kinds or group.group_type in kinds)
        ]

    def _describe(self, group_id: str, version: int) -> DescribedGroup:
        group = self._table.groups.committed(group_id)
        if isinstance(group, ClassicGroup):
            is_stable = group.state is GroupState.STABLE
            return DescribedGroup(
                group_id=group_id,
                group_state=group.state.value,
                protocol_type=group.protocol_type or "",
                protocol_data=group.protocol or "" if is_stable else "",
                members=_members(group, with_metadata=is_stable),
            )
        if version < FIRST_WITH_GROUP_ID_NOT_FOUND:
            return DescribedGroup(group_id=group_id, group_state=GroupState.DEAD.value)
        return DescribedGroup(
            group_id=group_id,
            group_state=GroupState.DEAD.value,
            error_code=ErrorCode.GROUP_ID_NOT_FOUND,
            error_message=f"Group {group_id} not found."
            if group is None
            else f"Group {group_id} is not a classic group.",
        )


def _listed(group_id: str, group: Group) -> ListedGroup:
    is_classic = isinstance(group, ClassicGroup)
    state = group.state if isinstance(group, ClassicGroup) else group.committed_state()
    return ListedGroup(
        group_id=group_id,
        protocol_type=group.protocol_type or "",
        group_state=state.value,
        group_type=CLASSIC_TYPE if is_classic else CONSUMER_TYPE,
    )


def _members(group: ClassicGroup, *, with_metadata: bool) -> list[DescribedGroupMember]:
    return [
        DescribedGroupMember(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            member_metadata=member.metadata(group.protocol) if with_metadata else b"",
            member_assignment=member.assignment,
        )
        for member in group.members.values()
    ]
