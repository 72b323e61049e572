"""The quorum's files, byte for byte as Apache Kafka 4.4.0 and its formatting tool write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.quorum.batches import decode_batches
from odradek.quorum.election_state import ElectionState
from odradek.quorum.formatting import MetaProperties
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, SnapshotId
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot, file_name, parse_file_name, read_snapshot
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet, VotersHistory
from odradek.wire.errors import KafkaError, ProtocolError
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.uuids import uuid_from_string

# A checkpoint that Kafka wrote; its batches were made at three different milliseconds.
KAFKA_CHECKPOINT = bytes.fromhex(
    "00000000000000000000009a000000000232dc539a002000000002000001a2052e9f49000001a2052e9f49ffffffffffffffffffffff"
    "ffffff000000032a0000000800000003160000000001a2052e9f3900001e00000208000000050a000000010000820100000408000000"
    "066e000002000000014717b3adeaf941cc953f668511a5b653020b434f4e54524f4c4c45520a3132372e302e302e314a950000000001"
    "000000000000000000000003000000f1000000000279a1e49f000000000005000001a2052e9f66000001a2052e9f66ffffffffffffff"
    "ffffffffffffff000000063a000000012e010c00116d657461646174612e76657273696f6e002100005a000002014e010c0021656c69"
    "6769626c652e6c65616465722e7265706c696361732e76657273696f6e00010000340000040128010c000e67726f75702e7665727369"
    "6f6e00010000340000060128010c000e73686172652e76657273696f6e0002000038000008012c010c001073747265616d732e766572"
    "73696f6e000100004000000a0134010c00147472616e73616374696f6e2e76657273696f6e0002000000000000000000090000003f00"
    "0000000257f644be002000000000000001a2052e9f68000001a2052e9f68ffffffffffffffffffffffffffff000000011a0000000800"
    "0000040600000000"
)
DIRECTORY = uuid_from_string("Rxezrer5QcyVP2aFEaW2Uw")
VOTERS = VoterSet((VoterNode(1, DIRECTORY, (VoterEndpoint("CONTROLLER", "127.0.0.1", 19093),)),))
LEVELS = {
    "metadata.version": 33,
    "eligible.leader.replicas.version": 1,
    "group.version": 1,
    "share.version": 2,
    "streams.version": 1,
    "transaction.version": 2,
}
CRC_AND_TIMES = ((17, 21), (27, 43))


def without_times(snapshot: bytes) -> list[bytes]:
    """The batches, with checksums and timestamps zeroed."""
    batches = []
    position = 0
    while position < len(snapshot):
        size = 12 + int.from_bytes(snapshot[position + 8 : position + 12], "big")
        batch = bytearray(snapshot[position : position + size])
        for start, end in CRC_AND_TIMES:
            batch[start:end] = bytes(end - start)
        batches.append(bytes(batch))
        position += size
    return batches


def test_a_checkpoint_of_kafka_is_read() -> None:
    history = VotersHistory()
    snapshot = read_snapshot(BOOTSTRAP_SNAPSHOT, KAFKA_CHECKPOINT, history)
    assert snapshot.last_contained_ms == 1795383271225
    assert snapshot.records == [FeatureLevelRecord(name=name, feature_level=level) for name, level in LEVELS.items()]
    assert history.voters == VOTERS
    assert history.kraft_version == 1


def test_a_checkpoint_is_written_as_kafka_writes_it() -> None:
    records = [(FeatureLevelRecord(name=name, feature_level=level), 0) for name, level in LEVELS.items()]
    times = SnapshotTimes(last_contained_ms=1795383271225, now_ms=1795383271241)
    ours = build_snapshot(BOOTSTRAP_SNAPSHOT, VOTERS, 1, records, times)
    assert without_times(ours) == without_times(KAFKA_CHECKPOINT)


@pytest.mark.parametrize("cut", [1, 63, 100])
def test_a_snapshot_without_its_end_is_refused(cut: int) -> None:
    with pytest.raises((ProtocolError, KafkaError)):
        read_snapshot(BOOTSTRAP_SNAPSHOT, KAFKA_CHECKPOINT[:-cut], VotersHistory())


@given(position=st.integers(160, len(KAFKA_CHECKPOINT) - 80), bit=st.integers(0, 7))
def test_a_snapshot_with_a_flipped_bit_in_its_records_is_refused(position: int, bit: int) -> None:
    damaged = bytearray(KAFKA_CHECKPOINT)
    damaged[position] ^= 1 << bit
    try:
        snapshot = read_snapshot(BOOTSTRAP_SNAPSHOT, bytes(damaged), VotersHistory())
    except (ProtocolError, KafkaError):
        return
    # The base offset and the leader epoch of a batch are the only bytes that its checksum does not cover.
    assert len(snapshot.records) == len(LEVELS)


def test_quorum_state_is_written_and_read_as_kafka_does() -> None:
    written = (
        b'{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}'
    )
    state = ElectionState(leader_epoch=1, leader_id=1)
    assert state.to_bytes() == written
    assert ElectionState.from_bytes(written) == state
    old = (
        b'{"clusterId":"","leaderId":2,"leaderEpoch":7,"votedId":-1,"appliedOffset":0,'
        b'"currentVoters":[{"voterId":1}],"data_version":0}'
    )
    assert ElectionState.from_bytes(old) == ElectionState(leader_epoch=7, leader_id=2)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"data_version":9}', b"\xff", b'{"data_version":1}'])
def test_a_quorum_state_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        ElectionState.from_bytes(content)


def test_meta_properties_are_written_and_read_as_kafka_does() -> None:
    written = (
        b"#\n#Sun Nov 22 21:34:31 UTC 2026\nnode.id=1\ndirectory.id=Rxezrer5QcyVP2aFEaW2Uw\nversion=1\n"
        b"cluster.id=FJkmiIyzQJqAwCJ4G8Cvjg\n"
    )
    properties = MetaProperties("FJkmiIyzQJqAwCJ4G8Cvjg", 1, DIRECTORY)
    assert properties.to_bytes(1795383271225) == written
    assert MetaProperties.from_bytes(written) == properties


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version=1\n",
        b"version=0\ncluster.id=x\nnode.id=1\ndirectory.id=Rxezrer5QcyVP2aFEaW2Uw\n",
        b"version=\\u12",
    ],
)
def test_meta_properties_that_cannot_be_used_are_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        MetaProperties.from_bytes(content)


def test_snapshot_files_are_named_by_offset_and_epoch() -> None:
    assert file_name(SnapshotId(1234, 7)) == "00000000000000001234-0000000007.checkpoint"
    assert parse_file_name("00000000000000001234-0000000007.checkpoint") == SnapshotId(1234, 7)
    for name in ("00000000000000000000.log", "x.checkpoint", "1-2.checkpoint.part", "quorum-state"):
        assert parse_file_name(name) is None


def test_a_batch_whose_checksum_is_wrong_is_not_replayed() -> None:
    damaged = bytearray(KAFKA_CHECKPOINT)
    damaged[-1] ^= 1
    with pytest.raises(KafkaError):
        list(decode_batches(bytes(damaged)))


def test_voters_are_those_of_an_offset_and_are_forgotten_with_a_cut_log() -> None:
    history = VotersHistory()
    assert history.voters == VoterSet()
    history.set_voters(5, VOTERS)
    history.set_kraft_version(4, 1)
    more = VoterSet((*VOTERS.voters, VoterNode(2, bytes(16), ())))
    history.set_voters(9, more)
    assert history.voters == more
    assert history.voters_at(8) == VOTERS
    assert history.voters_at(4) == VoterSet()
    assert (history.kraft_version_at(3), history.kraft_version_at(4)) == (0, 1)
    history.truncate_to(9)
    assert history.voters == VOTERS
    assert (history.voters_offset, history.kraft_version) == (5, 1)
