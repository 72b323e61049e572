"""What a controller writes before anything else when it begins to lead."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.config import BrokerConfig
from odradek.config.types import ResourceType
from odradek.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import TRANSACTIONS_SINCE
from odradek.wire.persistent.metadata.abort_transaction_record import AbortTransactionRecord
from odradek.wire.persistent.metadata.begin_transaction_record import BeginTransactionRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.end_transaction_record import EndTransactionRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.schema import Message

MIN_ISR = "min.insync.replicas"


def activation_records(
    bootstrap: Sequence[Message], in_transaction: bool, image: MetadataImage, config: BrokerConfig
) -> list[VersionedRecord]:
    """End what another leader left unfinished; into an empty log, write the bootstrap records.

    They are a metadata transaction where metadata.version knows those, and else have to be appended atomically.
    """
    records: list[VersionedRecord] = []
    is_empty = not image.features.finalized
    if in_transaction:
        records.append(VersionedRecord(AbortTransactionRecord(reason="Controller failover"), 0))
    if is_empty and bootstrap:
        has_transactions = _level(bootstrap, METADATA_VERSION) >= TRANSACTIONS_SINCE
        if has_transactions:
            records.append(VersionedRecord(BeginTransactionRecord(name="Bootstrap records"), 0))
        records += [VersionedRecord(record, 0) for record in bootstrap]
        if _level(bootstrap, ELIGIBLE_LEADER_REPLICAS_VERSION) > 0:
            # From now on all brokers must count with the same minimum, so it becomes the cluster's.
            minimum = ConfigRecord(
                resource_type=ResourceType.BROKER,
                resource_name="",
                name=MIN_ISR,
                value=str(config.int_(MIN_ISR)),
            )
            records.append(VersionedRecord(minimum, 0))
        if has_transactions:
            records.append(VersionedRecord(EndTransactionRecord(), 0))
    return records


def _level(bootstrap: Sequence[Message], feature: str) -> int:
    levels = {record.name: record.feature_level for record in bootstrap if isinstance(record, FeatureLevelRecord)}
    return levels.get(feature, 0)
