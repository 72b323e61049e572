"""Consumers that are polled all the time, as applications do."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.support.drivers.base import Consumer, Record, TopicPartition


class Member:
    """Only its own thread touches the consumer."""

    def __init__(self, consumer: Consumer) -> None:
        self.assignment: set[TopicPartition] = set()
        self.records: list[Record] = []
        self._consumer = consumer
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self) -> None:
        self._leaving.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._leaving.is_set():
            self.records += self._consumer.poll(0.1)
            self.assignment = self._consumer.assignment()
        self._consumer.close()


@contextmanager
def group_of(consumers: Iterable[Consumer]) -> Iterator[list[Member]]:
    """Members, each polled before the next is opened: aiokafka opens once it is in the group, after a rebalance."""
    members: list[Member] = []
    try:
        members.extend(map(Member, consumers))
        yield members
    finally:
        for member in members:
            member.leave()
