"""How many connections there may be at a broker's listeners, or at a controller's; pure counting, as Kafka counts.

`max.connections`: while the node is full nothing is accepted, and clients wait in the listener's backlog. Only the
listener that brokers use among themselves, where it is not the only one, always accepts; an idle connection of
another listener then has to go. `max.connections.per.ip`: beyond it a connection is accepted and closed at once.
"""

from __future__ import annotations

from odradek.net.limits import NetworkLimits


class ConnectionQuotas:
    """Open connections, by address and in all."""

    def __init__(self, limits: NetworkLimits) -> None:
        self.limits = limits
        self.total = 0
        self._by_address: dict[str, int] = {}

    @property
    def full(self) -> bool:
        """Whether `max.connections` is reached."""
        return self.total >= self.limits.max_connections

    @property
    def excess(self) -> int:
        """Connections beyond `max.connections`."""
        return max(0, self.total - self.limits.max_connections)

    def open(self, address: str) -> bool:
        """Count a connection of `address`; False, and not counted, if the address has too many."""
        count = self._by_address.get(address, 0)
        if count >= self.limits.max_connections_per_ip_overrides.get(address, self.limits.max_connections_per_ip):
            return False
        self._by_address[address] = count + 1
        self.total += 1
        return True

    def close(self, address: str) -> None:
        """A counted connection is gone."""
        self.total -= 1
        count = self._by_address[address] - 1
        if count:
            self._by_address[address] = count
        else:
            del self._by_address[address]

    def count(self, address: str) -> int:
        """Open connections of `address`."""
        return self._by_address.get(address, 0)
