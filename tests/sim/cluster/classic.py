"""Members of a classic group: they join, one of them assigns, and each heartbeats in its generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.consumer import Consumer
from tests.sim.cluster.group import Fenced, GroupMember, GroupWatch
from tests.sim.cluster.named import GENERATIONS
from tests.sim.cluster.recorder import Recorder

SESSION_TIMEOUT_MS = 3000
_REBALANCE_TIMEOUT_MS = 5000
_NO_GENERATION = -1
_PROTOCOL = "in turn"
_LEAVES_EVERY_MS = 20_000
"""About how long a member stays."""
_LATE = (ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID)

Assignment = Mapping[str, tuple[int, ...]]
"""Partitions by member id."""


class GenerationWatch:
    """What the coordinators of one group have answered about its generations.

    A generation may be begun by several coordinators, and then have several leaders, as long as nobody was told what
    is assigned: what was told is in the log, and there can be but one.
    """

    def __init__(self, partitions: int, on_violation: Callable[[str, str], None]) -> None:
        self.latest = _NO_GENERATION
        """The latest generation that anybody was assigned something in."""
        self._partitions = partitions
        self._on_violation = on_violation
        self._proposals: dict[int, list[Assignment]] = {}
        """By generation, what leaders have handed in, and nothing that was told speaks against."""

    def proposes(self, generation: int, assignment: Assignment) -> None:
        """A leader hands in an assignment, which covers all partitions and none twice."""
        assert sorted(each for assigned in assignment.values() for each in assigned) == list(range(self._partitions))
        self._proposals.setdefault(generation, []).append(assignment)

    def told(self, generation: int, member_id: str, partitions: tuple[int, ...]) -> None:
        """A member is told what it has."""
        self.latest = max(self.latest, generation)
        proposals = self._proposals.get(generation, [])
        left = [each for each in proposals if each.get(member_id, ()) == partitions]
        self._proposals[generation] = left
        if not left:
            self._on_violation(
                GENERATIONS,
                f"{member_id} is told that it has {partitions} in generation {generation}, where leaders had handed "
                f"in {proposals} that all who were told before agree with",
            )

    def accepted(self, what: str, generation: int, latest: int) -> None:
        """Something of a member's in `generation` was taken, when `latest` was told before it was asked for."""
        if generation < latest:
            self._on_violation(
                GENERATIONS, f"{what} of generation {generation} is taken, after generation {latest} was assigned"
            )


class ClassicMember(GroupMember):
    """Joins, assigns if it leads, reads what it has, commits in its generation, and leaves now and then."""

    def __init__(
        self, client: Client, watch: GroupWatch, generations: GenerationWatch, consumer: Consumer, recorder: Recorder
    ) -> None:
        super().__init__(client, watch, consumer, recorder)
        self._generations = generations
        self._has_joined = False
        self._leaves_at_ms = 0.0

    @property
    def _who(self) -> str:
        return f"{self._consumer.name} in generation {self._epoch}"

    def _begin(self) -> None:
        self._member_id = ""
        self._epoch = _NO_GENERATION
        self._has_joined = False
        now_ms = self.client.process.kernel.now_ms
        self._leaves_at_ms = now_ms + _LEAVES_EVERY_MS * 2 * self.client.random.random()

    def _asking(self, topic: OffsetFetchRequestTopics) -> OffsetFetchRequestGroup:
        return OffsetFetchRequestGroup(group_id=self._watch.name, topics=[topic])

    async def _heartbeat(self) -> None:
        if self._has_joined and self.client.process.kernel.now_ms >= self._leaves_at_ms:
            await self._leave()
        if not self._has_joined:
            await self._join()
            return
        latest = self._generations.latest
        request = HeartbeatRequest(group_id=self._watch.name, generation_id=self._epoch, member_id=self._member_id)
        response = await self._coordinated(request, HeartbeatResponse)
        if response is None:
            return
        code = ErrorCode(response.error_code)
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            await self._commit(list(self._uncommitted))
            await self._join()
        elif code in _LATE:
            raise Fenced
        elif code is ErrorCode.NONE:
            self._recorder.requests += 1
            self._generations.accepted("a heartbeat", self._epoch, latest)
        else:
            self._coordinator = -1

    async def _leave(self) -> None:
        await self._commit(list(self._uncommitted))
        request = LeaveGroupRequest(group_id=self._watch.name, members=[MemberIdentity(member_id=self._member_id)])
        await self._coordinated(request, LeaveGroupResponse)
        raise Fenced

    async def _join(self) -> None:
        """Give up what it has, and take part in the next generation; tried again with the next heartbeat."""
        self._has_joined = False
        await self._take([])
        request = JoinGroupRequest(
            group_id=self._watch.name,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            rebalance_timeout_ms=_REBALANCE_TIMEOUT_MS,
            member_id=self._member_id,
            protocol_type="simulated",
            protocols=[JoinGroupRequestProtocol(name=_PROTOCOL, metadata=b"")],
        )
        response = await self._coordinated(request, JoinGroupResponse)
        if response is None:
            return
        code = ErrorCode(response.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self._member_id = response.member_id
            await self._join()
        elif code is ErrorCode.UNKNOWN_MEMBER_ID:
            raise Fenced
        elif code is ErrorCode.NONE:
            self._recorder.requests += 1
            self._member_id, self._epoch = response.member_id, response.generation_id
            await self._sync(response)
        else:
            self._coordinator = -1
            await self.client.sleep(RETRY_MS)

    async def _sync(self, joined: JoinGroupResponse) -> None:
        assignments: list[SyncGroupRequestAssignment] = []
        if joined.leader == joined.member_id:
            assignment = self._assign([each.member_id for each in joined.members])
            self._generations.proposes(joined.generation_id, assignment)
            assignments = [
                SyncGroupRequestAssignment(member_id=member_id, assignment=bytes(partitions))
                for member_id, partitions in assignment.items()
            ]
        request = SyncGroupRequest(
            group_id=self._watch.name,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            protocol_type="simulated",
            protocol_name=_PROTOCOL,
            assignments=assignments,
        )
        latest = self._generations.latest
        response = await self._coordinated(request, SyncGroupResponse)
        if response is None:
            return
        code = ErrorCode(response.error_code)
        if code is ErrorCode.NONE:
            self._recorder.requests += 1
            self._generations.accepted("an assignment", joined.generation_id, latest)
            partitions = tuple(response.assignment)
            self._generations.told(joined.generation_id, joined.member_id, partitions)
            self._has_joined = True
            await self._take(partitions)
        elif code in _LATE:
            raise Fenced
        elif code is not ErrorCode.REBALANCE_IN_PROGRESS:
            self._coordinator = -1

    def _assign(self, members: Sequence[str]) -> dict[str, tuple[int, ...]]:
        count = len(self._watch.read_to)
        # Each generation has an assignment that tells it from the others.
        partitions = self.client.random.sample(range(count), count)
        return {
            member_id: tuple(sorted(partitions[number :: len(members)]))
            for number, member_id in enumerate(sorted(members))
        }

    async def _commit(self, partitions: Sequence[int]) -> None:
        latest, before_ms = self._generations.latest, self.last_ok_ms
        await super()._commit(partitions)
        if self.last_ok_ms != before_ms:
            self._generations.accepted("a commit", self._epoch, latest)
