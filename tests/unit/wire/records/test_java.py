"""Kafka's own classes read what we write, and judge batches as we do."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterable

import pytest
from java_oracle import ROOT, libs_folder, why_not

from odradek.wire.errors import KafkaError
from odradek.wire.records.batch import build_batch
from odradek.wire.records.codecs import snappy
from odradek.wire.records.compression import Codec, level_range
from odradek.wire.records.header import HEADER_BYTES, TimestampType, parse_header, seal_batch
from odradek.wire.records.record import Record, encode_record
from odradek.wire.records.validation import (
    MAX_INT64,
    RecordRules,
    RecordValidationError,
    check_batch,
    validate_records,
)

from .examples import CORPUS, NOW_MS, header_as_java, record_as_java
from .hostile import HEADER_FAULTS, RECORD_FAULTS, RECORDS, UNREADABLE_FAULTS, fields

TIMEOUT_S = 100
PROGRAM = ROOT / "tools" / "oracle" / "RecordsOracle.java"

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SOME = [
    Record(30, NOW_MS, None, b"no key"),
    Record(31, NOW_MS - 5, b"", None, [("name", b"value"), ("name", None), ("\u00e9\u4e16", b"")]),
    Record(32, NOW_MS + 1_000_000_000, b"k" * 200, b"v" * 70_000),
    Record(33, -1, b"k", bytes(range(256)) * 300),
]


def run_oracle(command: str, lines: Iterable[str] = ()) -> list[str]:
    """The lines that the oracle answers with."""
    call = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{libs_folder()}/*", str(PROGRAM), command]
    text = "".join(f"{line}\n" for line in lines)
    run = subprocess.run(call, input=text, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=True)
    return run.stdout.splitlines()


def test_the_corpus_is_what_java_writes() -> None:
    def steady(lines: list[str]) -> list[str]:
        # another zlib or zstd may compress to other bytes of the same meaning
        return [line for line in lines if '"codec":1' not in line and '"codec":4' not in line]

    assert steady(run_oracle("corpus")) == steady(CORPUS.read_text().splitlines())


def _our_batches() -> list[bytes]:
    levels = [(codec, level) for codec in Codec for level in (None, *(level_range(codec) or ()))]
    batches = [build_batch(SOME, 30, codec=codec, level=level, leader_epoch=4) for codec, level in levels]
    for codec in Codec:
        batches += (
            build_batch(SOME, 30, codec=codec, timestamp_type=TimestampType.LOG_APPEND_TIME, log_append_time_ms=9),
            build_batch(SOME, 30, codec=codec, producer_id=8, base_sequence=5, is_transactional=True),
        )
    plain = build_batch(SOME, 30)
    header = parse_header(plain)._replace(attributes=int(Codec.SNAPPY))
    batches.append(seal_batch(header, snappy.compress_block(plain[HEADER_BYTES:])))
    return batches


def test_java_reads_what_we_write() -> None:
    batches = _our_batches()
    answers = run_oracle("read", (b64encode(batch).decode() for batch in batches))
    for batch, answer in zip(batches, answers, strict=True):
        header = parse_header(batch)
        records = SOME
        if header.timestamp_type is TimestampType.LOG_APPEND_TIME:
            records = [Record(r.offset, 9, r.key, r.value, r.headers) for r in SOME]
        described = header_as_java(header) | {"records": [record_as_java(record) for record in records]}
        assert json.loads(answer) == {"batches": [described]}


def _gaps(codec: Codec) -> bytes:
    return build_batch([Record(0, NOW_MS, b"a", b""), Record(1, NOW_MS + 7, b"b", b"")], codec=codec)


BATCHES: dict[str, bytes] = {
    **{name: batch for name, (batch, _) in (HEADER_FAULTS | RECORD_FAULTS).items()},
    **{f"good {codec.name}": build_batch(RECORDS, codec=codec) for codec in Codec},
    **{f"two timestamps {codec.name}": _gaps(codec) for codec in Codec},
    "no keys": build_batch([Record(0, NOW_MS, None, b""), Record(1, NOW_MS, b"", b""), Record(2, 5, None, b"")]),
    "no keys, gzip": build_batch([Record(0, NOW_MS, None, b""), Record(1, 5, b"", b"")], codec=Codec.GZIP),
    "early and late": build_batch(
        [Record(index, NOW_MS + delta, b"k", b"") for index, delta in enumerate((-60_000, -100, 0, 100, 9_999_999))]
    ),
    "no timestamp": build_batch([Record(0, -1, b"k", b"")]),
    "append time": build_batch(RECORDS, timestamp_type=TimestampType.LOG_APPEND_TIME, log_append_time_ms=NOW_MS),
    "append time of -1": build_batch(
        RECORDS, codec=Codec.LZ4, timestamp_type=TimestampType.LOG_APPEND_TIME, log_append_time_ms=-1
    ),
    "timestamp overflow": fields(
        encode_record(0, MAX_INT64, b"k", b"", b"\x00"), record_count=1, last_offset_delta=0, max_timestamp_ms=1
    ),
    "wrong latest timestamp": fields(max_timestamp_ms=1),
    "transaction without a producer": fields(attributes=0x10),
    "delete horizon": fields(attributes=0x40),
    "unused attributes": fields(attributes=0x80),
    "lowest sequence": fields(producer_id=1, base_sequence=-(1 << 31)),
    "negative producer": fields(producer_id=-2, base_sequence=-5),
    "long records": build_batch([Record(0, NOW_MS, b"k", bytes(2000))], codec=Codec.ZSTD),
}

RULES = {
    "default": RecordRules(),
    "compacted": RecordRules(compacted=True),
    "append time": RecordRules(timestamp_type=TimestampType.LOG_APPEND_TIME),
    "narrow": RecordRules(compacted=True, timestamp_before_max_ms=1000, timestamp_after_max_ms=100),
    "short records": RecordRules(max_decompressed_record_bytes=1000),
}


def our_verdict(batch: bytes, rules: RecordRules) -> dict[str, object]:
    """What we make of a batch, as the oracle prints it."""
    try:
        header = check_batch(batch, 1 << 20)
        found = validate_records(batch, header, rules, NOW_MS)
    except RecordValidationError as error:
        return {"error": error.code.name, "indexes": [one.batch_index for one in error.errors]}
    except KafkaError as error:
        return {"error": error.code.name}
    return {"max_timestamp_ms": found.max_timestamp_ms, "rebuilt": not found.offsets_are_consecutive}


def _question(batch: bytes, rules: RecordRules) -> str:
    """What the oracle needs in order to judge a batch."""
    return json.dumps(
        {
            "batch": b64encode(batch).decode(),
            "now_ms": NOW_MS,
            "compacted": rules.compacted,
            "timestamp_type": ["CreateTime", "LogAppendTime"][rules.timestamp_type],
            "before_ms": rules.timestamp_before_max_ms,
            "after_ms": rules.timestamp_after_max_ms,
            "max_record_bytes": rules.max_decompressed_record_bytes,
        }
    )


def test_what_we_call_corrupt_kafka_did_not_expect() -> None:
    batches = [batch for batch, _ in UNREADABLE_FAULTS.values()]
    answers = run_oracle("validate", (_question(batch, RecordRules()) for batch in batches))
    assert [json.loads(answer) for answer in answers] == [{"error": "UNKNOWN_SERVER_ERROR"}] * len(batches)


def test_a_leader_of_kafkas_judges_as_we_do() -> None:
    cases = [(name, rule) for name in BATCHES for rule in RULES]
    answers = run_oracle("validate", [_question(BATCHES[name], RULES[rule]) for name, rule in cases])
    differences = {
        case: (json.loads(answer), ours)
        for case, answer in zip(cases, answers, strict=True)
        if json.loads(answer) != (ours := our_verdict(BATCHES[case[0]], RULES[case[1]]))
    }
    assert differences == {}
