"""The same broker twice, of which one answers plain Fetch requests the short way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.fetch.session import FINAL_EPOCH, INVALID_SESSION_ID, SessionCache, size_of
from odradek.ports import Promise, Turns
from odradek.ports.network import Outcome, Reply
from odradek.security.acl import AllowAll
from odradek.server.dispatcher import Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import erase
from odradek.server.lane import Lane
from odradek.storage.log import Log
from odradek.storage.log_results import LogSlice
from odradek.wire.apis import request_header_version, response_header_version
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.headers import RequestHeader
from tests.unit.broker.scene import CONNECTION, Scene

Wanted = tuple[str, int, int]
"""Topic, partition and offset."""


class Asked:
    """A request, and its answer once that is there."""

    def __init__(self, reply: Reply | Promise[Reply]) -> None:
        self._reply = reply
        self._answer: bytes | Outcome | None = None

    @property
    def answer(self) -> bytes | Outcome | None:
        """As it goes to the client; None while it is waited for."""
        if self._answer is None:
            reply = self._reply
            if isinstance(reply, Promise):
                if not reply.done:
                    return None
                reply = reply.result()
            self._answer = reply if isinstance(reply, Outcome) else b"".join(map(_taken, reply))
        return self._answer

    def abandon(self) -> None:
        """The client is gone."""
        assert isinstance(self._reply, Promise)
        self._reply.abandon()


class Broker:
    """Topics `t` with three partitions and `u` with one, each of which has five batches of one record."""

    def __init__(self, *, takes_the_short_way: bool, max_bytes: int = 1 << 20) -> None:
        self.scene = scene = Scene()
        self.ids = {name: scene.create_topic(name, partitions=count) for name, count in (("t", 3), ("u", 1))}
        self.ids["new"] = scene.create_topic("new")
        for name, partition in (("t", 0), ("t", 1), ("t", 2), ("u", 0)):
            for number in range(5):
                scene.append(name, b"%d" % number * 50, partition=partition)
        sessions = SessionCache(scene.world, scene.world, slots=10, eviction_ms=120_000)
        handler = FetchApi(scene.replicas, sessions, FetchLimits(max_bytes)).handler()
        plain = handler.plain
        assert plain is not None
        self.short_answers: list[bool] = []

        def counted(
            version: int, correlation_id: int, frame: memoryview, body_at: int
        ) -> Reply | Promise[Reply | None] | None:
            answer = plain(version, correlation_id, frame, body_at)
            self.short_answers.append(answer is not None)
            return answer

        handler = replace(handler, plain=counted if takes_the_short_way else None)
        self._dispatcher = Dispatcher(
            HandlerTable([erase(handler)]), AllowAll(), Turns(scene.world, scene.world), Lane()
        )

    def send(self, frame: bytes) -> bytes | Outcome:
        """The answer, which waits for nothing but turns of the loop."""
        asked = self.ask(frame)
        if asked.answer is None:
            self.scene.world.run_soon()
        assert asked.answer is not None
        return asked.answer

    def ask(self, frame: bytes) -> Asked:
        return Asked(self._dispatcher.handle(CONNECTION, memoryview(bytearray(frame))))

    def holds_ranges(self) -> bool:
        logs = [partition.local_log() for partition in self.scene.replicas.partitions.values()]
        return any(segment.log.is_busy() for log in logs for segment in log.segments)


def _taken(chunk: object) -> bytes:
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    data = chunk.read(0, chunk.size)  # type: ignore[attr-defined] # a FileRange
    chunk.release()  # type: ignore[attr-defined] # likewise
    return bytes(data)


class Pair:
    """The same broker twice, asked the short and the long way."""

    def __init__(self, version: int = 17, isolation_level: int = 0, max_bytes: int = 1 << 20) -> None:
        """`max_bytes`: what the broker sends at most, whatever is asked for."""
        self.short = Broker(takes_the_short_way=True, max_bytes=max_bytes)
        self.long = Broker(takes_the_short_way=False, max_bytes=max_bytes)
        self.version = version
        self.isolation_level = isolation_level
        self.session_id = 0
        self.epoch = 0
        self._step = 1

    def without_session(self) -> None:
        """What is asked for from now on belongs to no session."""
        self.session_id, self.epoch, self._step = INVALID_SESSION_ID, FINAL_EPOCH, 0

    def begin(self, *wanted: Wanted) -> None:
        """A session of these partitions; nothing is read yet."""
        answer = self.fetch(*wanted, max_bytes=0, partition_max_bytes=0, is_whole=False)
        self.session_id = decoded(answer, self.version).session_id
        assert self.session_id
        self.epoch = 1
        for broker in (self.short, self.long):
            broker.short_answers.clear()

    def fetch(
        self, *wanted: Wanted, max_bytes: int = 1 << 20, partition_max_bytes: int = 1 << 20, is_whole: bool = True,
        **fields: object,
    ) -> bytes:  # fmt: skip
        """Ask both, see that they answer the same, and come to the session's next epoch; the answer."""
        request = self.request(wanted, max_bytes, partition_max_bytes, fields)
        answer = self.both(request)
        self.epoch += self._step * is_whole
        return answer

    def request(
        self, wanted: Sequence[Wanted], max_bytes: int = 1 << 20, partition_max_bytes: int = 1 << 20,
        fields: dict[str, object] | None = None, of_partition: dict[str, int] | None = None,
    ) -> bytes:  # fmt: skip
        topics: list[FetchTopic] = []
        for name, index, offset in wanted:
            partition = FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=partition_max_bytes)
            for field, value in (of_partition or {}).items():
                setattr(partition, field, value)
            topic_id = self.short.ids.get(name, b"?" * 16)
            if topics and topics[-1].topic_id == topic_id:
                topics[-1].partitions.append(partition)
            else:
                topics.append(FetchTopic(topic=name, topic_id=topic_id, partitions=[partition]))
        named: dict[str, object] = {
            "max_wait_ms": 0, "min_bytes": 1, "session_id": self.session_id, "session_epoch": self.epoch,
            "isolation_level": self.isolation_level, **(fields or {}),
        }  # fmt: skip
        request = FetchRequest(max_bytes=max_bytes, topics=topics, **named)  # type: ignore[arg-type] # what the case needs
        header = RequestHeader(request_api_key=1, request_api_version=self.version, correlation_id=7, client_id="me")
        return header.encode(request_header_version(1, self.version)) + request.encode(self.version)

    def both(self, frame: bytes) -> bytes:
        mine, theirs = self.short.send(frame), self.long.send(frame)
        assert mine == theirs
        assert isinstance(mine, bytes)
        assert not self.short.holds_ranges()
        return mine

    def change(self, *records: object) -> None:
        for broker in (self.short, self.long):
            broker.scene.apply(*records)  # type: ignore[arg-type] # messages

    @property
    def short_answers(self) -> list[bool]:
        return self.short.short_answers

    def ask(self, *wanted: Wanted, max_wait_ms: int = 500, **fields: object) -> tuple[Asked, Asked]:
        """Ask both for what may have to be waited for, and come to the next epoch."""
        request = self.request(wanted, fields={"max_wait_ms": max_wait_ms, **fields})
        self.epoch += self._step
        return self.short.ask(request), self.long.ask(request)

    def each(self, work: Callable[[Scene], object]) -> None:
        """Let the same happen at both brokers, and a turn of their loops pass."""
        for broker in (self.short, self.long):
            work(broker.scene)
            broker.scene.world.run_soon()


def answered(asked: tuple[Asked, Asked], version: int = 17) -> FetchResponse | None:
    """What both answer, which must be the same; None while both wait."""
    mine, theirs = asked[0].answer, asked[1].answer
    assert mine == theirs
    assert not isinstance(mine, Outcome)
    return None if mine is None else decoded(mine, version)


def decoded(answer: bytes, version: int) -> FetchResponse:
    return FetchResponse.decode(answer[4 + response_header_version(1, version) :], version)


def told(response: FetchResponse | None) -> list[tuple[int, int, int]] | None:
    """Of each partition that is told of: its index, error and bytes."""
    if response is None:
        return None
    return [
        (part.partition_index, part.error_code, size_of(part))
        for topic in response.responses
        for part in topic.partitions
    ]


def record_sizes(asked: Sequence[Asked], version: int) -> list[int]:
    """The bytes of records in each answer, which is of one partition."""
    found = []
    for each in asked:
        assert isinstance(each.answer, bytes)
        (answer,) = told(decoded(each.answer, version)) or []
        found.append(answer[2])
    return found


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets from which logs are read from now on."""
    read: list[int] = []
    log_read = Log.read

    def counted(log: Log, offset: int, **limits: Any) -> LogSlice:
        read.append(offset)
        return log_read(log, offset, **limits)

    monkeypatch.setattr(Log, "read", counted)
    return read


def fail_reads(monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> None:
    """Have logs fail, by a defect, whenever so many bytes are asked for."""
    log_read = Log.read

    def failing(log: Log, offset: int, **limits: Any) -> LogSlice:
        if limits["max_bytes"] == max_bytes:
            raise RuntimeError("a defect")
        return log_read(log, offset, **limits)

    monkeypatch.setattr(Log, "read", failing)
