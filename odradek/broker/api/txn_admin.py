"""DescribeTransactions (65) and ListTransactions (66): what administrators ask of transactions (KIP-664, KIP-994)."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.transactions.filters import TransactionFilter
from odradek.broker.transactions.service import TransactionCoordinator
from odradek.broker.transactions.state import STATES_BY_LABEL
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TopicData,
    TransactionState,
)
from odradek.wire.messages.list_transactions import (
    ListTransactionsRequest,
    ListTransactionsResponse,
)
from odradek.wire.messages.list_transactions import TransactionState as ListedTransaction


class TxnAdminApi:
    """Answers from the committed state of the transaction coordinator."""

    def __init__(self, transactions: TransactionCoordinator, now_ms: Callable[[], int]) -> None:
        self._transactions = transactions
        self._now_ms = now_ms

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        transactional_id = ResourceType.TRANSACTIONAL_ID
        return [
            erase(
                Handler(
                    DescribeTransactionsRequest,
                    self._describe,
                    Operation.DESCRIBE,
                    transactional_id,
                    _describe_failed,
                    differences=("A transactional id that is named twice is described once.",),
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(
                Handler(
                    ListTransactionsRequest,
                    self._list,
                    Operation.DESCRIBE,
                    transactional_id,
                    differences=(
                        "A pattern that takes more than 256 KiB once it is compiled is INVALID_REGULAR_EXPRESSION.",
                    ),
                )
            ),
        ]

    async def _describe(
        self, context: RequestContext, request: DescribeTransactionsRequest
    ) -> DescribeTransactionsResponse:
        # Once each: transactions can have many partitions, and a name takes few bytes.
        names = dict.fromkeys(request.transactional_ids)
        return DescribeTransactionsResponse(
            transaction_states=[await self._describe_one(context, name) async for name in context.slices().each(names)]
        )

    async def _describe_one(self, context: RequestContext, transactional_id: str) -> TransactionState:
        try:
            if not context.allows(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, transactional_id):
                raise KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            if not transactional_id:
                raise KafkaError(ErrorCode.INVALID_REQUEST)
            metadata = await self._transactions.describe(transactional_id)
            if metadata is None:
                raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        except KafkaError as error:
            return TransactionState(transactional_id=transactional_id, error_code=error.code)
        topics: dict[str, TopicData] = {}
        for name in metadata.partitions:
            if context.allows(Operation.DESCRIBE, ResourceType.TOPIC, name.topic):
                topics.setdefault(name.topic, TopicData(topic=name.topic)).partitions.append(name.partition)
        return TransactionState(
            transactional_id=transactional_id,
            transaction_state=metadata.state.label,
            transaction_timeout_ms=metadata.timeout_ms,
            transaction_start_time_ms=metadata.start_ms,
            producer_id=metadata.producer_id,
            producer_epoch=metadata.producer_epoch,
            topics=list(topics.values()),
        )

    async def _list(self, context: RequestContext, request: ListTransactionsRequest) -> ListTransactionsResponse:
        wanted = TransactionFilter(
            states=request.state_filters,
            producer_ids=request.producer_id_filters,
            duration_ms=request.duration_filter,
            pattern=request.transactional_id_pattern,
            now_ms=self._now_ms(),
        )
        found = await self._transactions.list_all()
        return ListTransactionsResponse(
            unknown_state_filters=[
                label for label in dict.fromkeys(request.state_filters) if label not in STATES_BY_LABEL
            ],
            transaction_states=[
                ListedTransaction(
                    transactional_id=metadata.transactional_id,
                    producer_id=metadata.producer_id,
                    transaction_state=metadata.state.label,
                )
                async for metadata in context.slices().each(found)
                if wanted.accepts(metadata)
                and context.allows(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, metadata.transactional_id)
            ],
        )


def _describe_failed(
    request: DescribeTransactionsRequest, _version: int, error: KafkaError
) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[
            TransactionState(transactional_id=transactional_id, error_code=error.code)
            for transactional_id in dict.fromkeys(request.transactional_ids)
        ]
    )
