"""Offsets of transactions that have not ended, beside a model that looks through all of them."""

from __future__ import annotations

import random

import pytest

from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.groups.committed_offset import CommittedOffset, from_record
from odradek.broker.groups.offset_store import OffsetStore
from odradek.wire.persistent.group.offset_commit import OffsetCommitValue

GROUPS = ("a", "b")
KEYS = (("orders", 0), ("orders", 1), ("sums", 0))
PRODUCERS = (1, 2, 3)


def offset_at(position: int) -> CommittedOffset:
    return from_record(OffsetCommitValue(offset=position), position)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_unstable_is_what_an_unfinished_transaction_has_committed(seed: int) -> None:
    chance = random.Random(seed)
    timeline = Timeline()
    store = OffsetStore(timeline)
    pending: dict[int, dict[tuple[str, tuple[str, int]], int]] = {producer: {} for producer in PRODUCERS}
    committed: dict[tuple[str, tuple[str, int]], int] = {}
    for position in range(200):
        timeline.next_offset = position
        group, key, producer = chance.choice(GROUPS), chance.choice(KEYS), chance.choice(PRODUCERS)
        match chance.randrange(4):
            case 0:
                store.replay(group, key, None, -1)
                committed.pop((group, key), None)
                for offsets in pending.values():
                    offsets.pop((group, key), None)
            case 1:
                is_commit = chance.random() < 0.5
                store.replay_end_of_transaction(producer, committed=is_commit)
                for name, offset in pending[producer].items():
                    if is_commit:
                        committed[name] = max(offset, committed.get(name, -1))
                pending[producer] = {}
            case _:
                store.replay(group, key, offset_at(position), producer)
                pending[producer][group, key] = position
        unstable = {name for offsets in pending.values() for name in offsets}
        for group in GROUPS:
            assert store.has_pending(group) == any(name[0] == group for name in unstable)
            for key in KEYS:
                assert store.is_pending(group, key) == ((group, key) in unstable)
                found = store.latest(group, key)
                assert (None if found is None else found.offset) == committed.get((group, key))
