"""Members of consumer groups over plain connections, thousands of them on one event loop.

Both protocols: the classic one (JoinGroup, SyncGroup, Heartbeat), where a leader assigns, and that of KIP-848
(ConsumerGroupHeartbeat), where the coordinator does. A member does what a client does, and nothing with its partitions.
"""

from __future__ import annotations

import asyncio
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast
from uuid import uuid4

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from odradek.wire.messages.heartbeat import HeartbeatRequest
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from odradek.wire.schema import Message
from tests.support.wire import encode_request, framed, stable_version

SESSION_TIMEOUT_MS = 45_000
REBALANCE_TIMEOUT_MS = 300_000
"""A Java consumer's defaults."""
PROTOCOL = "range"
LEAVE_EPOCH = -1

_LENGTH = struct.Struct(">i")
_HEARTBEAT_ERROR = struct.Struct(">h")
_HEARTBEAT_ERROR_AT = 4 + 1 + 4
"""Behind the correlation id, the header's tags and the throttle time."""
_VERSION_0 = b"\x00\x00"
"""In front of what the consumer protocol embeds in the classic one."""

R = TypeVar("R", bound=Message)


class MemberFailed(Exception):
    """A member was refused or cut off."""


class Link(asyncio.Protocol):
    """A connection; answers go to those who asked, in the order of their requests."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._waiting: deque[Callable[[bytes], None]] = deque()
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_closing:
            self._failed(exc or MemberFailed("the broker closed a connection"))

    def ask(self, frame: bytes, answered: Callable[[bytes], None]) -> None:
        """Send a frame; `answered` is called with the answer's frame."""
        assert self._transport is not None
        self._waiting.append(answered)
        self._transport.write(frame)

    def close(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        position = 0
        while len(received) - position >= _LENGTH.size:
            end = position + _LENGTH.size + _LENGTH.unpack_from(received, position)[0]
            if end > len(received):
                break
            self._waiting.popleft()(received[position + _LENGTH.size : end])
            position = end
        self._received = received[position:]


class Group:
    """Knows when all its members have settled on one generation, or member epoch, with their share of the partitions.

    The share tells the last of several rebalances: a coordinator may assign less often than members come.
    """

    def __init__(self, group_id: str, partitions: int) -> None:
        self.group_id = group_id
        self.partitions = partitions
        self.members: list[Member] = []
        self.last_joined_s = 0.0
        """When the latest JoinGroup was sent."""
        self._latest = -1
        self._missing: list[Member] = []
        """Members not known to have settled on the latest generation."""
        self._settled: asyncio.Future[None] | None = None

    def rebalance(self) -> asyncio.Future[None]:
        """Done when the members, as they are then, have settled on a later generation than the latest now."""
        self._missing = []
        self._settled = asyncio.get_running_loop().create_future()
        return self._settled

    def review(self, member: Member) -> None:
        """The member has heard of its generation and its partitions."""
        if member.generation > self._latest:
            self._latest = member.generation
            self._missing = list(self.members)
        settled = self._settled
        if settled is None or settled.done() or not self._missing:
            return
        while self._missing:
            last = self._missing[-1]
            if last in self.members and not (last.settled and last.generation == self._latest):
                return
            self._missing.pop()
        sizes = [len(member.assigned) for member in self.members]
        if sum(sizes) == self.partitions and max(sizes) - min(sizes) <= 1:
            settled.set_result(None)
        else:
            self._missing = self.members[-1:]


class Fleet:
    """What all members share: whom to talk to, how often, and the latencies of their heartbeats."""

    def __init__(self, host: str, port: int, topic: str, interval_s: float) -> None:
        self.host = host
        self.port = port
        self.topic = topic
        self.interval_s = interval_s
        self.latencies_s: list[float] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()

    def fail(self, error: Exception) -> None:
        """End the run."""
        if not self.failure.done():
            self.failure.set_exception(error)

    async def until(self, work: asyncio.Future[None] | asyncio.Task[None], timeout_s: float) -> None:
        """Wait for `work`. Raises what a member failed with, or TimeoutError."""
        done, _ = await asyncio.wait((work, self.failure), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self.failure in done:
            self.failure.result()
        if work not in done:
            raise TimeoutError(f"the groups have not settled after {timeout_s:g} s")
        work.result()


class Member(ABC):
    """One member of a group, with its own connection and heartbeats."""

    def __init__(self, fleet: Fleet, group: Group) -> None:
        self.fleet = fleet
        self.group = group
        self.member_id = ""
        self.generation = -1
        """Or member epoch."""
        self.assigned: tuple[int, ...] = ()
        self.settled = False
        self._link = Link(fleet.fail)
        self._timer: asyncio.TimerHandle | None = None
        self._asked_s = 0.0
        self._is_waiting = False
        self._gone = False

    async def connect(self) -> None:
        """Open the connection."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._link, self.fleet.host, self.fleet.port)

    def close(self) -> None:
        """Stop heartbeats and hang up, without a word to the group."""
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        self._link.close()

    @abstractmethod
    async def join(self) -> None:
        """Join the group, for the first time or again."""

    @abstractmethod
    async def leave(self) -> None:
        """Leave the group, and hang up."""

    @abstractmethod
    def _heartbeat(self) -> bytes:
        """The frame of a heartbeat."""

    @abstractmethod
    def _heard(self, answer: bytes) -> None:
        """The answer to a heartbeat."""

    def start_heartbeats(self, first_after_s: float) -> None:
        """Heartbeat at the fleet's interval, when nothing else is being asked."""
        self._timer = asyncio.get_running_loop().call_later(first_after_s, self._due)

    def _due(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.fleet.interval_s, self._due)
        if not self._is_waiting:
            self._beat()

    def _beat(self) -> None:
        self._is_waiting = True
        self._asked_s = time.perf_counter()
        self._link.ask(self._heartbeat(), self._answered)

    def _answered(self, answer: bytes) -> None:
        self.fleet.latencies_s.append(time.perf_counter() - self._asked_s)
        self._is_waiting = False
        if not self._gone:
            try:
                self._heard(answer)
            except Exception as error:  # noqa: BLE001 - ends the run
                self.fleet.fail(error)

    async def _call(self, request: Message, response: type[R]) -> R:
        version = stable_version(type(request))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._link.ask(framed(encode_request(request, version)), answer.set_result)
        await asyncio.wait((answer, self.fleet.failure), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            self.fleet.failure.result()
        return _decode(answer.result(), response, version)


class ClassicMember(Member):
    """JoinGroup and SyncGroup; whoever leads the group hands out its partitions."""

    def __init__(self, fleet: Fleet, group: Group) -> None:
        super().__init__(fleet, group)
        subscription = ConsumerProtocolSubscription(topics=[fleet.topic])
        self._metadata = _VERSION_0 + subscription.encode(0)
        self._frame = b""

    async def join(self) -> None:
        self.settled = False
        self._is_waiting = True
        while not await self._join_once():
            pass
        request = HeartbeatRequest(
            group_id=self.group.group_id, member_id=self.member_id, generation_id=self.generation
        )
        self._frame = framed(encode_request(request, stable_version(HeartbeatRequest)))
        self._is_waiting = False
        self.settled = True
        self.group.review(self)

    async def leave(self) -> None:
        self.group.members.remove(self)
        identity = MemberIdentity(member_id=self.member_id)
        request = LeaveGroupRequest(group_id=self.group.group_id, members=[identity])
        self._gone = True
        answer = await self._call(request, LeaveGroupResponse)
        _expect(answer.error_code or answer.members[0].error_code)
        self.close()

    async def _join_once(self) -> bool:
        self.group.last_joined_s = time.perf_counter()
        joined = await self._call(
            JoinGroupRequest(
                group_id=self.group.group_id,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
                member_id=self.member_id,
                protocol_type="consumer",
                protocols=[JoinGroupRequestProtocol(name=PROTOCOL, metadata=self._metadata)],
            ),
            JoinGroupResponse,
        )
        self.member_id = joined.member_id
        if joined.error_code in (ErrorCode.MEMBER_ID_REQUIRED, ErrorCode.REBALANCE_IN_PROGRESS):
            return False
        _expect(joined.error_code)
        self.generation = joined.generation_id
        synced = await self._call(
            SyncGroupRequest(
                group_id=self.group.group_id,
                generation_id=self.generation,
                member_id=self.member_id,
                protocol_type="consumer",
                protocol_name=PROTOCOL,
                assignments=self._assignments([member.member_id for member in joined.members]),
            ),
            SyncGroupResponse,
        )
        if synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            return False
        _expect(synced.error_code)
        assignment, _ = ConsumerProtocolAssignment.decode_prefix(synced.assignment, 0, len(_VERSION_0))
        self.assigned = tuple(index for topic in assignment.assigned_partitions for index in topic.partitions)
        return True

    def _assignments(self, member_ids: list[str]) -> list[SyncGroupRequestAssignment]:
        """What the leader, who alone is told the members, assigns: the partitions in turn."""
        found = []
        for number, member_id in enumerate(member_ids):
            indexes = list(range(number, self.group.partitions, len(member_ids)))
            topic = ConsumerProtocolAssignmentTopicPartition(topic=self.fleet.topic, partitions=indexes)
            assignment = _VERSION_0 + ConsumerProtocolAssignment(assigned_partitions=[topic]).encode(0)
            found.append(SyncGroupRequestAssignment(member_id=member_id, assignment=assignment))
        return found

    def _heartbeat(self) -> bytes:
        return self._frame

    def _heard(self, answer: bytes) -> None:
        (code,) = _HEARTBEAT_ERROR.unpack_from(answer, _HEARTBEAT_ERROR_AT)
        if code == ErrorCode.REBALANCE_IN_PROGRESS:
            task = asyncio.ensure_future(self.join())
            self.fleet.tasks.add(task)
            task.add_done_callback(self._rejoined)
        else:
            _expect(code)

    def _rejoined(self, task: asyncio.Task[None]) -> None:
        self.fleet.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self.fleet.fail(error)


class ConsumerMember(Member):
    """ConsumerGroupHeartbeat; takes the partitions that it is given and gives up those that it is asked for."""

    def __init__(self, fleet: Fleet, group: Group) -> None:
        super().__init__(fleet, group)
        self.member_id = str(uuid4())
        self._frame = b""

    async def join(self) -> None:
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group.group_id,
            member_id=self.member_id,
            member_epoch=0,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            subscribed_topic_names=[self.fleet.topic],
            topic_partitions=[],
        )
        self._is_waiting = True
        answer = await self._call(request, ConsumerGroupHeartbeatResponse)
        self._is_waiting = False
        self._take(answer)

    async def leave(self) -> None:
        self.group.members.remove(self)
        self._gone = True
        request = self._request(LEAVE_EPOCH)
        answer = await self._call(request, ConsumerGroupHeartbeatResponse)
        _expect(answer.error_code, answer.error_message)
        self.close()

    def _heartbeat(self) -> bytes:
        return self._frame

    def _heard(self, answer: bytes) -> None:
        version = stable_version(ConsumerGroupHeartbeatRequest)
        self._take(_decode(answer, ConsumerGroupHeartbeatResponse, version))

    def _take(self, answer: ConsumerGroupHeartbeatResponse) -> None:
        _expect(answer.error_code, answer.error_message)
        has_news = answer.member_epoch != self.generation
        if has_news:
            self.generation = answer.member_epoch
            self._frame = self._framed(self._request(self.generation))
        self.settled = True
        if answer.assignment is not None:
            topics = answer.assignment.topic_partitions
            self.assigned = tuple(index for topic in topics for index in topic.partitions)
            # As a client that has nothing to do for it: it says at once what it owns now.
            request = self._request(self.generation)
            request.topic_partitions = [
                ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic.topic_id, partitions=topic.partitions)
                for topic in topics
            ]
            frame, self._frame = self._frame, self._framed(request)
            self._beat()
            self._frame = frame
        self.group.review(self)

    def _request(self, epoch: int) -> ConsumerGroupHeartbeatRequest:
        return ConsumerGroupHeartbeatRequest(group_id=self.group.group_id, member_id=self.member_id, member_epoch=epoch)

    def _framed(self, request: ConsumerGroupHeartbeatRequest) -> bytes:
        return framed(encode_request(request, stable_version(ConsumerGroupHeartbeatRequest)))


def _decode(answer: bytes, response: type[R], version: int) -> R:
    return response.decode(answer[5 if version in response.FLEXIBLE else 4 :], version)


def _expect(code: int, message: str | None = None) -> None:
    if code:
        raise MemberFailed(f"a member was told {ErrorCode(code).name}{f': {message}' if message else ''}")
