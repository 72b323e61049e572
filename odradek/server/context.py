"""What a handler knows about the request beside its body."""

from __future__ import annotations

from dataclasses import dataclass

from odradek.ports import Slices, Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import Authorizer, Operation, ResourceType, authorized_operations
from odradek.security.principal import Principal
from odradek.wire.apis import ApiKey


@dataclass(slots=True)
class RequestContext:
    """One request's header, its connection and who sent it."""

    api_key: ApiKey
    api_version: int
    correlation_id: int
    client_id: str | None
    connection: ConnectionInfo
    principal: Principal
    authorizer: Authorizer
    turns: Turns

    @property
    def listener(self) -> str:
        """The name of the listener that was asked."""
        return self.connection.listener

    @property
    def client_host(self) -> str:
        """The client's address, without the port."""
        return self.connection.peer_host

    def slices(self) -> Slices:
        """For a handler that goes through very many elements: lets it give way to others in between."""
        return Slices(self.turns)

    def allows(self, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Whether the sender may do `operation` to the resource."""
        return self.authorizer.allows(self.principal, self.client_host, operation, kind, name)

    def authorized_operations(self, kind: ResourceType, name: str) -> int:
        """The bit field of what the sender may do to the resource (KIP-430)."""
        return authorized_operations(self.authorizer, self.principal, self.client_host, kind, name)
