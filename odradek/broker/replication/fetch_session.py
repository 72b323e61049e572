"""The follower's side of an incremental fetch session (KIP-227)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.broker.fetch.session import INITIAL_EPOCH, INVALID_SESSION_ID, next_epoch
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic
from odradek.wire.uuids import Uuid

Key = tuple[Uuid, int]
"""(topic id, partition index)."""


class Asked(NamedTuple):
    """What a follower asks of one partition."""

    fetch_offset: int
    log_start_offset: int
    max_bytes: int
    current_leader_epoch: int
    last_fetched_epoch: int
    """-1 if its log knows no epoch."""


class FollowerSession:
    """Says what of the wanted partitions has to be told, and whether an answer belongs to it."""

    def __init__(self) -> None:
        self._id = INVALID_SESSION_ID
        self._epoch = INITIAL_EPOCH
        self._is_over = False
        self._told: dict[Key, Asked] = {}

    @property
    def is_new(self) -> bool:
        """Whether the next request has to name all partitions."""
        return self._is_over or self._epoch == INITIAL_EPOCH

    @property
    def asked(self) -> Mapping[Key, Asked]:
        """What the latest request asks for, with what is remembered of those before."""
        return self._told

    def build(self, wanted: Mapping[Key, Asked | None]) -> FetchRequest | None:
        """The next request, given the partitions that may have changed (None: to be forgotten), or all if `is_new`.

        None if there is nothing to fetch and nothing to forget.
        """
        if self.is_new:
            self._is_over = False
            self._epoch = INITIAL_EPOCH
            self._told = {key: asked for key, asked in wanted.items() if asked is not None}
            if not self._told:
                return None
            return FetchRequest(session_id=self._id, session_epoch=INITIAL_EPOCH, topics=_topics(self._told))
        changed: dict[Key, Asked] = {}
        forgotten: list[Key] = []
        for key, asked in wanted.items():
            known = self._told.get(key)
            if asked is None:
                if known is not None:
                    del self._told[key]
                    forgotten.append(key)
            elif asked != known:
                changed[key] = self._told[key] = asked
        if not self._told and not forgotten:
            return None
        return FetchRequest(
            session_id=self._id,
            session_epoch=self._epoch,
            topics=_topics(changed),
            forgotten_topics_data=_forgotten(forgotten),
        )

    def failed(self) -> None:
        """The leader may have another idea of the session: the next request ends it, if there is one, and begins anew.

        What is under way may still be answered.
        """
        self._is_over = True

    def answered(self, response: FetchResponse) -> bool:
        """Whether the response's partitions can be used; if not, the next request begins a session."""
        if response.error_code:
            if response.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND:
                self._id = INVALID_SESSION_ID
            self.failed()
            return False
        told = {
            (topic.topic_id, partition.partition_index)
            for topic in response.responses
            for partition in topic.partitions
        }
        is_first = self._epoch == INITIAL_EPOCH
        if not self._told.keys() >= told or (is_first and len(told) != len(self._told)):
            self.failed()
            return False
        self._id = response.session_id
        if response.session_id == INVALID_SESSION_ID:
            self.failed()
        else:
            self._epoch = next_epoch(self._epoch)
        return True


def _topics(partitions: Mapping[Key, Asked]) -> list[FetchTopic]:
    topics: dict[Uuid, FetchTopic] = {}
    for (topic_id, index), asked in partitions.items():
        topic = topics.get(topic_id)
        if topic is None:
            topic = topics[topic_id] = FetchTopic(topic_id=topic_id)
        topic.partitions.append(
            FetchPartition(
                partition=index,
                current_leader_epoch=asked.current_leader_epoch,
                fetch_offset=asked.fetch_offset,
                last_fetched_epoch=asked.last_fetched_epoch,
                log_start_offset=asked.log_start_offset,
                partition_max_bytes=asked.max_bytes,
            )
        )
    return list(topics.values())


def _forgotten(keys: list[Key]) -> list[ForgottenTopic]:
    topics: dict[Uuid, ForgottenTopic] = {}
    for topic_id, index in keys:
        topics.setdefault(topic_id, ForgottenTopic(topic_id=topic_id)).partitions.append(index)
    return list(topics.values())
