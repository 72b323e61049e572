"""Records as tests compare them, and what is said about those that differ."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from odradek.testing import ANYTHING, Record, Records, differences
from odradek.testing.differences import explain
from odradek.testing.records import StoredPartition, decoded
from odradek.wire.records.batch import BatchBuilder


def record(value: bytes, offset: int = 0) -> Record[bytes, bytes]:
    return Record(partition=0, offset=offset, timestamp_ms=1, key=b"k", value=value, headers=())


def topic(*values: bytes) -> Records[bytes, bytes]:
    return Records(record(value, offset) for offset, value in enumerate(values))


def expected(*values: bytes) -> list[Record[bytes, bytes]]:
    return [Record(value=value) for value in values]


def test_fields_that_are_not_given_may_be_anything() -> None:
    assert record(b"v") == Record(value=b"v")
    assert record(b"v") == Record(key=b"k", headers=[])
    assert record(b"v") == Record(value=ANYTHING)
    assert record(b"v") != Record(value=b"w")
    assert record(b"v") != Record(value=None)
    assert record(b"v") != Record(offset=1)
    assert record(b"v") != Record(headers=[("a", b"1")])
    assert record(b"v") != b"v"
    assert topic(b"a", b"b") == expected(b"a", b"b")
    assert expected(b"a", b"b") != topic(b"a")


def test_headers_may_be_a_dict_or_pairs_in_order() -> None:
    ours: Record[bytes, bytes] = Record(headers=(("a", b"1"), ("b", None)))
    assert ours == Record(headers={"a": b"1", "b": None})
    assert ours == Record(headers=[("a", b"1"), ("b", None)])
    assert ours != Record(headers=[("b", None), ("a", b"1")])


def test_a_record_shows_what_it_says() -> None:
    assert repr(record(b"v")) == "Record(partition=0, offset=0, timestamp_ms=1, key=b'k', value=b'v')"
    assert repr(Record(value=None, headers=[("a", b"1")])) == "Record(value=None, headers=(('a', b'1'),))"
    with pytest.raises(TypeError, match="unhashable"):
        hash(record(b"v"))


@pytest.mark.parametrize(
    ("there", "wanted", "lines"),
    [
        ([b"a"], [b"a", b"b"], ["  missing, number 1 of those expected: Record(value=b'b')"]),
        ([b"b"], [b"a", b"b"], ["  missing, number 0 of those expected: Record(value=b'a')"]),
        ([b"a", b"x", b"b"], [b"a", b"b"], [f"  too much, at index 1: {record(b'x', 1)!r}"]),
        ([b"a", b"b", b"b"], [b"a", b"b"], [f"  too much, at index 2: {record(b'b', 2)!r}"]),
        (
            [b"a", b"x", b"c"],
            [b"a", b"b", b"c", b"d"],
            [
                "  differs, at index 1:",
                "    value: b'x', and not b'b'",
                "  missing, number 3 of those expected: Record(value=b'd')",
            ],
        ),
        ([], [b"a"], ["  missing, number 0 of those expected: Record(value=b'a')"]),
    ],
)
def test_what_is_missing_too_much_or_different(
    there: Sequence[bytes], wanted: Sequence[bytes], lines: list[str]
) -> None:
    count = "1 record" if len(there) == 1 else f"{len(there)} records"
    first = f"{count} in the topic, {len(wanted)} expected:"
    assert explain(topic(*there), expected(*wanted)) == [first, *lines]
    assert explain(expected(*wanted), topic(*there)) == [first, *lines], "whichever side the topic is on"


def test_an_explanation_stays_short() -> None:
    lines = explain(topic(*[b"x"] * 1000), expected(*[b"y"] * 1000))
    assert lines is not None
    assert len(lines) == differences.MAX_LINES + 1
    assert lines[-1] == f"  ... and {1 + 2000 - differences.MAX_LINES} lines more"


def test_one_record_and_another() -> None:
    lines = explain(record(b"v"), Record(value=b"w", key=b"l"))
    assert lines == ["these records differ:", "  key: b'k', and not b'l'", "  value: b'v', and not b'w'"]


def test_what_has_no_records_is_left_to_pytest() -> None:
    assert explain([1], [2]) is None
    assert explain(topic(b"a"), 1) is None
    lines = explain(topic(b"a"), [b"a"])
    assert lines is not None
    assert "compare .values(...)" in lines[0]


def test_a_value_that_cannot_be_decoded_says_where_it_is() -> None:
    builder = BatchBuilder(5)
    builder.append(1, None, b"\xff")
    stored = StoredPartition(2, 0, builder.build(), ())
    with pytest.raises(UnicodeDecodeError) as raised:
        decoded([stored], None, bytes.decode)
    assert raised.value.__notes__ == ["in the record at offset 5 of partition 2"]
