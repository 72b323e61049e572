"""Asking the transaction coordinator about a transaction before its records are written (KIP-890).

Either whether the producer has added a partition, or, for producers of transaction version 2, to add it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple

from odradek.broker.broker_client import BrokerClient
from odradek.broker.coordinator.result import Producer
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.transactions.options import TransactionOptions
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC
from odradek.ports import Promise, Scheduler, spawn
from odradek.storage.producers import Verification
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)


class Support(Enum):
    """What the version of a producer's request says that it understands."""

    OLD_ERRORS = "old errors"
    """INVALID_TXN_STATE stands for TRANSACTION_ABORTABLE."""
    ABORTABLE = "abortable"
    ADDS_PARTITIONS = "adds partitions"
    """The broker adds partitions to the transaction itself."""


def support_of_produce(version: int) -> Support:
    """What a version of Produce stands for."""
    return Support.ADDS_PARTITIONS if version >= 12 else Support.ABORTABLE if version == 11 else Support.OLD_ERRORS


def support_of_offset_commit(version: int) -> Support:
    """What a version of TxnOffsetCommit stands for."""
    return Support.ADDS_PARTITIONS if version >= 5 else Support.ABORTABLE if version == 4 else Support.OLD_ERRORS


class Verified(NamedTuple):
    """The partitions that may not be written to and why, and what the writes to the others have to show."""

    errors: Mapping[TopicPartition, ErrorCode]
    verifications: Mapping[TopicPartition, Verification]


NOTHING_TO_VERIFY = Verified({}, {})
_NO_SUCH_PRODUCER = (ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_REQUEST)


class TransactionVerifier:
    """Knows which transactions are going on in this broker's logs, and asks about all others."""

    def __init__(
        self,
        replicas: ReplicaManager,
        brokers: BrokerClient,
        partition_for: Callable[[str], int],
        is_enabled: Callable[[], bool],
        scheduler: Scheduler,
        options: TransactionOptions,
    ) -> None:
        """`is_enabled` is `transaction.partition.verification.enable`."""
        self._replicas = replicas
        self._brokers = brokers
        self._partition_for = partition_for
        self.is_enabled = is_enabled
        self._scheduler = scheduler
        self._options = options

    def verify(
        self,
        transactional_id: str | None,
        producer: Producer,
        sequences: Mapping[TopicPartition, int],
        support: Support,
    ) -> Promise[Verified]:
        """Verify the partitions that a producer writes to, given with the first sequence of each; never fails."""
        adds = support is Support.ADDS_PARTITIONS
        if transactional_id is None or not (adds or self.is_enabled()):
            return Promise.of(NOTHING_TO_VERIFY)
        errors: dict[TopicPartition, ErrorCode] = {}
        verifications: dict[TopicPartition, Verification] = {}
        for name, sequence in sequences.items():
            try:
                producers = self._replicas.partition(name).leader_log().producers
                verification = producers.start_verification(
                    producer.producer_id, producer.producer_epoch, sequence, self._replicas.clock.now_ms(),
                    adds_partitions=adds,
                )  # fmt: skip
            except KafkaError as error:
                errors[name] = error.code
            else:
                if verification is not None:
                    verifications[name] = verification
        if not verifications:
            return Promise.of(Verified(errors, {}))
        return spawn(self._ask(transactional_id, producer, errors, verifications, support))

    def verify_patiently(
        self,
        transactional_id: str | None,
        producer: Producer,
        sequences: Mapping[TopicPartition, int],
        support: Support,
    ) -> Promise[Verified]:
        """`verify`, but where the broker adds partitions, it waits a while for the transaction before to be completed.

        That is `add.partitions.to.txn.retry.backoff.max.ms`: the producer was told that it may go on.
        """
        first = self.verify(transactional_id, producer, sequences, support)
        if first.done and not _is_too_early(first.result(), support):
            return first
        return spawn(self._wait(first, lambda: self.verify(transactional_id, producer, sequences, support), support))

    async def _wait(
        self, attempt: Promise[Verified], again: Callable[[], Promise[Verified]], support: Support
    ) -> Verified:
        clock = self._replicas.clock
        until_ms = clock.monotonic_ms() + self._options.add_retry_max_ms
        verified = await attempt
        while _is_too_early(verified, support) and clock.monotonic_ms() < until_ms:
            pause: Promise[None] = Promise()
            self._scheduler.call_later(self._options.add_retry_backoff_ms, partial(pause.resolve, None))
            await pause
            verified = await again()
        return verified

    async def _ask(
        self,
        transactional_id: str,
        producer: Producer,
        errors: dict[TopicPartition, ErrorCode],
        verifications: Mapping[TopicPartition, Verification],
        support: Support,
    ) -> Verified:
        try:
            answer = await self._send(transactional_id, producer, verifications, support)
        except KafkaError as error:
            errors.update(dict.fromkeys(verifications, error.code))
            return Verified(errors, verifications)
        for result in answer.results_by_transaction:
            for topic in result.topic_results:
                for partition in topic.results_by_partition:
                    code = _as_producers_know_it(ErrorCode(partition.partition_error_code), support)
                    if code is not ErrorCode.NONE:
                        errors[TopicPartition(topic.name, partition.partition_index)] = code
        for name, verification in verifications.items():
            if errors.get(name) in _NO_SUCH_PRODUCER:
                self._forget(name, producer, verification)
        return Verified(errors, verifications)

    def _forget(self, name: TopicPartition, producer: Producer, verification: Verification) -> None:
        """Whoever makes up producer ids must not fill the memory with them."""
        with contextlib.suppress(KafkaError):
            producers = self._replicas.partition(name).leader_log().producers
            producers.end_verification(producer.producer_id, verification)

    async def _send(
        self,
        transactional_id: str,
        producer: Producer,
        verifications: Mapping[TopicPartition, Verification],
        support: Support,
    ) -> AddPartitionsToTxnResponse:
        """The coordinator's answer; raises KafkaError if there is none, or if it refuses the request as a whole."""
        topics: dict[str, AddPartitionsToTxnTopic] = {}
        for name in verifications:
            topics.setdefault(name.topic, AddPartitionsToTxnTopic(name=name.topic)).partitions.append(name.partition)
        transaction = AddPartitionsToTxnTransaction(
            transactional_id=transactional_id,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            verify_only=support is not Support.ADDS_PARTITIONS,
            topics=list(topics.values()),
        )
        request = AddPartitionsToTxnRequest(transactions=[transaction])
        answer = await self._brokers.send(self._coordinator(transactional_id), request, AddPartitionsToTxnResponse)
        if answer.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE)
        if answer.error_code != ErrorCode.NONE:
            raise KafkaError(ErrorCode(answer.error_code))
        return answer

    def _coordinator(self, transactional_id: str) -> int:
        image = self._replicas.image
        topic = image.topics.by_name.get(TRANSACTION_STATE_TOPIC)
        partition = None if topic is None else topic.partitions.get(self._partition_for(transactional_id))
        broker = None if partition is None else image.cluster.brokers.get(partition.leader)
        if broker is None or broker.fenced:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return broker.id


def _is_too_early(verified: Verified, support: Support) -> bool:
    return support is Support.ADDS_PARTITIONS and ErrorCode.CONCURRENT_TRANSACTIONS in verified.errors.values()


def _as_producers_know_it(code: ErrorCode, support: Support) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.TRANSACTION_ABORTABLE and support is Support.OLD_ERRORS:
        return ErrorCode.INVALID_TXN_STATE
    return code
