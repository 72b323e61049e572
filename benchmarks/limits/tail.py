"""The most that tailing can be on this machine: batches are written to a file, and sent on by `os.sendfile` at once.

``serve FILE BATCH_BYTES READERS`` writes the port to its first line; ``follow`` is producer and readers in one process,
as `benchmarks.load.tail` is, and writes one JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs
from benchmarks.limits.consume import END_TIMEOUT_S, HOST
from benchmarks.load.channel import Channel
from benchmarks.load.fetch_wire import FetchFailed
from benchmarks.load.steady import SteadyLoop
from benchmarks.stats import quantile
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import client, expect
from tests.support.apache import ROOT
from tests.support.batches import batch

_MODULE = "benchmarks.limits.tail"
_EMPTY_FRAME = struct.pack(">i", 0)
"""A reader's request, and what the producer is answered."""
_LENGTH = struct.Struct(">i")


@dataclass(frozen=True)
class Following:
    """What is produced, and by how many it is read."""

    batches: int
    batches_per_s: int
    batch_bytes: int
    readers: int


@dataclass(frozen=True)
class Followed:
    """What all readers together got; latencies are from when a batch was due to its last byte's arrival."""

    batches: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float


def bare_tail(
    directory: Path,
    *,
    batches: int,
    batches_per_s: int,
    records_per_batch: int,
    record_bytes: int,
    readers: int,
    timeout_s: float,
) -> ToolResult:
    """Follow a file that grows through sockets, in two processes. Raises ClientFailed, OSError."""
    batch_bytes = len(batch([b"x" * record_bytes] * records_per_batch))
    command = [sys.executable, "-m", _MODULE]
    server = subprocess.Popen(
        [*command, "serve", str(directory / "records"), str(batch_bytes), str(readers)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        before_s = procfs.cpu_s(server.pid)
        numbers = [port, batches, batches_per_s, batch_bytes, readers]
        output = client([*command, "follow", *map(str, numbers)], timeout_s)
        used_s = procfs.cpu_s(server.pid) - before_s
    finally:
        server.kill()
        server.communicate(timeout=END_TIMEOUT_S)
    followed = Followed(**json.loads(output))
    expect(batches * readers, followed.batches, "read batches")
    records = followed.batches * records_per_batch
    return ToolResult(records, records / followed.elapsed_s, followed.p50_ms, followed.p99_ms, server_cpu_s=used_s)


class Relay:
    """One producer, whose batches go into a file and to all readers: to each when it has asked."""

    def __init__(self, path: Path, batch_bytes: int, producer: socket.socket, readers: list[socket.socket]) -> None:
        self._batch_bytes = batch_bytes
        self._producer = producer
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._end = 0
        self._positions = dict.fromkeys(readers, 0)
        self._waiting: dict[socket.socket, None] = {}

    def run(self) -> None:
        """Until one of the connections ends. Raises OSError."""
        with selectors.DefaultSelector() as selector:
            for connection in (self._producer, *self._positions):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
            while all(self._serve(key.fileobj) for key, _ in selector.select()):  # type: ignore[arg-type] # sockets
                pass

    def _serve(self, connection: socket.socket) -> bool:
        if connection is self._producer:
            records = connection.recv(self._batch_bytes, socket.MSG_WAITALL)
            if len(records) < self._batch_bytes:
                return False
            self._end += os.write(self._file, records)
            connection.sendall(_EMPTY_FRAME)
            waiting, self._waiting = self._waiting, {}
            for reader in waiting:
                self._send(reader)
            return True
        if len(connection.recv(len(_EMPTY_FRAME), socket.MSG_WAITALL)) < len(_EMPTY_FRAME):
            return False
        if self._positions[connection] < self._end:
            self._send(connection)
        else:
            self._waiting[connection] = None
        return True

    def _send(self, reader: socket.socket) -> None:
        position = self._positions[reader]
        reader.send(_LENGTH.pack(self._end - position), socket.MSG_MORE)
        while position < self._end:
            position += os.sendfile(reader.fileno(), self._file, position, self._end - position)
        self._positions[reader] = position


def serve(path: Path, batch_bytes: int, readers: int) -> None:
    """One producer and its readers, which connect in this order."""
    with socket.create_server((HOST, 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        producer, *rest = [listener.accept()[0] for _ in range(1 + readers)]
    Relay(path, batch_bytes, producer, rest).run()


class _Reader:
    """Asks for what is new, one request at a time."""

    def __init__(self, port: int, following: Following, due_at_s: array[float]) -> None:
        self.channel = Channel(HOST, port)
        self.latencies_s = array("d")
        self._following = following
        self._due_at_s = due_at_s

    @property
    def is_done(self) -> bool:
        return len(self.latencies_s) == self._following.batches

    def poll(self) -> None:
        self.channel.send(_EMPTY_FRAME)

    def receive(self) -> None:
        for start, end in self.channel.receive():
            now_s = time.perf_counter()
            count, rest = divmod(end - start, self._following.batch_bytes)
            if rest or not count:
                raise FetchFailed(f"an answer of {end - start} bytes")
            first = len(self.latencies_s)
            self.latencies_s.extend(now_s - due_s for due_s in self._due_at_s[first : first + count])
            if not self.is_done:
                self.poll()


def follow(port: int, following: Following) -> Followed:
    """Produce at a steady rate until all readers have all of it. Raises FetchFailed, OSError."""
    records = bytes(following.batch_bytes)
    due_at_s = array("d")
    acknowledged: list[tuple[int, int]] = []
    producer = Channel(HOST, port)
    readers = [_Reader(port, following, due_at_s) for _ in range(following.readers)]
    loop = SteadyLoop()
    loop.watch(producer, lambda: acknowledged.extend(producer.receive()))
    for reader in readers:
        loop.watch(reader.channel, reader.receive)
        reader.poll()

    def send(due_s: float) -> None:
        due_at_s.append(due_s)
        producer.send(records)

    try:
        elapsed_s = loop.run(
            following.batches, following.batches_per_s, send, lambda: all(reader.is_done for reader in readers)
        )
    finally:
        loop.close()
        producer.close()
        for reader in readers:
            reader.channel.close()
    latencies_s = sorted(latency for reader in readers for latency in reader.latencies_s)
    return Followed(len(latencies_s), elapsed_s, quantile(latencies_s, 0.5) * 1000, quantile(latencies_s, 0.99) * 1000)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}")
    modes = parser.add_subparsers(dest="mode", required=True)
    serving = modes.add_parser("serve")
    serving.add_argument("file", type=Path)
    serving.add_argument("batch_bytes", type=int)
    serving.add_argument("readers", type=int)
    following = modes.add_parser("follow")
    following.add_argument("port", type=int)
    for field in dataclasses.fields(Following):
        following.add_argument(field.name, type=int)
    parsed = vars(parser.parse_args(argv))
    mode = parsed.pop("mode")
    try:
        if mode == "serve":
            serve(parsed["file"], parsed["batch_bytes"], parsed["readers"])
            return 0
        followed = follow(parsed.pop("port"), Following(**parsed))
    except (FetchFailed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(followed)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
