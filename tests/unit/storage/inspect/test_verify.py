"""What `odradek log verify` finds in damaged directories, and that it finds nothing in sound ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import ClassVar

import pytest

from odradek.ports import FileSystem
from odradek.storage.inspect.directories import topic_of
from odradek.storage.inspect.verify import Finding, Verified, verify_data_dir, verify_partition
from odradek.storage.log_config import LogConfig
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.wire.records.crc import crc32c
from tests.unit.storage.support import DIRECTORY, NOW_MS, Disk, batch

CONFIG = LogConfig(segment_bytes=2000, index_interval_bytes=300)
FIRST = f"{DIRECTORY}/00000000000000000000"


def stored() -> Disk:
    """A closed log of several segments with all kinds of files; timestamps go up, epochs too."""
    disk = Disk(CONFIG)
    for number in range(60):
        disk.append(b"%d" % number * 10, timestamp_ms=NOW_MS + number, leader_epoch=number // 30)
    disk.append(b"txn", producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True, leader_epoch=2)
    disk.append(b"idempotent", producer_id=8, producer_epoch=0, base_sequence=0, leader_epoch=2)
    disk.log.close()
    assert len(disk.log.segments) > 2
    return disk


def findings(fs: FileSystem, *, records: bool = True) -> list[Finding]:
    return list(verify_partition(fs, DIRECTORY, Verified(), records=records))


def test_nothing_is_wrong_with_what_we_write() -> None:
    disk = stored()
    verified = Verified()
    assert list(verify_partition(disk.fs, DIRECTORY, verified, records=True)) == []
    assert verified.batches == 62
    assert verified.bytes == disk.log.size_bytes
    assert verified.files > 3 * len(disk.log.segments)
    assert list(verify_data_dir(disk.fs, "/data", Verified())) == []


def test_nothing_is_written_and_nothing_wrong_with_a_log_that_is_open() -> None:
    disk = Disk(CONFIG)
    for number in range(60):
        disk.append(b"%d" % number * 10, timestamp_ms=NOW_MS + number)
    before = {name: disk.fs.read(f"{DIRECTORY}/{name}") for name in disk.names()}
    assert findings(disk.fs) == []
    assert {name: disk.fs.read(f"{DIRECTORY}/{name}") for name in disk.names()} == before


def edit(fs: FileSystem, path: str, change: Callable[[bytearray], None]) -> None:
    content = bytearray(fs.read(path))
    change(content)
    fs.remove(path)
    fs.open(path, create=True).pwrite(content, 0)


def flip(at: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[at] ^= 1

    return change


def put(at: int, data: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        end = len(content) + at if at < 0 else at
        content[end : end + len(data)] = data

    return change


def cut(size: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        del content[len(content) - size :]

    return change


def add(data: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content += data

    return change


def repeat_first_batch(content: bytearray) -> None:
    size = 12 + int.from_bytes(content[8:12], "big")
    content += content[:size]


@pytest.mark.parametrize(
    ("suffix", "change", "says"),
    [
        (".log", flip(75), "position 0: the checksum does not hold"),
        (".log", flip(16), "a batch of magic 3 at position 0; nothing behind it can be read"),
        (".log", cut(5), "half a batch at position"),
        (".log", add(b"\0" * 7), "half a batch header at position"),
        (".log", put(0, (500).to_bytes(8, "big")), "offset 1, where 501 or more is due"),
        (".log", repeat_first_batch, "offset 0, where"),
        (".log", put(12, (9).to_bytes(4, "big")), "leader epoch 0 behind 9"),
        (".log", put(57, (2).to_bytes(4, "big")), "2 records with 1 offsets"),
        (".index", add(b"\0"), "no whole number of entries of 8"),
        (".index", put(4, (1).to_bytes(4, "big")), "points to position 1, where no batch begins"),
        (".index", put(0, (1).to_bytes(4, "big")), "offset 1 points to position"),
        (".index", add(struct.pack(">ii", 1, 2)), "does not ascend from"),
        (".index", add(struct.pack(">ii", 1000, 100_000)), "position 100000, behind the last batch"),
        (".timeindex", add(b"\0"), "no whole number of entries of 12"),
        (".timeindex", put(0, (NOW_MS - 1).to_bytes(8, "big")), f"timestamp {NOW_MS - 1} points to offset"),
        (".timeindex", add(struct.pack(">qi", NOW_MS + 10_000, 1000)), "points to offset 1000, behind the last batch"),
        (".timeindex", add(struct.pack(">qi", 5, 1000)), "does not ascend from"),
    ],
)
def test_damage_is_found(suffix: str, change: Callable[[bytearray], None], says: str) -> None:
    disk = stored()
    edit(disk.fs, FIRST + suffix, change)
    found = findings(disk.fs)
    assert any(finding.path == FIRST + suffix and says in finding.text for finding in found), found


def test_an_index_that_kafka_has_made_larger_than_it_needs_is_fine() -> None:
    disk = stored()
    edit(disk.fs, f"{FIRST}.index", add(bytes(8000)))
    edit(disk.fs, f"{FIRST}.timeindex", add(bytes(12_000)))
    assert findings(disk.fs) == []


def test_a_time_that_is_behind_a_later_one_is_found() -> None:
    disk = Disk(LogConfig(index_interval_bytes=0))
    for timestamp_ms in (50, 90, 70, 95):
        disk.append(b"x", timestamp_ms=NOW_MS + timestamp_ms)
    disk.log.close()
    path = f"{FIRST}.timeindex"
    edit(disk.fs, path, lambda content: content.clear())
    edit(disk.fs, path, add(struct.pack(">qi", NOW_MS + 70, 2)))
    (found,) = findings(disk.fs)
    assert f"timestamp {NOW_MS + 70} points to offset 2, behind a batch of {NOW_MS + 90}" in found.text


def test_a_segment_whose_offsets_go_back_is_found() -> None:
    disk = stored()
    second = disk.log.segments.at(1)
    disk.fs.rename(second.log.path, f"{DIRECTORY}/00000000000000000040.log")
    found = findings(disk.fs)
    assert any("before the segment's 40" in finding.text for finding in found)
    assert Finding(second.index.path, "belongs to no segment") in found


def test_missing_indexes_are_found() -> None:
    disk = stored()
    disk.fs.remove(f"{FIRST}.timeindex")
    assert findings(disk.fs) == [Finding(f"{FIRST}.log", "has no time index; it is made anew at the next start")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("leader-epoch-checkpoint", b"0\n2\n5 0\n4 9\n", "epoch 4 from offset 9 follows 5 from 0"),
        ("leader-epoch-checkpoint", b"0\n3\n5 0\n", "3 entries announced, 1 found"),
        ("partition.metadata", b"version: 0\ntopic_id: x", "not a UUID"),
        ("00000000000000000012.txnindex", b"short", "no whole number of entries"),
        ("00000000000000000012.snapshot", b"short", "no producer snapshot"),
        ("00000000000000000012-0000000001.checkpoint", b"not a batch" * 10, "at position 0"),
    ],
)
def test_small_files_are_looked_at(name: str, content: bytes, says: str) -> None:
    disk = stored()
    disk.fs.write_atomically(f"{DIRECTORY}/{name}", content)
    found = [finding for finding in findings(disk.fs) if finding.path.endswith(name) and says in finding.text]
    assert len(found) == 1


def test_records_that_cannot_be_read_are_found_if_they_are_asked_for() -> None:
    fs = MemoryFileSystem()
    disk = Disk(CONFIG, fs)
    whole = batch(b"one", b"two")
    # The producer's mistake: its checksum is right.
    whole[61] = 0x7F
    whole[17:21] = crc32c(memoryview(whole)[21:], 0).to_bytes(4, "big")
    disk.log.append_as_leader(whole, leader_epoch=0, now_ms=NOW_MS)
    disk.log.close()
    assert findings(fs, records=False) == []
    (found,) = findings(fs)
    assert "its records cannot be read" in found.text


class BusyFile(MemoryFile):
    """Somebody else writes the rest of it once its size has been asked for."""

    rest: ClassVar[bytes] = b""

    def size(self) -> int:
        size = super().size()
        if BusyFile.rest:
            assert self._node is not None
            self._node.data += BusyFile.rest
            BusyFile.rest = b""
        return size


class BusyFileSystem(MemoryFileSystem):
    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        file = super().open(path, create=create, read_only=read_only)
        if not read_only or not path.endswith(".log"):
            return file
        assert file._node is not None
        return BusyFile(path, file._node, read_only)


def test_a_batch_that_is_still_being_written_is_no_damage() -> None:
    fs = BusyFileSystem()
    disk = Disk(LogConfig(), fs)
    disk.append(b"first")
    disk.append(b"second" * 50)
    disk.log.close()
    path = f"{FIRST}.log"
    content = fs.read(path)
    edit(fs, path, cut(20))
    assert "half a batch" in findings(fs)[0].text
    BusyFile.rest = content[-20:]
    assert findings(fs) == []
    assert fs.read(path) == content


def test_a_log_on_its_way_into_a_directory_is_looked_at_and_what_waits_to_be_removed_is_not() -> None:
    disk = stored()
    for mark in ("future", "delete", "stray"):
        directory = f"/data/topic-1.{'0' * 32}-{mark}"
        disk.fs.mkdir(directory)
        disk.fs.write_atomically(f"{directory}/{0:020d}.log", b"no batch")
        assert topic_of(directory) == "topic"
    assert {finding.path.rpartition("-")[2][:6] for finding in verify_data_dir(disk.fs, "/data", Verified())} == {
        "future"
    }


def test_checkpoints_of_a_data_directory_are_looked_at() -> None:
    disk = stored()
    disk.fs.write_atomically("/data/recovery-point-offset-checkpoint", b"0\n1\ntopic zero 5\n")
    (found,) = verify_data_dir(disk.fs, "/data", Verified())
    assert "'zero' is not a number" in found.text
