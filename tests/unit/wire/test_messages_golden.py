"""What Kafka 4.4.0's own classes wrote (tools/golden.py) is what we write and read, without Java."""

from __future__ import annotations

from functools import cache

import pytest
from golden import CORPUS, family_of, read_corpus
from wire_values import message_classes, versions_of

from odradek.wire.json_form import Json, from_json, to_json
from odradek.wire.schema import Message

FAMILIES = ("messages", "metadata", "group", "transaction", "share", "raft", "storage")


@cache
def classes_of(family: str) -> dict[str, type[Message]]:
    return {cls.__name__: cls for cls in message_classes() if family_of(cls) == family}


def corpus(family: str) -> list[tuple[type[Message], int, bytes, Json, bool]]:
    classes = classes_of(family)
    entries = read_corpus(CORPUS / f"{family}.jsonl.gz")
    return [(classes[name], version, content, raw, tagged) for name, version, content, raw, tagged in entries]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_kafka_wrote_is_read_and_written_again(family: str) -> None:
    for cls, version, content, raw, _ in corpus(family):
        value = cls.decode(content, version)
        assert value.encode(version) == content, f"{cls.__name__} version {version}: {value}"
        assert to_json(value, version) == raw, f"{cls.__name__} version {version}"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_kafka_was_given_is_written_as_kafka_wrote_it(family: str) -> None:
    for cls, version, content, raw, has_unknown_tags in corpus(family):
        if not has_unknown_tags:
            value = from_json(cls, raw, version)
            assert value.encode(version) == content, f"{cls.__name__} version {version}: {value}"
            assert b"".join(bytes(chunk) for chunk in chunks(value, version)) == content


def chunks(value: Message, version: int) -> list[bytes | bytearray | memoryview]:
    return [chunk for chunk in value.encode_chunks(version) if isinstance(chunk, (bytes, bytearray, memoryview))]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_has_every_message_in_every_version(family: str) -> None:
    present = {(cls, version) for cls, version, *_ in corpus(family)}
    declared = {(cls, version) for cls in classes_of(family).values() for version in versions_of(cls)}
    assert present == declared


def test_every_family_is_checked() -> None:
    assert {family_of(cls) for cls in message_classes()} == set(FAMILIES)
