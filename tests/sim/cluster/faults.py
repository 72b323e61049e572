"""What goes wrong, when, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.machine import Machine
from tests.sim.cluster.network import Link, Network

FAULT_EVERY_MS = 10_000.0
_HOUR_MS = 3_600_000


class Faults:
    """Makes one fault after the other until it is told to heal."""

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        machines: Sequence[Machine],
        client_hosts: Sequence[str],
        *,
        may_lose_power: Callable[[], bool] | None,
    ) -> None:
        self.count = 0
        self._kernel = kernel
        self._network = network
        self._machines = machines
        self._client_hosts = client_hosts
        self._random = kernel.random("faults")
        self._is_over = False
        self._may_lose_power: Callable[[], bool] = lambda: False
        self._blocked: list[Link] = []
        self._kinds: list[tuple[int, Callable[[], None]]] = [
            (3, self._kill),
            (3, lambda: self._halt_at_step(loses_power=False)),
            (2, self._pause),
            (1, self._jump),
            (2, self._reset),
            (2, self._slow),
            (3, self._partition),
            (2, self._clog),
        ]
        if len(machines) > 1:
            self._kinds += [(5, self._isolate), (2, self._kill_all)]
        if may_lose_power is not None:
            self._may_lose_power = may_lose_power
            self._kinds += [(2, self._lose_power), (2, lambda: self._halt_at_step(loses_power=True))]

    def start(self) -> None:
        """Begin."""
        self._kernel.after(FAULT_EVERY_MS * (0.5 + self._random.random()), None, self._next)

    def heal(self) -> None:
        """No more faults, and those that go on end."""
        self._is_over = True
        self._kernel.note("heals")
        blocked, self._blocked = self._blocked, []
        for link in blocked:
            self._network.unblock(link)
        self._network.extra_ms.clear()
        for machine in self._machines:
            machine.disk.go_on()
            if machine.process is not None:
                machine.process.resume()
            self._boot(machine)

    def _next(self) -> None:
        if self._is_over:
            return
        self.count += 1
        weights = [weight for weight, _ in self._kinds]
        ((_, make),) = self._random.choices(self._kinds, weights)
        make()
        self.start()

    def _later(self, shortest_ms: float, longest_ms: float, undo: Callable[[], None]) -> None:
        duration_ms = self._random.uniform(shortest_ms, longest_ms)
        self._kernel.after(duration_ms, None, lambda: None if self._is_over else undo())

    def _any(self) -> Machine:
        return self._random.choice(self._machines)

    def _boot(self, machine: Machine) -> None:
        if not machine.is_running:
            machine.boot()

    def _kill(self) -> None:
        machine = self._any()
        self._kernel.note(f"fault: kill {machine.host}")
        machine.kill()
        self._later(0, 5000, lambda: self._boot(machine))

    def _lose_power(self) -> None:
        machine = self._any()
        if not self._may_lose_power():
            self._kill()
            return
        self._kernel.note(f"fault: power cut at {machine.host}")
        machine.lose_power()
        self._later(500, 8000, lambda: self._boot(machine))

    def _halt_at_step(self, *, loses_power: bool) -> None:
        machine = self._any()
        steps = int(self._random.random() ** 2 * 300)
        loses_power = loses_power and self._may_lose_power()
        self._kernel.note(f"fault: {machine.host} dies {steps} steps of the disk later")
        machine.halt_after(steps, loses_power=loses_power)

        def boot() -> None:
            machine.disk.go_on()
            self._boot(machine)

        self._later(5000, 9000, boot)

    def _pause(self) -> None:
        machine = self._any()
        process = machine.process
        if process is None or not process.is_alive:
            return
        self._kernel.note(f"fault: pause {machine.host}")
        process.pause()
        self._later(100, 20_000, process.resume)

    def _jump(self) -> None:
        machine = self._any()
        if machine.process is not None:
            jump_ms = int(self._random.uniform(-_HOUR_MS, _HOUR_MS))
            self._kernel.note(f"fault: the clock of {machine.host} jumps by {jump_ms} ms")
            machine.process.clock_offset_ms += jump_ms

    def _reset(self) -> None:
        self._kernel.note("fault: connections are lost")
        share = self._random.random()
        for connection in list(self._network.connections):
            if self._random.random() < share:
                connection.reset()

    def _slow(self) -> None:
        links = self._some_links()
        for link in links:
            self._network.extra_ms[link] = self._random.random() ** 2 * 2000
        self._kernel.note(f"fault: slow {links}")

        def undo() -> None:
            for link in links:
                self._network.extra_ms.pop(link, None)

        self._later(1000, 15_000, undo)

    def _partition(self) -> None:
        """Cut some hosts from the others, both ways or one way."""
        hosts = self._hosts()
        self._random.shuffle(hosts)
        side = hosts[: self._random.randint(1, max(1, len(hosts) // 2))]
        away = [host for host in hosts if host not in side]
        links = [(one, other) for one in side for other in away]
        back = [(other, one) for one, other in links]
        way = self._random.randrange(4)
        links = back if way == 0 else links if way == 1 else links + back
        self._kernel.note(f"fault: partition {side} from {away} ({('in', 'out', 'both', 'both')[way]})")
        for link in links:
            self._block(link)

        def undo() -> None:
            for link in links:
                self._unblock(link)

        self._later(500, 20_000, undo)

    def _isolate(self) -> None:
        """Cut a node off from the other nodes, while clients still reach it; perhaps it dies before that is over."""
        machine = self._any()
        others = [other.host for other in self._machines if other is not machine]
        out, back = [(machine.host, other) for other in others], [(other, machine.host) for other in others]
        links = self._random.choice([out, back, out + back, out + back])
        dies = self._random.random() < 0.5
        self._kernel.note(f"fault: isolate {machine.host}: {links}{', then kill it' if dies else ''}")
        for link in links:
            self._block(link)

        def undo() -> None:
            if dies:
                machine.kill()
                self._later(0, 5000, lambda: self._boot(machine))
            for link in links:
                self._unblock(link)

        self._later(200, 20_000, undo)

    def _kill_all(self) -> None:
        """All nodes at once, which come back one by one."""
        self._kernel.note("fault: kill all nodes")
        for machine in self._machines:
            machine.kill()
            self._later(0, 5000, partial(self._boot, machine))

    def _clog(self) -> None:
        """Clog links one after the other, and free them in another order."""
        links = self._some_links()
        self._kernel.note(f"fault: clogs {links}")
        for link in links:
            begin_ms = self._random.uniform(0, 4000)
            end_ms = begin_ms + self._random.uniform(100, 10_000)
            self._kernel.after(begin_ms, None, self._clogging(link, end_ms - begin_ms))

    def _clogging(self, link: Link, duration_ms: float) -> Callable[[], None]:
        def clog() -> None:
            if not self._is_over:
                self._block(link)
                self._kernel.after(duration_ms, None, lambda: self._unblock(link))

        return clog

    def _block(self, link: Link) -> None:
        self._blocked.append(link)
        self._network.block(link)

    def _unblock(self, link: Link) -> None:
        if link in self._blocked:
            self._blocked.remove(link)
            self._network.unblock(link)

    def _hosts(self) -> list[str]:
        return [machine.host for machine in self._machines] + list(self._client_hosts)

    def _some_links(self) -> list[Link]:
        hosts = self._hosts()
        links = [(one, other) for one in hosts for other in hosts if one != other]
        return [link for link in links if self._random.random() < 0.3]
