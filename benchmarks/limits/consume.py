"""The most that consuming can be on this machine: requests of a few bytes, answered by `os.sendfile` from one file.

``serve FILE`` writes the port to its first line; ``receive PORT BYTES ANSWER_BYTES PASSES`` reads the file through it
with the receiver that the brokers' answers get, and writes one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time
from array import array
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs
from benchmarks.load.command_line import report
from benchmarks.load.fetch import Receiver
from benchmarks.load.fetch_wire import FetchFailed, count_batches
from benchmarks.page_cache import drop
from benchmarks.stats import quantile
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import ClientFailed, client
from tests.support.apache import ROOT
from tests.support.batches import batch

END_TIMEOUT_S = 10.0
_REQUEST = struct.Struct(">qi")
"""Where in the file, and how many bytes."""
_LENGTH = struct.Struct(">i")
HOST = "127.0.0.1"
_MODULE = "benchmarks.limits.consume"


@dataclass(frozen=True)
class Reading:
    """What is read: `passes` times a file of batches, `answer_bytes` at a time, which may break off in a batch."""

    batches: int
    records_per_batch: int
    record_bytes: int
    passes: int
    answer_bytes: int = 1 << 20
    cold: bool = False
    """Whether the file is not in the page cache at first."""


@dataclass(frozen=True)
class Received:
    """What a receiver got."""

    batches: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float


def bare_consume(directory: Path, reading: Reading, timeout_s: float) -> ToolResult:
    """Write the file, and read it through sockets, in two processes. Raises ClientFailed, OSError."""
    records = batch([b"x" * reading.record_bytes] * reading.records_per_batch)
    path = directory / "records"
    with path.open("wb") as file:
        for _ in range(reading.batches):
            file.write(records)
    if reading.cold:
        drop([path])
    total = len(records) * reading.batches
    server = subprocess.Popen(
        [sys.executable, "-m", _MODULE, "serve", str(path)], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        before_s = procfs.cpu_s(server.pid)
        numbers = [port, total, reading.answer_bytes, reading.passes]
        output = client([sys.executable, "-m", _MODULE, "receive", *map(str, numbers)], timeout_s)
        used_s = procfs.cpu_s(server.pid) - before_s
    finally:
        server.kill()
        server.communicate(timeout=END_TIMEOUT_S)
    received = Received(**json.loads(output))
    if received.batches != reading.batches * reading.passes:
        raise ClientFailed(f"received {received.batches} batches instead of {reading.batches * reading.passes}")
    count = received.batches * reading.records_per_batch
    return ToolResult(count, count / received.elapsed_s, received.p50_ms, received.p99_ms, server_cpu_s=used_s)


def serve(path: Path) -> None:
    """Answer one connection after the other, until this process is ended."""
    with socket.create_server((HOST, 0)) as listener, path.open("rb") as file:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with suppress(ConnectionError), connection:
                _answer(connection, file.fileno())


def _answer(connection: socket.socket, descriptor: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    output = connection.fileno()
    while len(request := connection.recv(_REQUEST.size, socket.MSG_WAITALL)) == _REQUEST.size:
        position, size = _REQUEST.unpack(request)
        connection.send(_LENGTH.pack(size), socket.MSG_MORE)
        end = position + size
        while position < end:
            sent = os.sendfile(output, descriptor, position, end - position)
            if not sent:
                return
            position += sent


def receive(port: int, total_bytes: int, answer_bytes: int, passes: int) -> Received:
    """Ask for what follows the last whole batch, until the file has been read `passes` times. Raises FetchFailed."""
    receiver = Receiver(HOST, port)
    latencies_s = array("d")
    batches = 0
    try:
        begun_s = time.perf_counter()
        for _ in range(passes):
            position = 0
            while position < total_bytes:
                sent_s = time.perf_counter()
                size = receiver.exchange(_REQUEST.pack(position, min(answer_bytes, total_bytes - position)))
                latencies_s.append(time.perf_counter() - sent_s)
                count, whole_bytes = count_batches(receiver.buffer, 0, size)
                if not count:
                    raise FetchFailed(f"no whole batch in {size} bytes")
                batches += count
                position += whole_bytes
        elapsed_s = time.perf_counter() - begun_s
    finally:
        receiver.close()
    latencies = sorted(latencies_s)
    return Received(batches, elapsed_s, quantile(latencies, 0.5) * 1000, quantile(latencies, 0.99) * 1000)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}")
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("serve").add_argument("file", type=Path)
    receiving = modes.add_parser("receive")
    for name in ("port", "total_bytes", "answer_bytes", "passes"):
        receiving.add_argument(name, type=int)
    parsed = parser.parse_args(argv)
    if parsed.mode == "serve":
        serve(parsed.file)
    return report(
        lambda: receive(parsed.port, parsed.total_bytes, parsed.answer_bytes, parsed.passes), FetchFailed, OSError
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
