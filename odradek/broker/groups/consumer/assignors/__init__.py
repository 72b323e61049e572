"""Assignors: pure functions from members and topics to who is to have which partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from odradek.broker.groups.consumer.assignors.range import assign_ranges
from odradek.broker.groups.consumer.assignors.spec import Assignment, AssignmentSpec
from odradek.broker.groups.consumer.assignors.uniform import assign_uniformly

Assignor = Callable[[AssignmentSpec], Assignment]

ASSIGNORS: Mapping[str, Assignor] = {"uniform": assign_uniformly, "range": assign_ranges}
"""The assignors that `group.consumer.assignors` may name."""
_CLASS_NAMES = {
    "org.apache.kafka.coordinator.group.assignor.UniformAssignor": "uniform",
    "org.apache.kafka.coordinator.group.assignor.RangeAssignor": "range",
}


def assignor_name(configured: str) -> str | None:
    """The assignor that an entry of `group.consumer.assignors` means, by its name or Kafka's class; None for others."""
    name = _CLASS_NAMES.get(configured, configured)
    return name if name in ASSIGNORS else None
