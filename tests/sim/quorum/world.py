"""A quorum's surroundings under a seed: time, a network that loses, delays and repeats, disks that forget."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from odradek.ports import Promise
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import iter_batches
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
PORT = 9093


class Server(Protocol):
    """Who answers requests at an address."""

    incarnation: int

    def answer(self, request: Message) -> Promise[Message] | None:
        """None while it is down."""
        ...


class Network:
    """Requests and answers travel as bytes, each with its own fate."""

    def __init__(self, world: FakeWorld, rng: random.Random) -> None:
        self.servers: dict[str, Server] = {}
        self.cut: dict[tuple[str, str], None] = {}
        """(from, to) pairs between which nothing travels."""
        self.loss = 0.0
        self.repetition = 0.0
        self.longest_ms = 5.0
        self._world = world
        self._rng = rng

    def send(
        self, source: str, target: str, request: Message, response: type[Resp], timeout_ms: float
    ) -> Promise[Resp]:
        promise: Promise[Resp] = Promise()
        assert request.API_KEY is not None
        version = stable_versions(ApiKey(request.API_KEY))[-1]
        data = request.encode(version)
        timer = self._world.call_later(
            timeout_ms, lambda: promise.reject(KafkaError(ErrorCode.REQUEST_TIMED_OUT, "no answer"))
        )

        def answered(answer: Promise[Message]) -> None:
            if answer.error is not None:
                return
            encoded = answer.result().encode(version)
            self._travel(target, source, lambda: arrive(encoded))

        def arrive(encoded: bytes) -> None:
            timer.cancel()
            promise.resolve(response.decode(encoded, version))

        def ask() -> None:
            server = self.servers.get(target)
            incarnation = server.incarnation if server is not None else 0
            answer = server.answer(type(request).decode(data, version)) if server is not None else None
            if answer is None or server is None:
                return
            known = server
            answer.on_done(lambda settled: answered(settled) if known.incarnation == incarnation else None)

        self._travel(source, target, ask)
        if self._rng.random() < self.repetition:
            self._travel(source, target, ask)
        return promise

    def _travel(self, source: str, target: str, arrive: Callable[[], None]) -> None:
        if self._rng.random() < self.loss or (source, target) in self.cut:
            return

        def land() -> None:
            if (source, target) not in self.cut:
                arrive()

        self._world.call_later(self._rng.random() * self.longest_ms, land)


class NodeTransport:
    """One node's way into the network; dead when the node is."""

    def __init__(self, network: Network, source: Server, name: str) -> None:
        self._network = network
        self._source = source
        self._name = name
        self._incarnation = source.incarnation

    def send(self, host: str, port: int, request: Message, response: type[Resp], *, timeout_ms: float) -> Promise[Resp]:
        assert port == PORT
        result: Promise[Resp] = Promise()

        def settle(answer: Promise[Resp]) -> None:
            if self._source.incarnation == self._incarnation:
                result.follow(answer)

        self._network.send(self._name, host, request, response, timeout_ms).on_done(settle)
        return result


class LogDisk:
    """A RaftLog whose flushes take time, and whose unflushed batches a crash may take."""

    def __init__(self, world: FakeWorld, rng: random.Random) -> None:
        self.start_offset = 0
        self.batches: list[tuple[int, int, int, bytes]] = []
        """(base offset, end offset, epoch, bytes)"""
        self.durable = 0
        self.longest_flush_ms = 3.0
        self._world = world
        self._rng = rng
        self._life = 0
        self._cuts = 0

    @property
    def end_offset(self) -> int:
        return self.batches[-1][1] if self.batches else self.start_offset

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _base, _end, _epoch, data in self.batches)

    def append(self, batches: bytearray, leader_epoch: int) -> None:
        for _position, header in iter_batches(batches):
            assert header.leader_epoch == leader_epoch
        self.append_as_follower(bytes(batches))

    def append_as_follower(self, batches: bytes) -> None:
        for position, header in iter_batches(batches):
            assert header.base_offset == self.end_offset, "a hole in the log"
            end = header.base_offset + header.last_offset_delta + 1
            data = batches[position : position + header.size_bytes]
            self.batches.append((header.base_offset, end, header.leader_epoch, data))

    def flush(self) -> Promise[int]:
        promise: Promise[int] = Promise()
        end, life, cuts = self.end_offset, self._life, self._cuts

        def done() -> None:
            if life == self._life:
                if cuts == self._cuts:
                    self.durable = max(self.durable, end)
                promise.resolve(end)

        self._world.call_later(self._rng.random() * self.longest_flush_ms, done)
        return promise

    def read(self, offset: int, max_bytes: int) -> bytes:
        found = b""
        for _base, end, _epoch, data in self.batches:
            if end > offset and (not found or len(found) + len(data) <= max_bytes):
                found += data
            elif found:
                break
        return found

    def truncate_to(self, offset: int) -> None:
        self.batches = [batch for batch in self.batches if batch[0] < offset]
        self.durable = min(self.durable, offset)
        self._cuts += 1

    def delete_before(self, offset: int) -> None:
        self.batches = [batch for batch in self.batches if batch[1] > offset]
        self.start_offset = offset

    def restart_at(self, offset: int) -> None:
        self.batches = []
        self.start_offset = self.durable = offset
        self._cuts += 1

    def epoch_at(self, offset: int) -> int | None:
        """The epoch of the record at `offset`."""
        return next((epoch for base, end, epoch, _data in self.batches if base <= offset < end), None)

    def crash(self) -> None:
        """The power goes: of what was not flushed, some batches from the front are left."""
        lost = [batch for batch in self.batches if batch[1] > self.durable]
        kept = self._rng.randrange(len(lost) + 1)
        if kept < len(lost):
            self.truncate_to(max(lost[kept][0], self.start_offset))
        self.durable = self.end_offset
        self._life += 1
