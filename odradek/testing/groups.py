"""`EmbeddedKafka.group`: a group as its coordinator has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from odradek.testing.group_inspection import find_group
from odradek.testing.host import Host
from odradek.testing.states import STABLE, GroupInfo, GroupMember
from odradek.testing.waiting import TIMEOUT_S, Wait, block, give_way, now, until


class EmbeddedGroup:
    """A group of an `EmbeddedKafka`, classic or consumer, which need not exist yet. Each use looks anew.

    RuntimeError while no nodes run.
    """

    def __init__(self, host: Callable[[], Host], group_id: str) -> None:
        self._host = host
        self.group_id = group_id

    @property
    def exists(self) -> bool:
        """Whether there is such a group."""
        return self.describe().exists

    @property
    def state(self) -> str:
        """Kafka's name of its state: Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling, Stable.

        Dead if there is no such group.
        """
        return self.describe().state

    @property
    def members(self) -> Sequence[GroupMember]:
        """Its members; their assignments are known while it is stable."""
        return self.describe().members

    @property
    def assignment(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """The partitions that each member has: by member id and topic."""
        return {member.member_id: member.assignment for member in self.members}

    @property
    def committed_offsets(self) -> Mapping[str, Mapping[int, int]]:
        """By topic and partition."""
        return self.describe().committed_offsets

    @property
    def lag(self) -> Mapping[str, Mapping[int, int]]:
        """How many offsets are behind what is committed, by topic and partition: see `GroupInfo.lag`."""
        return self.describe().lag

    @property
    def total_lag(self) -> int:
        """The sum of `lag`."""
        return self.describe().total_lag

    def describe(self) -> GroupInfo:
        """All of these, as they were at one moment."""
        return now(self._look(block))

    def wait_for_stable(self, members: int | None = None, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """Wait until all members (`members` of them) have what they are to have; returns the group.

        Raises WaitTimeoutError.
        """
        return now(self._stable(block, members, timeout_s))

    async def wait_for_stable_async(self, members: int | None = None, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """As `wait_for_stable`, while the caller's event loop goes on."""
        return await self._stable(give_way, members, timeout_s)

    def wait_for_lag(self, at_most: int = 0, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """Wait until the group has topics, and committed all but so many of their records; returns the group.

        Raises WaitTimeoutError.
        """
        return now(self._lag(block, at_most, timeout_s))

    async def wait_for_lag_async(self, at_most: int = 0, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """As `wait_for_lag`, while the caller's event loop goes on."""
        return await self._lag(give_way, at_most, timeout_s)

    def wait_for_state(self, state: str, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """Wait until the group is in a state, such as Empty; returns it. Raises WaitTimeoutError."""
        return now(self._until(block, lambda group: group.state == state, f"not {state}", timeout_s))

    async def wait_for_state_async(self, state: str, *, timeout_s: float = TIMEOUT_S) -> GroupInfo:
        """As `wait_for_state`, while the caller's event loop goes on."""
        return await self._until(give_way, lambda group: group.state == state, f"not {state}", timeout_s)

    def __repr__(self) -> str:
        return f"<EmbeddedGroup {self.group_id}>"

    async def _look(self, wait: Wait) -> GroupInfo:
        return await wait(self._host().call(find_group, self.group_id))

    async def _stable(self, wait: Wait, members: int | None, timeout_s: float) -> GroupInfo:
        def is_stable(group: GroupInfo) -> bool:
            return group.state == STABLE and (members is None or len(group.members) == members)

        wanted = "not stable" if members is None else f"not stable with {members} members"
        return await self._until(wait, is_stable, wanted, timeout_s)

    async def _lag(self, wait: Wait, at_most: int, timeout_s: float) -> GroupInfo:
        def has_read(group: GroupInfo) -> bool:
            return bool(group.lag) and group.total_lag <= at_most

        return await self._until(wait, has_read, f"not at a lag of {at_most}", timeout_s)

    async def _until(
        self, wait: Wait, is_there: Callable[[GroupInfo], bool], wanted: str, timeout_s: float
    ) -> GroupInfo:
        def told(group: GroupInfo) -> str:
            return f"it is {wanted}: {group}"

        return await until(self._host(), wait, lambda: self._look(wait), is_there, timeout_s=timeout_s, told=told)
