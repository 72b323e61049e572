"""What goes wrong, when, and for how long."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.sim.cluster.late_commit import LateCommit
from tests.sim.cluster.machine import DATA_DIR, SECOND_DIR, Machine
from tests.sim.cluster.means import Means
from tests.sim.cluster.network import Link
from tests.sim.cluster.rare import RareStates
from tests.sim.storage.crash_disk import Fault

FAULT_EVERY_MS = 7200.0
"""From the end of one to the next; as some take long, there is one in about ten seconds."""
_HOUR_MS = 3_600_000
_HOW_MUCH_RATHER = 3
_NOT_RARE = 2
"""How many of the kinds that take several nodes are no rare states."""


class PowerCuts(NamedTuple):
    """Which machines may lose what they have not synced."""

    any_time: bool
    """All of them, for all is synced that is acknowledged; else one whose data others have (`is_safe`)."""
    is_safe: Callable[[], bool]


class Faults:
    """Makes one fault after the other until all is healed."""

    def __init__(
        self,
        means: Means,
        client_hosts: Sequence[str],
        rare: RareStates,
        late_commit: LateCommit,
        power_cuts: PowerCuts | None,
    ) -> None:
        self._means = means
        self._late_commit = late_commit
        self._client_hosts = client_hosts
        self._random = means.random
        self._rare = rare
        self._power_cuts = power_cuts
        kinds: list[tuple[int, Callable[[], None]]] = [
            (3, self._kill),
            (2, self._stop),
            (2, self._fail_disk),
            (3, lambda: self._halt_at_step(loses_power=False)),
            (2, self._pause),
            (1, self._jump),
            (2, self._reset),
            (2, self._slow),
            (3, self._partition),
            (2, self._clog),
        ]
        if power_cuts is not None:
            kinds += [(2, self._lose_power), (2, lambda: self._halt_at_step(loses_power=True))]
            if any(machine.has_two_dirs for machine in means.machines):
                kinds.append((4, self._fail_second_dir))
        self._favourite: Callable[[], None] | None = None
        """What every second fault is: the mistakes that only one rare state shows are as many as there are of these."""
        if len(means.machines) > 1:
            of_several = self._of_several(power_cuts)
            kinds += of_several
            favourites = [make for _, make in of_several[_NOT_RARE:]]
            if power_cuts is not None and not power_cuts.any_time:
                # In the other simulations nobody may lose data.
                favourites += [self._lose_member] * _HOW_MUCH_RATHER
            if power_cuts is not None and any(machine.has_two_dirs for machine in means.machines):
                favourites += [self._fail_second_dir] * _HOW_MUCH_RATHER
            self._favourite = self._random.choice(favourites)
        # Some kinds often, some never: a few of them together say more than a little of everything.
        self._kinds = [(weight * self._random.choice((0, 1, 1, 4)), make) for weight, make in kinds]
        if not any(weight for weight, _ in self._kinds):
            self._kinds = kinds

    def _of_several(self, power_cuts: PowerCuts | None) -> list[tuple[int, Callable[[], None]]]:
        run, rare = self._rare.run, self._rare
        kinds: list[tuple[int, Callable[[], None]]] = [
            (5, self._isolate),
            (2, self._kill_all),
            (4, lambda: run(rare.lagging_successor)),
            (3, lambda: run(rare.lonely_leader)),
            (4, lambda: run(rare.late_watermark)),
            (3, lambda: run(rare.stale_candidate)),
            (3, lambda: run(rare.split_vote)),
            (3, lambda: run(self._late_commit.run)),
        ]
        if power_cuts is not None and not power_cuts.any_time:
            kinds.append((6, self._lose_member))
        if power_cuts is not None and power_cuts.any_time:
            kinds.append((3, self._lose_all_power))
        return kinds

    def start(self) -> None:
        """Begin."""
        self._means.kernel.after(FAULT_EVERY_MS * (0.5 + self._random.random()), None, self._next)

    def _next(self) -> None:
        if self._means.is_over:
            return
        if not self._rare.is_busy:
            self._choose()()
        self.start()

    def _choose(self) -> Callable[[], None]:
        if self._favourite is not None and self._random.random() < 0.5:
            return self._favourite
        ((_, make),) = self._random.choices(self._kinds, [weight for weight, _ in self._kinds])
        return make

    def _may_lose_power(self) -> bool:
        cuts = self._power_cuts
        return cuts is not None and (cuts.any_time or cuts.is_safe())

    def _lose_member(self) -> None:
        if self._may_lose_power():
            self._rare.run(self._rare.lost_member)
        else:
            self._isolate()

    def _lose_all_power(self) -> None:
        """All nodes at once, which come back one by one."""
        self._means.note("power cut at all nodes")
        for machine in self._means.machines:
            machine.lose_power()
            self._means.reboots(machine, 0, 5000)

    def _kill(self) -> None:
        machine = self._means.any_machine()
        self._means.note(f"kill {machine.host}")
        self._means.kill(machine)
        self._means.reboots(machine, 0, 5000)

    def _stop(self) -> None:
        """As a restart by an operator; one that does not come to its end is cut short."""
        machine = self._means.any_machine()
        self._means.note(f"stop {machine.host}")
        machine.stop()

        def end() -> None:
            self._means.kill(machine)
            self._means.boot(machine)

        self._means.later(3000, 12_000, end)

    def _fail_disk(self) -> None:
        """A disk is full, or fails; what could not be synced is lost then, as by a power cut."""
        machine = self._means.any_machine()
        if not self._means.may_die(machine):
            return
        code = self._random.choice([errno.EIO, errno.ENOSPC]) if self._may_lose_power() else errno.ENOSPC
        path = self._random.choice([DATA_DIR, f"{DATA_DIR}/t-", f"{DATA_DIR}/__"])
        only_sync = code == errno.EIO and self._random.random() < 0.5
        self._means.note(f"{machine.host} gets {errno.errorcode[code]} below {path}{' when it syncs' * only_sync}")
        machine.has_bad_disk = True
        machine.disk.faults.append(Fault(path, code, only_sync))

        self._means.later(500, 8000, lambda: self._mend(machine))

    def _fail_second_dir(self) -> None:
        """One of two disks fails: the node goes on without it, and has others lead what was there (KIP-858).

        A start finds it mended, with what was synced.
        """
        machine = self._means.any_machine()
        if not (self._means.may_die(machine) and self._may_lose_power()) or machine.has_bad_disk:
            self._fail_disk()
            return
        only_sync = self._random.random() < 0.5
        self._means.note(f"{machine.host} gets EIO below {SECOND_DIR}{' when it syncs' * only_sync}, and goes on")
        machine.has_bad_disk = True
        machine.disk.faults.append(Fault(SECOND_DIR, errno.EIO, only_sync))

        self._means.later(4000, 15_000, lambda: self._mend(machine))

    def _mend(self, machine: Machine) -> None:
        """As soon as others have what is lost by it."""
        if self._means.may_mend(machine):
            self._means.mend_disk(machine)
            self._means.boot(machine)
        else:
            self._means.later(500, 2000, lambda: self._mend(machine))

    def _lose_power(self) -> None:
        machine = self._means.any_machine()
        if not self._may_lose_power():
            self._kill()
            return
        self._means.note(f"power cut at {machine.host}")
        machine.lose_power()
        self._means.reboots(machine, 500, 8000)

    def _halt_at_step(self, *, loses_power: bool) -> None:
        machine = self._means.any_machine()
        steps = int(self._random.random() ** 2 * 300)
        if not self._means.may_die(machine):
            return
        loses_power = loses_power and self._may_lose_power()
        self._means.note(f"{machine.host} dies {steps} steps of the disk later")
        machine.halt_after(steps, loses_power=loses_power)

        def boot() -> None:
            machine.disk.go_on()
            self._means.boot(machine)

        self._means.later(5000, 9000, boot)

    def _pause(self) -> None:
        machine = self._means.any_machine()
        process = machine.process
        if process is None or not process.is_alive:
            return
        self._means.note(f"pause {machine.host}")
        process.pause()
        self._means.later(100, 12_000, process.resume)

    def _jump(self) -> None:
        machine = self._means.any_machine()
        if machine.process is not None:
            jump_ms = int(self._random.uniform(-_HOUR_MS, _HOUR_MS))
            self._means.note(f"the clock of {machine.host} jumps by {jump_ms} ms")
            machine.process.clock_offset_ms += jump_ms

    def _reset(self) -> None:
        self._means.note("connections are lost")
        share = self._random.random()
        for connection in list(self._means.network.connections):
            if self._random.random() < share:
                connection.reset()

    def _slow(self) -> None:
        links = self._some_links()
        for link in links:
            self._means.slow([link], self._random.random() ** 2 * 2000)
        self._means.note(f"slow {links}")

        self._means.later(1000, 10_000, lambda: self._means.unslow(links))

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
        self._means.note(f"partition {side} from {away} ({('in', 'out', 'both', 'both')[way]})")
        self._means.block(links)
        self._means.later(500, 12_000, lambda: self._means.unblock(links))

    def _isolate(self) -> None:
        """Cut a node off from the other nodes, while clients still reach it; perhaps it dies before that is over."""
        machine = self._means.any_machine()
        others = [other.host for other in self._means.machines if other is not machine]
        out, back = [(machine.host, other) for other in others], [(other, machine.host) for other in others]
        links = self._random.choice([out, back, out + back, out + back])
        dies = self._random.random() < 0.5
        self._means.note(f"isolate {machine.host}: {links}{', then kill it' if dies else ''}")
        self._means.block(links)

        def undo() -> None:
            if dies:
                self._means.kill(machine)
                self._means.reboots(machine, 0, 5000)
            self._means.unblock(links)

        self._means.later(200, 12_000, undo)

    def _kill_all(self) -> None:
        """All nodes at once, which come back one by one."""
        self._means.note("kill all nodes")
        for machine in self._means.machines:
            self._means.kill(machine)
            self._means.reboots(machine, 0, 5000)

    def _clog(self) -> None:
        """Clog links one after the other, and free them in another order."""
        links = self._some_links()
        self._means.note(f"clogs {links}")
        for link in links:
            begin_ms = self._random.uniform(0, 4000)
            end_ms = begin_ms + self._random.uniform(100, 10_000)
            self._means.kernel.after(begin_ms, None, self._clogging(link, end_ms - begin_ms))

    def _clogging(self, link: Link, duration_ms: float) -> Callable[[], None]:
        def clog() -> None:
            if not self._means.is_over:
                self._means.block([link])
                self._means.kernel.after(duration_ms, None, lambda: self._means.unblock([link]))

        return clog

    def _hosts(self) -> list[str]:
        return [machine.host for machine in self._means.machines] + list(self._client_hosts)

    def _some_links(self) -> list[Link]:
        hosts = self._hosts()
        links = [(one, other) for one in hosts for other in hosts if one != other]
        return [link for link in links if self._random.random() < 0.3]
