"""The broker's configuration as far as transactions read it."""

from __future__ import annotations

from typing import NamedTuple

from odradek.broker.topic_creation import internal_topic
from odradek.config.broker import BrokerConfig
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC
from odradek.wire.messages.create_topics import CreatableTopic


class TransactionOptions(NamedTuple):
    """Properties under Kafka's names (`transaction.*`, `transactional.*`), units last."""

    max_timeout_ms: int = 900_000
    abort_check_interval_ms: int = 10_000
    """`transaction.abort.timed.out.transaction.cleanup.interval.ms`"""
    expiration_ms: int = 604_800_000
    """`transactional.id.expiration.ms`"""
    expiration_check_interval_ms: int = 3_600_000
    """`transaction.remove.expired.transaction.cleanup.interval.ms`"""
    write_timeout_ms: int = 30_000
    """`request.timeout.ms`"""
    load_buffer_bytes: int = 5_242_880
    topic_partitions: int = 50
    add_retry_backoff_ms: int = 20
    """`add.partitions.to.txn.retry.backoff.ms`"""
    add_retry_max_ms: int = 100
    """`add.partitions.to.txn.retry.backoff.max.ms`"""

    @classmethod
    def from_config(cls, config: BrokerConfig) -> TransactionOptions:
        """Read them from the broker's configuration."""
        return cls(
            max_timeout_ms=config.int_("transaction.max.timeout.ms"),
            abort_check_interval_ms=config.int_("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            expiration_ms=config.int_("transactional.id.expiration.ms"),
            expiration_check_interval_ms=config.int_("transaction.remove.expired.transaction.cleanup.interval.ms"),
            write_timeout_ms=config.int_("request.timeout.ms"),
            load_buffer_bytes=config.int_("transaction.state.log.load.buffer.size"),
            topic_partitions=config.int_("transaction.state.log.num.partitions"),
            add_retry_backoff_ms=config.int_("add.partitions.to.txn.retry.backoff.ms"),
            add_retry_max_ms=min(
                config.int_("add.partitions.to.txn.retry.backoff.max.ms"), config.int_("request.timeout.ms")
            ),
        )


def transaction_state_topic(config: BrokerConfig) -> CreatableTopic:
    """`__transaction_state` as it is created when the first producer asks for its coordinator."""
    configs = {
        "unclean.leader.election.enable": "false",
        "compression.type": "uncompressed",
        "cleanup.policy": "compact",
        "min.insync.replicas": str(config.int_("transaction.state.log.min.isr")),
        "segment.bytes": str(config.int_("transaction.state.log.segment.bytes")),
    }
    return internal_topic(
        TRANSACTION_STATE_TOPIC,
        config.int_("transaction.state.log.num.partitions"),
        config.int_("transaction.state.log.replication.factor"),
        configs,
    )
