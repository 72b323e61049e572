"""The life of a classic group."""

from __future__ import annotations

from enum import Enum


class GroupState(Enum):
    """The values are Kafka's names, as DescribeGroups and ListGroups show them."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    """Members have to join (again)."""
    COMPLETING_REBALANCE = "CompletingRebalance"
    """The generation is formed; its leader owes the assignment."""
    STABLE = "Stable"
    DEAD = "Dead"


REBALANCEABLE = (GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY)
"""The states from which a rebalance may start."""

PREVIOUS = {
    GroupState.EMPTY: (GroupState.PREPARING_REBALANCE,),
    GroupState.PREPARING_REBALANCE: REBALANCEABLE,
    GroupState.COMPLETING_REBALANCE: (GroupState.PREPARING_REBALANCE,),
    GroupState.STABLE: (GroupState.COMPLETING_REBALANCE,),
    GroupState.DEAD: tuple(GroupState),
}
"""From where each state may be reached."""
