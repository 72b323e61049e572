"""What faults are made of: links that are cut and mended, machines that die and come back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from odradek.ports import Promise
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.machine import BROKER_PORT, CONTROLLER_PORT, Machine
from tests.sim.cluster.network import Link, Network
from tests.sim.cluster.view import is_outlived


class Means:
    """Shared by all who make faults in one simulation; `heal` ends whatever goes on."""

    def __init__(self, kernel: Kernel, network: Network, machines: Sequence[Machine]) -> None:
        self.kernel = kernel
        self.network = network
        self.machines = machines
        self.random = kernel.random("faults")
        self.faults = 0
        """How many there were."""
        self.is_over = False
        self.spares_others = False
        """Whether nobody else may die while one has lost data: more than that Kafka does not promise to outlive."""
        self._blocked: list[Link] = []

    def heal(self) -> None:
        """No more faults, and those that go on end."""
        self.is_over = True
        self.kernel.note("heals")
        blocked, self._blocked = self._blocked, []
        for link in blocked:
            self.network.unblock(link)
        self.network.extra_ms.clear()
        for machine in self.machines:
            self.mend_disk(machine)
            machine.disk.go_on()
            if machine.is_stopping:
                machine.kill()
            if machine.process is not None:
                machine.process.resume()
            self.boot(machine)

    def note(self, what: str) -> None:
        """Say what is done now."""
        self.faults += 1
        self.kernel.note(f"fault: {what}")

    def mend_disk(self, machine: Machine) -> None:
        """The disk works again, and the machine starts anew.

        What it could not sync is gone then, unless nobody else has it. Were it still in the page cache, the next node
        would take it for synced, as the system does: it may stay there only if the power is not cut any more.
        """
        if machine.has_bad_disk:
            if _cannot_sync(machine) and self.may_mend(machine):
                machine.lose_power()
            else:
                machine.kill()
            machine.disk.faults.clear()
            machine.has_bad_disk = False

    def may_mend(self, machine: Machine) -> bool:
        """Whether nothing that is committed gets lost with what a machine could not sync."""
        if not (self.spares_others and _cannot_sync(machine)):
            return True
        return self.may_die(machine) and is_outlived(machine, self.machines)

    def may_die(self, machine: Machine) -> bool:
        """Whether a machine's death can cost nothing that is committed."""
        others = (other for other in self.machines if other is not machine)
        return not self.spares_others or not any(other.has_lost_data for other in others)

    def kill(self, machine: Machine) -> None:
        """As SIGKILL, unless it is spared."""
        if self.may_die(machine):
            machine.kill()

    def later(self, shortest_ms: float, longest_ms: float, undo: Callable[[], None]) -> None:
        """Do it then, unless all has been healed before."""
        duration_ms = self.random.uniform(shortest_ms, longest_ms)
        self.kernel.after(duration_ms, None, lambda: None if self.is_over else undo())

    def sleep(self, milliseconds: float) -> Promise[None]:
        """Settles then, or never if all has been healed before."""
        promise: Promise[None] = Promise()
        self.kernel.after(milliseconds, None, lambda: None if self.is_over else promise.resolve(None))
        return promise

    async def until(self, within_ms: float, is_done: Callable[[], bool], every_ms: float = 50) -> bool:
        """Wait for something, looking now and then; returns whether it came."""
        end_ms = self.kernel.now_ms + within_ms
        while not is_done():
            if self.kernel.now_ms >= end_ms:
                return False
            await self.sleep(every_ms)
        return True

    def any_machine(self) -> Machine:
        """One of them."""
        return self.random.choice(self.machines)

    def boot(self, machine: Machine) -> None:
        """Start it unless it runs."""
        if not machine.is_running:
            machine.boot()

    def reboots(self, machine: Machine, shortest_ms: float, longest_ms: float) -> None:
        """Start it some time later."""
        self.later(shortest_ms, longest_ms, lambda: self.boot(machine))

    def block(self, links: Iterable[Link]) -> None:
        """Let nothing through."""
        for link in links:
            self._blocked.append(link)
            self.network.block(link)

    def unblock(self, links: Iterable[Link]) -> None:
        """Undo what `block` did, unless healing has done so."""
        for link in links:
            if link in self._blocked:
                self._blocked.remove(link)
                self.network.unblock(link)

    def slow(self, links: Iterable[Link], extra_ms: float) -> None:
        """Let bytes take longer."""
        for link in links:
            self.network.extra_ms[link] = extra_ms

    def unslow(self, links: Iterable[Link]) -> None:
        """Let them take what they take."""
        for link in links:
            self.network.extra_ms.pop(link, None)

    def between(self, one: Machine, others: Iterable[Machine]) -> list[Link]:
        """All links between a machine and others, in both directions."""
        links = [(one.host, other.host) for other in others if other is not one]
        return links + [(there, here) for here, there in links]

    def replication(self, one: Machine, others: Iterable[Machine]) -> list[Link]:
        """The same for what goes to brokers only: the quorum goes on."""
        links: list[Link] = []
        for other in others:
            if other is not one:
                links += [(one.host, f"{other.host}:{BROKER_PORT}"), (f"{other.host}:{BROKER_PORT}", one.host)]
                links += [(other.host, f"{one.host}:{BROKER_PORT}"), (f"{one.host}:{BROKER_PORT}", other.host)]
        return links


def asking(one: Machine, other: Machine) -> list[Link]:
    """What a node asks another's controller goes there, and comes back."""
    port = f"{other.host}:{CONTROLLER_PORT}"
    return [(one.host, port), (port, one.host)]


def _cannot_sync(machine: Machine) -> bool:
    return any(fault.code == errno.EIO for fault in machine.disk.faults)
