"""What a controller writes before anything else when it begins to lead."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.config import BrokerConfig
from odradek.config.types import ResourceType
from odradek.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import VersionedRecord
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
    """End what another leader left unfinished; into an empty log, write the bootstrap records as a transaction."""
    records: list[VersionedRecord] = []
    is_empty = not image.features.finalized
    if in_transaction:
        reason = "Aborting partial bootstrap records transaction" if is_empty else "Controller failover"
        records.append(VersionedRecord(AbortTransactionRecord(reason=reason), 0))
    if is_empty and bootstrap:
        records.append(VersionedRecord(BeginTransactionRecord(name="Bootstrap records"), 0))
        records += [VersionedRecord(record, 0) for record in bootstrap]
        if _enables_elr(bootstrap):
            # From now on all brokers must count with the same minimum, so it becomes the cluster's.
            minimum = ConfigRecord(
                resource_type=ResourceType.BROKER,
                resource_name="",
                name=MIN_ISR,
                value=str(config.int_(MIN_ISR)),
            )
            records.append(VersionedRecord(minimum, 0))
        records.append(VersionedRecord(EndTransactionRecord(), 0))
    return records


def _enables_elr(bootstrap: Sequence[Message]) -> bool:
    return any(
        isinstance(record, FeatureLevelRecord)
        and record.name == ELIGIBLE_LEADER_REPLICAS_VERSION
        and record.feature_level > 0
        for record in bootstrap
    )
