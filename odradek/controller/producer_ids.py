"""AllocateProducerIds: blocks of ids that no broker gets twice (KIP-730)."""

from __future__ import annotations

from odradek.controller.partitions import checked_broker
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from odradek.wire.persistent.metadata.producer_ids_record import ProducerIdsRecord

BLOCK_SIZE = 1000
MAX_PRODUCER_ID = 2**63 - 1


def allocate_producer_ids(
    state: ControllerState, request: AllocateProducerIdsRequest
) -> ControllerResult[AllocateProducerIdsResponse]:
    """The next block. Raises STALE_BROKER_EPOCH, and UNKNOWN_SERVER_ERROR when all ids are used up."""
    checked_broker(state, request.broker_id, request.broker_epoch)
    start = max(0, state.image.producer_ids.next_producer_id)
    if start > MAX_PRODUCER_ID - BLOCK_SIZE:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "Exhausted all producerIds as the next block's end offset")
    record = ProducerIdsRecord(
        broker_id=request.broker_id, broker_epoch=request.broker_epoch, next_producer_id=start + BLOCK_SIZE
    )
    response = AllocateProducerIdsResponse(producer_id_start=start, producer_id_len=BLOCK_SIZE)
    return ControllerResult(response, [VersionedRecord(record, 0)])
