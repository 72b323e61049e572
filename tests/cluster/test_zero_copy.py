"""Fetch moves bytes from page cache to socket by sendfile, and a cold page stops nobody else. Needs Linux."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from odradek.net.page_cache import KNOWS_PAGE_CACHE, is_cached
from odradek.wire.messages.fetch import FetchRequest
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.support.odradek import Odradek
from tests.support.requests import connect, create_topic, fetch, fetch_request, produce
from tests.support.wire import Connection

TOPIC = "cold"
BATCHES = 40
BATCH_BYTES = 250_000
SLOW_DISK_S = 0.5
NOW_MS = 1_700_000_000_000
TRACED = re.compile(r"\b(sendfile|sendto|sendmsg)\(.*= (\d+)$", re.MULTILINE)
"""A system call that sent something, in a trace."""

pytestmark = pytest.mark.skipif(not KNOWS_PAGE_CACHE, reason="needs Linux's preadv(RWF_NOWAIT)")


class WrappedOdradek(Odradek):
    """The broker, started by another program."""

    def __init__(self, directory: Path, wrapper: Sequence[str]) -> None:
        super().__init__(directory, {"odradek.record.validation": "header"})
        self._wrapper = wrapper

    def _spawn(self, argv: Sequence[str], **options: object) -> None:
        super()._spawn([*self._wrapper, *argv], **options)  # type: ignore[arg-type] # passed on


def fill(connection: Connection) -> None:
    create_topic(connection, TOPIC)
    batch = build_batch([Record(0, NOW_MS, None, os.urandom(BATCH_BYTES))])
    for _ in range(BATCHES):
        assert produce(connection, TOPIC, batch).error_code == 0


def read_all(connection: Connection) -> int:
    """Fetch the topic from its start to its end; the bytes of its batches."""
    offset = size = 0
    while offset < BATCHES:
        got = read_once(connection, fetch_request(TOPIC, offset, partition_max_bytes=1 << 22))
        size += got
        offset += got // BATCH_BYTES
    return size


def read_once(connection: Connection, request: FetchRequest) -> int:
    records = fetch(connection, request).records
    assert isinstance(records, bytes | memoryview)
    return len(records)


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[WrappedOdradek]:
    wrapper = [sys.executable, "-m", "tests.cluster.slow_disk", str(tmp_path / "report"), str(SLOW_DISK_S)]
    broker = WrappedOdradek(tmp_path, wrapper)
    yield broker
    broker.close()


def test_a_reader_of_evicted_files_keeps_nobody_else_waiting(slow_disk: WrappedOdradek) -> None:
    slow_disk.start()
    with connect(slow_disk) as connection:
        fill(connection)
    slow_disk.stop()
    slow_disk.start()
    evict(slow_disk.data_dir)
    answered = 0
    with connect(slow_disk) as reader, connect(slow_disk) as other:
        wanted = fetch_request(TOPIC, BATCHES // 2, partition_max_bytes=3 * BATCH_BYTES)
        sizes: list[int] = []
        reading = threading.Thread(target=lambda: sizes.append(read_once(reader, wanted)))
        reading.start()
        while reading.is_alive():
            other.call(MetadataRequest(topics=[]), MetadataResponse)
            answered += 1
        reading.join()
    slow_disk.stop()
    report = json.loads((slow_disk.directory / "report").read_text())
    assert sizes[0] >= 2 * BATCH_BYTES
    assert report["cold_reads"] >= 1
    assert report["loop_waited"] == 0
    assert answered > 10 * report["cold_reads"], "the disk kept others waiting"


def test_warm_files_are_sent_within_the_kernel(slow_disk: WrappedOdradek) -> None:
    slow_disk.start()
    with connect(slow_disk) as connection:
        fill(connection)
        size = read_all(connection)
    slow_disk.stop()
    report = json.loads((slow_disk.directory / "report").read_text())
    assert report["cold_reads"] == 0
    assert report["sendfile_bytes"] > 0.98 * size
    assert report["read_bytes"] < 0.02 * size


def evict(data_dir: Path) -> None:
    """Have the topic's files on the disk only."""
    for path in (data_dir / f"{TOPIC}-0").iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if path.suffix == ".log" and is_cached(descriptor, BATCH_BYTES, 0):
                pytest.skip("this file system does not let go of its pages")
        finally:
            os.close(descriptor)


def test_the_kernel_sees_fetches_sent_by_sendfile(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace")
    trace = tmp_path / "trace"
    # -D: the broker is the process that was started, and strace its grandchild.
    wrapper = [strace, "-D", "-f", "-e", "trace=sendfile,sendto,sendmsg", "-s", "0", "-o", str(trace)]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    broker = WrappedOdradek(tmp_path, wrapper)
    try:
        broker.start()
        with connect(broker) as connection:
            fill(connection)
            size = read_all(connection)
        broker.stop()
    finally:
        broker.close()
    sent = {"sendfile": 0, "sendto": 0, "sendmsg": 0}
    for call, count in TRACED.findall(trace.read_text()):
        sent[call] += int(count)
    assert sent["sendfile"] > 0.98 * size
    assert sent["sendto"] + sent["sendmsg"] < 0.02 * size
