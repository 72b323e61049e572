"""The small files: what Apache Kafka 4.4.0 writes is read, and what is damaged is said to be."""

from __future__ import annotations

import pytest

from odradek.storage.checkpoints import (
    CorruptFileError,
    read_clean_shutdown,
    read_leader_epochs,
    read_meta_properties,
    read_offsets,
    read_topic_id,
    write_meta_properties,
    write_offsets,
    write_topic_id,
)
from odradek.storage.file_names import is_marked_for_deletion, offset_of_name, partition_of_dir
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition

META = b"""#
#Sun Nov 22 21:34:31 UTC 2026
node.id=1
directory.id=Rxezrer5QcyVP2aFEaW2Uw
version=1
cluster.id=FJkmiIyzQJqAwCJ4G8Cvjg
"""


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


def test_meta_properties_are_read_and_written_as_java_writes_them(fs: MemoryFileSystem) -> None:
    fs.write_atomically("/meta.properties", META)
    properties = read_meta_properties(fs, "")
    assert properties is not None
    assert properties["directory.id"] == "Rxezrer5QcyVP2aFEaW2Uw"
    write_meta_properties(fs, "", properties, "Sun Nov 22 21:34:31 UTC 2026")
    assert fs.read("/meta.properties") == META


def test_offsets_round_trip(fs: MemoryFileSystem) -> None:
    offsets = {TopicPartition("b-c.d_e", 10): 2**62, TopicPartition("a", 0): 0}
    write_offsets(fs, "/f", offsets)
    assert fs.read("/f") == b"0\n2\nb-c.d_e 10 4611686018427387904\na 0 0\n"
    assert read_offsets(fs, "/f") == offsets


@pytest.mark.parametrize(
    "content", [b"1\n0\n", b"0\n", b"0\n2\na 0 0\n", b"0\n1\na 0\n", b"0\n1\na x 0\n", b"x\n0\n", b"\xff"]
)
def test_a_damaged_checkpoint_is_refused(fs: MemoryFileSystem, content: bytes) -> None:
    fs.write_atomically("/f", content)
    with pytest.raises(CorruptFileError):
        read_offsets(fs, "/f")
    with pytest.raises(CorruptFileError):
        read_leader_epochs(fs, "/f")


def test_missing_files_and_empty_checkpoints_hold_nothing(fs: MemoryFileSystem) -> None:
    fs.write_atomically("/empty", b"")
    assert read_offsets(fs, "/missing") == read_offsets(fs, "/empty") == {}
    assert read_topic_id(fs, "") is None
    assert read_clean_shutdown(fs, "") is None
    assert read_meta_properties(fs, "") is None


@pytest.mark.parametrize("content", [b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ", b"version: 0\n", b"nonsense"])
def test_damaged_partition_metadata_is_refused(fs: MemoryFileSystem, content: bytes) -> None:
    fs.write_atomically("/partition.metadata", content)
    with pytest.raises(CorruptFileError):
        read_topic_id(fs, "")


def test_topic_ids_round_trip(fs: MemoryFileSystem) -> None:
    write_topic_id(fs, "", bytes(range(16)))
    assert read_topic_id(fs, "") == bytes(range(16))


@pytest.mark.parametrize(
    ("content", "epoch"), [(b'{"version":0,"brokerEpoch":13}', 13), (b"", -1), (b"[]", -1), (b'{"version":0}', -1)]
)
def test_any_marker_of_a_clean_stop_counts_but_not_every_one_has_an_epoch(
    fs: MemoryFileSystem, content: bytes, epoch: int
) -> None:
    fs.write_atomically("/.kafka_cleanshutdown", content)
    assert read_clean_shutdown(fs, "") == epoch


@pytest.mark.parametrize(
    ("name", "partition"),
    [
        ("topic-0", TopicPartition("topic", 0)),
        ("with-dash.and_more-12", TopicPartition("with-dash.and_more", 12)),
        ("topic-0.0123456789abcdef0123456789abcdef-delete", None),
        ("topic-0.0123456789abcdef0123456789abcdef-future", None),
        ("topic", None),
        ("-3", None),
        ("topic-", None),
        ("topic-x", None),
    ],
)
def test_directories_of_logs_are_known_by_their_names(name: str, partition: TopicPartition | None) -> None:
    assert partition_of_dir(name) == partition
    assert is_marked_for_deletion(name) is name.endswith("-delete")


def test_only_names_that_begin_with_an_offset_are_files_of_segments() -> None:
    assert offset_of_name("00000000000000000017.log.deleted") == 17
    for name in (
        "partition.metadata",
        "17.log",
        "0000000000000000001x.log",
        "00000000000000000000-0000000000.checkpoint",
    ):
        assert offset_of_name(name) is None
