"""What goes into a codec comes out of it, and never more than allowed."""

from __future__ import annotations

import contextlib
import struct

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.records.codecs import gzip, lz4, snappy, zstd
from odradek.wire.records.compression import Codec, OutputLimitError, compress, decompress, level_range

from .examples import codecs

PACKED = [codec for codec in Codec if codec is not Codec.NONE]
SAMPLES = [b"", b"a", b"abc" * 70_000, bytes(range(256)) * 300, bytes(200_000)]
mixed = st.lists(st.binary(max_size=50).flatmap(lambda part: st.integers(1, 90).map(lambda n: part * n))).map(b"".join)


@given(codecs, mixed)
def test_round_trip_within_exactly_the_limit(codec: Codec, data: bytes) -> None:
    packed = compress(codec, data)
    assert decompress(codec, memoryview(packed), len(data)) == data
    if data:
        with pytest.raises(OutputLimitError):
            decompress(codec, packed, len(data) - 1)


@pytest.mark.parametrize("data", SAMPLES, ids=len)
@pytest.mark.parametrize("codec", list(Codec))
def test_round_trip_over_many_blocks(codec: Codec, data: bytes) -> None:
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", [codec for codec in PACKED if level_range(codec)])
def test_levels_are_those_of_kafkas_configurations(codec: Codec) -> None:
    levels = level_range(codec)
    assert levels is not None
    lowest, highest, default = levels
    data = b"some text, some more text " * 400
    for level in {lowest, highest, default}:
        assert decompress(codec, compress(codec, data, level), len(data)) == data
    for level in (lowest - 1 if lowest - 1 != default else lowest - 2, highest + 1):
        with pytest.raises(ValueError, match=str(level)):
            compress(codec, data, level)


def test_a_level_makes_a_difference() -> None:
    data = b" ".join(b"order %d for item %d" % (number, number * 7919 % 1009) for number in range(3000))
    for codec, weak, strong in ((Codec.GZIP, 1, 9), (Codec.LZ4, 9, 17), (Codec.ZSTD, -50, 19)):
        assert len(compress(codec, data, weak)) > len(compress(codec, data, strong))


def test_codec_numbers_and_names() -> None:
    assert {codec.config_name: int(codec) for codec in Codec} == {
        "none": 0,
        "gzip": 1,
        "snappy": 2,
        "lz4": 3,
        "zstd": 4,
    }
    assert [Codec.of(number) for number in range(5)] == list(Codec)
    with pytest.raises(KafkaError) as caught:
        Codec.of(5)
    assert caught.value.code is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


@given(codecs, st.binary(max_size=300))
def test_any_bytes_decompress_or_are_refused(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert len(decompress(codec, data, 5000)) <= 5000


@given(
    st.sampled_from(PACKED),
    mixed,
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4),
    st.integers(0, 1 << 16),
)
def test_damaged_data_decompresses_or_is_refused(
    codec: Codec, data: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    packed = bytearray(compress(codec, data))
    for position, value in flips:
        packed[position % len(packed)] = value
    packed = packed[: len(packed) - cut % (len(packed) + 1)]
    with contextlib.suppress(ProtocolError):
        assert len(decompress(codec, packed, 20_000)) <= 20_000


class TestGzip:
    def test_members_that_follow_one_another_are_one_stream(self) -> None:
        assert gzip.decompress(gzip.compress(b"one") + gzip.compress(b"two"), 6) == b"onetwo"

    def test_what_is_no_member_after_the_last_one_is_ignored(self) -> None:
        assert gzip.decompress(gzip.compress(b"one") + b"zero", 3) == b"one"

    def test_the_limit_is_for_all_members_together(self) -> None:
        with pytest.raises(OutputLimitError):
            gzip.decompress(gzip.compress(b"one") + gzip.compress(b"two"), 5)

    def test_members_are_limited(self) -> None:
        one = gzip.compress(b"")
        assert gzip.decompress(one * gzip.MAX_MEMBERS, 0) == b""
        with pytest.raises(ProtocolError):
            gzip.decompress(one * (gzip.MAX_MEMBERS + 1), 0)

    @pytest.mark.parametrize("cut", [0, 1, 9, 15, -1])
    def test_a_member_that_is_cut_off_is_refused(self, cut: int) -> None:
        with pytest.raises(ProtocolError):
            gzip.decompress(gzip.compress(b"some words")[:cut], 100)


class TestSnappy:
    def test_both_framings_are_read(self) -> None:
        data = b"to and fro " * 9000
        assert snappy.decompress(snappy.compress_block(data), len(data)) == data
        assert snappy.decompress(snappy.compress(data), len(data)) == data
        assert snappy.compress(data).startswith(b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")

    def test_concatenated_streams_are_one(self) -> None:
        assert snappy.decompress(snappy.compress(b"one") + snappy.compress(b"two"), 6) == b"onetwo"

    def test_a_block_cannot_claim_what_its_length_rules_out(self) -> None:
        with pytest.raises(ProtocolError, match="claims"):
            snappy.decompress(b"\xff\xff\xff\xff\x0f" + bytes(10), 1 << 33)

    @pytest.mark.parametrize("length", [0, -1, 5, 1 << 30, -(1 << 31)])
    def test_a_chunk_must_have_its_length(self, length: int) -> None:
        block = bytes(cramjam.snappy.compress_raw(b"abc"))[:4]
        with pytest.raises(ProtocolError):
            snappy.decompress(snappy.STREAM_HEADER + struct.pack(">i", length) + block, 100)

    def test_a_stream_of_nothing(self) -> None:
        assert snappy.decompress(snappy.STREAM_HEADER, 0) == b""
        with pytest.raises(ProtocolError):
            snappy.decompress(snappy.STREAM_MAGIC, 0)


class TestLz4:
    def test_a_frame_starts_as_javas_does(self) -> None:
        assert lz4.compress(b"x").startswith(bytes.fromhex("04224d18604082"))

    @pytest.mark.parametrize("data", SAMPLES, ids=len)
    def test_a_level_changes_the_blocks_and_not_the_frame(self, data: bytes) -> None:
        frame = lz4.compress(data, 12)
        assert frame.startswith(lz4.FRAME_HEADER)
        assert lz4.decompress(frame, len(data)) == data

    def test_what_does_not_compress_is_stored(self) -> None:
        data = bytes(number * 7919 % 251 ^ number * 31 % 256 for number in range(1000))
        assert len(lz4.compress(data)) <= len(data) + 15

    def test_frames_with_checksums_are_read_and_checked(self) -> None:
        compressor = cramjam.lz4.Compressor(content_checksum=True, block_linked=False)
        compressor.compress(b"some words " * 30)
        frame = bytearray(bytes(compressor.finish()))
        assert frame[4] & 0x30 == 0x30, "a frame of independent blocks, each with a checksum"
        assert lz4.decompress(frame, 330) == b"some words " * 30
        frame[-10] ^= 1
        with pytest.raises(ProtocolError):
            lz4.decompress(frame, 330)

    def test_blocks_that_depend_on_each_other_are_refused_as_kafka_does(self) -> None:
        with pytest.raises(ProtocolError, match="depend"):
            lz4.decompress(bytes(cramjam.lz4.compress(b"some words " * 30)), 1000)

    def test_a_wrong_header_checksum_is_only_for_magic_0(self) -> None:
        frame = bytearray(lz4.compress(b"old client"))
        frame[6] ^= 0x55
        with pytest.raises(ProtocolError):
            lz4.decompress(frame, 100)
        assert lz4.decompress(frame, 100, ignore_header_checksum=True) == b"old client"

    def test_what_follows_the_first_frame_is_ignored(self) -> None:
        assert lz4.decompress(lz4.compress(b"one") + b"rest", 3) == b"one"

    def test_a_block_larger_than_the_frame_allows_is_refused(self) -> None:
        frame = lz4.FRAME_HEADER + struct.pack("<I", 65537 | 1 << 31) + bytes(65537) + bytes(4)
        with pytest.raises(ProtocolError, match="65537"):
            lz4.decompress(frame, 1 << 20)


class TestZstd:
    def test_frames_that_follow_one_another_are_one_stream(self) -> None:
        skippable = struct.pack("<II", 0x184D2A53, 3) + b"abc"
        data = zstd.compress(b"one") + skippable + zstd.compress(b"two")
        assert zstd.decompress(data, 6) == b"onetwo"

    def test_a_frame_of_unknown_size_is_read(self) -> None:
        data = b"streamed " * 100_000
        compressor = cramjam.zstd.Compressor(level=3)
        compressor.compress(data)
        frame = bytes(compressor.finish())
        assert frame[4] >> 5 == 0, "no size in the frame's header"
        assert zstd.decompress(frame, len(data)) == data
        with pytest.raises(OutputLimitError):
            zstd.decompress(frame, len(data) - 1)

    def test_a_huge_window_is_no_reason_to_refuse_what_is_small(self) -> None:
        window_of_2_to_the_41 = 31 << 3
        raw = b"small"
        frame = struct.pack("<IBB", 0xFD2FB528, 0, window_of_2_to_the_41)
        frame += (len(raw) << 3 | 1).to_bytes(3, "little") + raw
        assert zstd.decompress(frame, 100) == b"small"

    def test_a_frame_cannot_claim_what_its_blocks_rule_out(self) -> None:
        frame = struct.pack("<IBI", 0xFD2FB528, 0xA0, 1 << 29) + b"\x09\x00\x00x"
        with pytest.raises(ProtocolError, match="claims"):
            zstd.decompress(frame, 1 << 30)
        with pytest.raises(OutputLimitError):
            zstd.decompress(frame, 1 << 20)

    def test_many_empty_blocks_do_not_buy_time(self) -> None:
        frame = struct.pack("<IBB", 0xFD2FB528, 0, 0) + bytes(3) * 300_000 + b"\x01\x00\x00"
        assert zstd.decompress(frame, 1000) == b""

    @pytest.mark.parametrize(
        "data", [b"", b"\x28\xb5\x2f", b"nonsense", struct.pack("<II", 0x184D2A50, 0x7FFFFFFF)[:6]]
    )
    def test_what_is_no_frame_is_refused(self, data: bytes) -> None:
        with pytest.raises(ProtocolError):
            zstd.decompress(data, 100)
