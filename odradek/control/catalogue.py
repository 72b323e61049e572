"""All operations, and the description of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from odradek import __version__
from odradek.control import fault_controls, group_controls, node_controls, request_controls, topic_controls
from odradek.control.openapi import describe

_MODULES = (node_controls, topic_controls, group_controls, request_controls, fault_controls)
OPERATIONS = tuple(operation for module in _MODULES for operation in module.OPERATIONS)
COMPONENTS = {name: schema for module in _MODULES for name, schema in module.COMPONENTS.items()}
TAGS = {
    node_controls.NODES: "The nodes themselves.",
    node_controls.CLOCK: "The nodes' time, which can be moved.",
    topic_controls.TAG: "Topics and their records, without a client.",
    group_controls.GROUPS: "Groups of consumers.",
    group_controls.TRANSACTIONS: "Transactions.",
    request_controls.TAG: "What clients have sent.",
    fault_controls.TAG: "What goes wrong on demand.",
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI description."""
    return describe(OPERATIONS, COMPONENTS, TAGS, __version__)
