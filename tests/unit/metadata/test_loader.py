from __future__ import annotations

from typing import NamedTuple

import pytest

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.loader import MetadataLoader
from odradek.metadata.topics_delta import MetadataError
from odradek.wire.persistent.metadata.abort_transaction_record import AbortTransactionRecord
from odradek.wire.persistent.metadata.begin_transaction_record import BeginTransactionRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.end_transaction_record import EndTransactionRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.schema import Message


class Batch(NamedTuple):
    last_offset: int
    records: tuple[Message, ...]
    epoch: int = 1
    timestamp_ms: int = 5
    size_bytes: int = 100


def topic(name: str) -> TopicRecord:
    return TopicRecord(name=name, topic_id=name.encode().ljust(16))


def config(name: str, key: str) -> ConfigRecord:
    return ConfigRecord(resource_type=2, resource_name=name, name=key, value="1")


class Published:
    def __init__(self, loader: MetadataLoader) -> None:
        self.changed: list[list[str]] = []
        self.images: list[MetadataImage] = []
        loader.add_publisher(self)

    def __call__(self, delta: MetadataDelta, image: MetadataImage) -> None:
        self.changed.append(delta.changed_topics)
        self.images.append(image)


def test_what_is_committed_together_is_published_once() -> None:
    loader = MetadataLoader()
    published = Published(loader)
    loader.commit([Batch(0, (topic("a"),)), Batch(2, (topic("b"), topic("c")))])
    loader.commit([Batch(3, (topic("d"),))])
    assert published.changed == [["a", "b", "c"], ["d"]]
    assert (published.images[-1].offset, published.images[-1].epoch, published.images[-1].timestamp_ms) == (3, 1, 5)
    assert loader.bytes_since_snapshot == 300


def test_a_transaction_is_published_when_it_ends() -> None:
    loader = MetadataLoader()
    published = Published(loader)
    loader.commit([Batch(1, (topic("a"), BeginTransactionRecord()))])
    loader.commit([Batch(2, (topic("b"),))])
    assert published.images == []
    assert loader.in_transaction
    loader.commit([Batch(3, (EndTransactionRecord(),))])
    assert published.changed == [["a", "b"]]
    assert published.images[-1].offset == 3
    assert not loader.in_transaction


def test_nothing_is_seen_of_a_transaction_that_was_aborted() -> None:
    loader = MetadataLoader()
    published = Published(loader)
    loader.commit([Batch(2, (BeginTransactionRecord(), topic("b"), topic("c")))])
    loader.commit([Batch(4, (AbortTransactionRecord(), topic("d")))])
    assert published.changed == [["d"]]
    assert list(published.images[-1].topics.by_name) == ["d"]


def test_transactions_do_not_nest() -> None:
    loader = MetadataLoader()
    with pytest.raises(MetadataError):
        loader.commit([Batch(0, (EndTransactionRecord(),))])
    with pytest.raises(MetadataError):
        loader.commit([Batch(2, (BeginTransactionRecord(), BeginTransactionRecord()))])


def test_the_first_publication_after_a_snapshot_tells_of_all_that_it_held() -> None:
    loader = MetadataLoader()
    published = Published(loader)
    loader.load_snapshot([topic("a"), topic("b")], 9, 2, 4)
    assert (loader.image.offset, loader.image.epoch) == (9, 2)
    assert published.images == []
    loader.commit([Batch(10, (topic("c"),))])
    assert published.changed == [["a", "b", "c"]]


def test_a_snapshot_that_comes_later_is_published_as_what_it_changes() -> None:
    """A follower that is behind the leader's log (KIP-630)."""
    loader = MetadataLoader()
    loader.commit([Batch(3, (topic("kept"), topic("gone"), config("kept", "old"), config("gone", "x")))])
    published = Published(loader)
    deleted: list[list[str]] = []
    loader.add_publisher(lambda delta, _image: deleted.append([name for name, _id in delta.deleted_topics]))
    loader.load_snapshot([topic("kept"), topic("new"), config("kept", "new")], 90, 4, 7)
    assert published.changed == [["new"]]
    assert deleted == [["gone"]]
    image = loader.image
    assert sorted(image.topics.by_name) == ["kept", "new"]
    assert image.configs.properties(2, "kept") == {"new": "1"}
    assert (image.offset, image.epoch, loader.bytes_since_snapshot) == (90, 4, 0)
    loader.commit([Batch(91, (topic("next"),))])
    assert published.changed[-1] == ["next"]
