"""What of a producer's batch goes into the log of a topic that compresses, or limits, records itself."""

from __future__ import annotations

import random

import pytest

from odradek.broker.replication.admission import Admission
from odradek.storage.log_config import LogConfig
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import iter_records
from odradek.wire.records.compression import Codec
from tests.unit.broker.scene import batch_of
from tests.unit.fakes import FakeWorld

PRODUCE_VERSION = 12
WORDS = [f"word{number}".encode() for number in range(500)]
TEXT = b" ".join(random.Random(1).choices(WORDS, k=20_000))
"""Worth more effort: the better a codec looks, the shorter it gets."""


def admit(batch: bytes, config: LogConfig) -> memoryview:
    admission = Admission(FakeWorld(), check_every_record=False)
    admitted, header = admission.admit(bytearray(batch), config, PRODUCE_VERSION)
    assert header.size_bytes == len(admitted)
    return admitted


@pytest.mark.parametrize(("codec", "low", "high"), [("gzip", 1, 9), ("lz4", 1, 17), ("zstd", -1000, 19)])
def test_a_topics_codec_has_the_topics_level(codec: str, low: int, high: int) -> None:
    quick, small = (
        admit(batch_of(TEXT), LogConfig.from_values({"compression.type": codec, f"compression.{codec}.level": level}))
        for level in (low, high)
    )
    assert len(small) < len(quick) < len(TEXT)
    for admitted in (quick, small):
        assert [record.value for record in iter_records(bytes(admitted))] == [TEXT]


def test_a_batch_in_the_topics_codec_stays_as_the_producer_compressed_it() -> None:
    batch = batch_of(TEXT, codec=Codec.GZIP)
    assert bytes(admit(batch, LogConfig(compression_type="gzip", compression_gzip_level=1))) == batch


def test_a_compressed_record_beyond_the_topics_limit_is_refused() -> None:
    topic = LogConfig(max_decompressed_message_bytes=10_000)
    with pytest.raises(KafkaError) as refused:
        admit(batch_of(TEXT, codec=Codec.ZSTD), topic)
    assert refused.value.code == ErrorCode.INVALID_RECORD
    small = batch_of(b"v" * 9000, codec=Codec.ZSTD)
    assert bytes(admit(small, topic)) == small


def test_the_limit_is_for_compressed_records_only() -> None:
    batch = batch_of(TEXT)
    assert bytes(admit(batch, LogConfig(max_decompressed_message_bytes=10))) == batch
