"""Any bytes, for any message in any version, give a value or `ProtocolError` and nothing else, in bounded memory."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_values import message_classes, random_value, versions_of

from odradek.wire import Budget, Message, ProtocolError

SCHEMAS = [(cls, version) for cls in message_classes() for version in versions_of(cls)]

HOSTILE_LENGTHS = (
    b"\x00",
    b"\xff" * 5,
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x10",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x0f\xff\xff",
    b"\x7f\xff",
    b"\xff\xff",
)
"""As varint, int32 and int16: nothing, null, far too much, below null."""


def value_or_protocol_error(cls: type[Message], version: int, content: bytes) -> None:
    """The invariant; and what was accepted is a value like any other: it can be written and read again."""
    try:
        value = cls.decode(content, version, budget=Budget(objects=10_000))
    except ProtocolError:
        return
    try:
        again = value.encode(version)
    except ProtocolError as error:
        if "used twice" not in str(error):  # the reader takes an unknown tag twice, as Kafka's does
            raise
        return
    assert cls.decode(again, version).encode(version) == again


@st.composite
def mutated(draw: st.DrawFn) -> tuple[type[Message], int, bytes]:
    """A valid encoding with some bytes changed, removed or replaced by hostile lengths."""
    cls, version = draw(st.sampled_from(SCHEMAS))
    random = Random(draw(st.integers(0, 1 << 32)))
    content = bytearray(random_value(cls, version, random, unknown_tags=True).encode(version))
    for _ in range(draw(st.integers(1, 4))):
        at = random.randrange(len(content) + 1)
        patch = draw(st.one_of(st.sampled_from(HOSTILE_LENGTHS), st.binary(min_size=1, max_size=6)))
        removed = draw(st.sampled_from((0, 1, len(patch), 40)))
        content[at : at + removed] = patch
    return cls, version, bytes(content)


@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_damaged_bytes_give_a_value_or_protocol_error(case: tuple[type[Message], int, bytes]) -> None:
    value_or_protocol_error(*case)


@settings(max_examples=1_000, deadline=None)
@given(st.sampled_from(SCHEMAS), st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_protocol_error(schema: tuple[type[Message], int], content: bytes) -> None:
    value_or_protocol_error(*schema, content)


@pytest.mark.parametrize("hostile", HOSTILE_LENGTHS, ids=bytes.hex)
def test_a_hostile_length_at_any_place_of_any_message(hostile: bytes) -> None:
    random = Random(hostile.hex())
    for cls, version in SCHEMAS:
        content = random_value(cls, version, random).encode(version)
        for _ in range(6):
            at = random.randrange(len(content) + 1)
            value_or_protocol_error(cls, version, content[:at] + hostile + content[at + len(hostile) :])


def test_no_prefix_of_a_message_is_taken_for_one() -> None:
    random = Random(7)
    for cls, version in SCHEMAS:
        content = random_value(cls, version, random, unknown_tags=True).encode(version)
        for length in range(len(content)):
            with pytest.raises(ProtocolError):
                cls.decode_prefix(content[:length], version)


def test_bytes_after_a_message_are_an_error_unless_asked_for() -> None:
    random = Random(8)
    for cls, version in SCHEMAS:
        value = random_value(cls, version, random)
        content = value.encode(version)
        with pytest.raises(ProtocolError):
            cls.decode(content + b"\x00", version)
        assert cls.decode_prefix(b"\xff" + content + b"rest", version, 1) == (value, 1 + len(content))


def test_lengths_that_lie_cost_no_memory() -> None:
    """At every position, a length of 2^31 - 1: what is allocated stays near the size of the input."""
    ceiling_bytes = 256 * 1024
    random = Random(9)
    for cls in message_classes():
        version = cls.MAX_VERSION
        content = random_value(cls, version, random).encode(version)[:120]
        for hostile in (b"\xff\xff\xff\xff\x07", b"\x7f\xff\xff\xff"):
            tracemalloc.start()
            for at in range(len(content)):
                value_or_protocol_error(cls, version, content[:at] + hostile + content[at:])
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < ceiling_bytes, f"{cls.__name__}: {peak} bytes"
