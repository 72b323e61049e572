"""What an authorizer is asked: an operation on a resource, with Kafka's codes (KIP-11, KIP-140)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Protocol

from odradek.security.principal import Principal


class Operation(IntEnum):
    """AclOperation: what somebody wants to do."""

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class ResourceType(IntEnum):
    """ResourceType: what it is done to."""

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


NOT_REQUESTED = -(2**31)
"""The bit field of authorized operations in a response whose request did not ask for it."""

_SUPPORTED = {
    ResourceType.TOPIC: (
        Operation.READ,
        Operation.WRITE,
        Operation.CREATE,
        Operation.DESCRIBE,
        Operation.DELETE,
        Operation.ALTER,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.GROUP: (
        Operation.READ,
        Operation.DESCRIBE,
        Operation.DELETE,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.CLUSTER: (
        Operation.CREATE,
        Operation.CLUSTER_ACTION,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
        Operation.IDEMPOTENT_WRITE,
        Operation.ALTER,
        Operation.DESCRIBE,
    ),
}


class Authorizer(Protocol):
    """Decides who may do what."""

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Whether `principal`, connected from `host`, may do `operation` to the resource."""
        ...


class AllowAll:
    """The authorizer of a node without `authorizer.class.name`."""

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Always True."""
        del principal, host, operation, kind, name
        return True


def authorized_operations(
    authorizer: Authorizer, principal: Principal, host: str, kind: ResourceType, name: str
) -> int:
    """The bit field of operations allowed on a resource, as Metadata and Describe responses carry it (KIP-430)."""
    return bits(
        operation for operation in _SUPPORTED[kind] if authorizer.allows(principal, host, operation, kind, name)
    )


def bits(operations: Iterable[Operation]) -> int:
    """The 32-bit field with each operation's bit set."""
    field = 0
    for operation in operations:
        field |= 1 << operation
    return field
