"""Operations on groups and transactions."""

from __future__ import annotations

from odradek.control.operations import TIMEOUT, Call, Controlled, Operation, Parameter
from odradek.control.schemas import INTEGER, STRING, array, mapping, ref, schema_of
from odradek.testing.group_inspection import find_group, groups
from odradek.testing.groups import EmbeddedGroup
from odradek.testing.inspection import find_transaction, transactions
from odradek.testing.states import GroupInfo, TransactionInfo
from odradek.testing.transactions import EmbeddedTransaction
from odradek.wire.errors import ErrorCode, KafkaError

GROUPS, TRANSACTIONS = "groups", "transactions"
COMPONENTS = {"Group": schema_of(GroupInfo), "Transaction": schema_of(TransactionInfo)}


async def _groups(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(groups)


async def _group(kafka: Controlled, call: Call) -> object:
    group = EmbeddedGroup(kafka.running, call.path("group"))
    members, lag, state = call.number("members"), call.number("max_lag"), call.text("state")
    found = await kafka.call(find_group, group.group_id)
    if state is not None:
        found = await group.wait_for_state_async(state, timeout_s=call.timeout_s)
    if members is not None:
        found = await group.wait_for_stable_async(members, timeout_s=call.timeout_s)
    if lag is not None:
        found = await group.wait_for_lag_async(lag, timeout_s=call.timeout_s)
    if not found.exists and state is None:
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group.group_id}")
    return found


async def _transactions(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(transactions)


async def _transaction(kafka: Controlled, call: Call) -> object:
    name, state = call.path("transactional_id"), call.text("state")
    if state is not None:
        return await EmbeddedTransaction(kafka.running, name).wait_for_state_async(state, timeout_s=call.timeout_s)
    found = await kafka.call(find_transaction, name)
    if found is None:
        raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, f"there is no transactional id {name}")
    return found


_GROUP_STATES = [
    "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Stable", "Dead",
]  # fmt: skip
_TRANSACTION_STATES = [
    "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
]  # fmt: skip
_COUNT = {**INTEGER, "minimum": 0, "maximum": 2**31 - 1}
OPERATIONS = (
    Operation(
        method="GET", path="/groups", name="groups", tag=GROUPS, handler=_groups, answer=mapping(STRING),
        summary="The groups and their states.",
    ),
    Operation(
        method="GET", path="/groups/{group}", name="group", tag=GROUPS, handler=_group, answer=ref("Group"),
        problems=(404, 504),
        summary="A group, classic or consumer: its state, members, offsets and lag.",
        description="With any of `state`, `members` and `max_lag` it answers once these hold.",
        query=(
            Parameter("state", {**STRING, "enum": _GROUP_STATES}, "Wait until it is in this state; Dead is: gone."),
            Parameter("members", _COUNT, "Wait until it is stable with so many members."),
            Parameter("max_lag", _COUNT, "Wait until it has committed all but so many records of its topics."),
            TIMEOUT,
        ),
    ),
    Operation(
        method="GET", path="/transactions", name="transactions", tag=TRANSACTIONS, handler=_transactions,
        answer=array(ref("Transaction")),
        summary="All transactional ids, and their latest transactions.",
    ),
    Operation(
        method="GET", path="/transactions/{transactional_id}", name="transaction", tag=TRANSACTIONS,
        handler=_transaction, answer=ref("Transaction"), problems=(404, 504),
        summary="A transactional id: its state, producer and partitions.",
        query=(Parameter("state", {**STRING, "enum": _TRANSACTION_STATES}, "Wait until it is in this."), TIMEOUT),
    ),
)  # fmt: skip
