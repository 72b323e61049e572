"""A cluster, its clients and its faults under one seed."""

from __future__ import annotations

import gc
import itertools
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from odradek.checker.anomalies import check_history
from odradek.ports import Promise, spawn
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from tests.sim.cluster.admin import Admin
from tests.sim.cluster.classic import ClassicMember, GenerationWatch
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.consumer import Consumer
from tests.sim.cluster.errors import is_mistake_of_code
from tests.sim.cluster.faults import Faults, PowerCuts
from tests.sim.cluster.group import GroupMember, GroupWatch
from tests.sim.cluster.invariants import Invariants
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.late_commit import LateCommit
from tests.sim.cluster.machine import Machine
from tests.sim.cluster.means import Means
from tests.sim.cluster.named import AVAILABLE, HISTORY, IN_PLACE, NO_ERRORS
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process
from tests.sim.cluster.producer import Producer, ProducerOptions
from tests.sim.cluster.rare import RareStates
from tests.sim.cluster.recorder import Recorder
from tests.sim.cluster.settings import Layout, format_cluster, node_settings
from tests.sim.cluster.transactional import TransactionalProducer
from tests.sim.cluster.txn_offsets import TransactionalOffsets
from tests.sim.cluster.versions import EARLIER, NONE
from tests.sim.cluster.view import is_fully_replicated, misplaced

TOPIC = "t"
CHECK_EVERY_MS = 500.0
HEAL_WITHIN_MS = 120_000.0
"""How soon after the last fault everything must work again."""
_COLLECT_EVERY_MS = 180_000.0
_JOINS_MS = (5000.0, 25_000.0)
"""When brokers come that are not there from the start."""
_MAX_ANOMALIES = 10
"""More of them say nothing more."""


class Options(NamedTuple):
    """What a simulation is made of."""

    minutes: float = 1.0
    """Simulated, until it heals."""
    faults: bool = True
    producers: int = 4
    transactional_producers: int = 1
    consumers: int = 2
    members: int = 2
    """Of one consumer group."""
    partitions: int = 3
    nodes: int = 1
    """Of the quorum."""
    brokers: int = 0
    """Nodes that are brokers only; unless the others are controllers only, they join while the cluster is at work."""
    separate: bool = False
    """Whether the nodes of the quorum are controllers only."""


class Result(NamedTuple):
    """What came of it."""

    seed: int
    violations: list[str]
    digest: str
    """Of all that happened."""
    simulated_ms: float
    requests: int
    """Of clients, answered without an error."""
    events: int
    faults: int
    boots: int


class World:
    """Built from a seed; `run` may be called once."""

    def __init__(self, seed: int, options: Options = Options(), trace: Callable[[str], None] | None = None) -> None:  # noqa: B008 - immutable
        self.seed = seed
        self.options = options
        self.layout = Layout(options.nodes, options.brokers, options.separate)
        self.kernel = Kernel(seed)
        self.kernel.trace = trace
        self.kernel.on_halt = self._halted
        self.kernel.on_error = self._raised
        self.network = Network(self.kernel)
        self.recorder = Recorder()
        random = self.kernel.random("world")
        self.power_cuts = self._power_cuts(random.randrange(3))
        self.timeout_ms = random.choice([1000.0, 2000.0, 8000.0])
        self._segment_bytes = random.choice([10_000, 50_000])
        self.machines = self._machines()
        self.invariants = Invariants(self.kernel, self.machines, TOPIC)
        means = Means(self.kernel, self.network, self.machines)
        means.spares_others = self.power_cuts is not None and not self.power_cuts.any_time
        rare = RareStates(means, TOPIC)
        for machine in self.machines:
            machine.on_boot = self.invariants.booted
            machine.on_vote = partial(self._voted, rare)
        self._values = itertools.count(1)
        names = [f"producer{number}" for number in range(1, options.producers + 1)]
        self.producers: list[Producer | TransactionalProducer] = [
            self._producer(name, random.uniform(78, 284)) for name in names
        ]
        self.producers += [
            self._transactional(f"tx{number}", random.uniform(100, 500))
            for number in range(1, options.transactional_producers + 1)
        ]
        self.consumers = [
            self._consumer(f"consumer{number}", random.uniform(20, 100)) for number in range(1, options.consumers + 1)
        ]
        self.group = GroupWatch("g", options.partitions, self.invariants.violated)
        # The two protocols of groups share the simulations: each costs what the other does.
        is_classic = self.kernel.random("groups").random() < 0.5
        generations = GenerationWatch(options.partitions, self.invariants.violated) if is_classic else None
        self.members = [self._member(f"member{number}", generations) for number in range(1, options.members + 1)]
        self.admin = Admin(
            self._client("admin1"),
            [machine.node_id for machine in self._brokers()],
            options.partitions,
            random.uniform(1000, 10_000),
        )
        self.clients: list[Producer | TransactionalProducer | Consumer | GroupMember | Admin]
        self.clients = [*self.producers, *self.consumers, *self.members, self.admin]
        hosts = [client.client.process.host for client in self.clients]
        self.means = means
        self.late_commit = LateCommit(means, self.group, self.members)
        self.faults = Faults(means, hosts, rare, self.late_commit, self.power_cuts)

    def run(self) -> Result:
        """Boot, let faults happen, heal, and check everything."""
        kernel = self.kernel
        with _deterministic_gc(), self._errors():
            for machine in self.machines:
                if machine.is_voter or self.options.separate:
                    machine.boot()
                else:
                    self.means.later(*_JOINS_MS, partial(self.means.boot, machine))
            created = spawn(self._create_topic())
            self._check_later()
            if self._until(HEAL_WITHIN_MS, lambda: created.done):
                created.result()
                self._run_clients()
        return Result(
            self.seed,
            self.invariants.violations,
            kernel.digest(),
            kernel.now_ms,
            self.recorder.requests,
            kernel.events,
            self.means.faults,
            sum(machine.boots for machine in self.machines),
        )

    def _run_clients(self) -> None:
        for client in self.clients:
            self._spawn(client.run())
        if self.options.faults:
            self.faults.start()
        end_ms = self.options.minutes * 60_000
        while self.kernel.now_ms < end_ms and not self.invariants.violations:
            self.kernel.run_until(min(end_ms, self.kernel.now_ms + _COLLECT_EVERY_MS))
            if self.kernel.now_ms < end_ms:
                _collect()
        if self.invariants.violations:
            return
        self.admin.is_stopping = True
        self.means.heal()
        self.late_commit.resume()
        healed_ms = self.kernel.now_ms
        if self._until(HEAL_WITHIN_MS, lambda: self._is_available(healed_ms)):
            self._drain()

    def _is_available(self, healed_ms: float) -> bool:
        """Whether every producer has got something through since then, and every replica is in sync."""
        if not all(producer.last_ok_ms > healed_ms for producer in self.producers):
            return False
        return self._is_fully_replicated()

    def _is_fully_replicated(self) -> bool:
        return is_fully_replicated(self.machines, TOPIC, self.options.partitions)

    def _drain(self) -> None:
        """Read all there is from the beginning, and look at what all clients have seen."""
        for producer in self.producers:
            producer.is_stopping = True
        if not self._until(HEAL_WITHIN_MS, lambda: all(producer.has_stopped for producer in self.producers)):
            return
        last = self._consumer("drain", 1)
        last.max_wait_ms = 0
        self._spawn(last.run())
        if not self._until(HEAL_WITHIN_MS, lambda: last.positions == last.ends):
            return
        if self.members and not self._until(HEAL_WITHIN_MS, lambda: self.group.read_to == last.ends):
            return
        self.recorder.drained()
        self._check_metadata()
        self.invariants.check()
        for anomaly in check_history(self.recorder.history())[:_MAX_ANOMALIES]:
            self.invariants.violated(HISTORY, f"{anomaly.name} in {anomaly.partition}: {anomaly.text}")

    def _check_metadata(self) -> None:
        """All is where it should be, and as it was answered to be."""
        if not self._until(HEAL_WITHIN_MS, lambda: not any(misplaced(machine) for machine in self._brokers())):
            for machine in self._brokers():
                self.invariants.violated(IN_PLACE, f"{machine.host}: {misplaced(machine)}")
        # Followers of earlier versions hear of what is committed when their next fetch is over.
        newest = max(self._metadata_offsets())
        self._until(HEAL_WITHIN_MS, lambda: min(self._metadata_offsets()) >= newest)
        for machine in self.machines:
            assert machine.node is not None
            self.admin.check(machine.node.quorum.loader.image, machine.host, self.invariants.violated)

    def _metadata_offsets(self) -> list[int]:
        return [-1 if machine.node is None else machine.node.quorum.loader.image.offset for machine in self.machines]

    def _brokers(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.is_broker]

    def _power_cuts(self, kind: int) -> PowerCuts | None:
        """None, one at a time, or whatever comes."""
        if kind == 0:
            return None
        # One node has no other to ask for what it has lost.
        any_time = kind == 1 or self.layout.brokers == 1
        return PowerCuts(any_time, is_safe=self._may_lose_power)

    def _may_lose_power(self) -> bool:
        """Whether all others have what is committed, and live on."""
        is_shaky = any(machine.has_bad_disk or machine.is_stopping for machine in self.machines)
        return self._is_fully_replicated() and not is_shaky

    def _voted(self, rare: RareStates, voter: Machine, candidate: int, epoch: int, is_granted: bool) -> None:
        self.invariants.voted(candidate, epoch, candidate)
        if is_granted:
            self.invariants.voted(voter.node_id, epoch, candidate)
            rare.voted(voter, candidate, epoch)

    def _spawn(self, work: Coroutine[Promise[object], None, None]) -> None:
        """A client; what it raises ends the simulation."""

        def ended(outcome: Promise[None]) -> None:
            if outcome.error is not None:
                self.kernel.raises(outcome.error)

        spawn(work).on_done(ended)

    def _raised(self, error: Exception) -> None:
        """What a node lets out is a mistake of its; what the simulation itself raises ends it."""
        if not is_mistake_of_code(error):
            raise error
        text = "".join(traceback.format_exception(error))
        self.invariants.violated(NO_ERRORS, f"{type(error).__name__}: {error}\n{text}")

    def _until(self, within_ms: float, is_done: Callable[[], bool]) -> bool:
        """Let time pass until then; a violation if it does not come to that."""
        end_ms = self.kernel.now_ms + within_ms
        while self.kernel.now_ms < end_ms and not is_done():
            if self.kernel.run_until(min(end_ms, self.kernel.now_ms + 100)):
                return False
        if not is_done():
            self.invariants.violated(AVAILABLE, f"not so within {within_ms:.0f} ms; {self._states()}")
            return False
        return True

    def _states(self) -> str:
        states = [f"{machine.host} {'is ready' if machine.is_started else 'is not ready'}" for machine in self.machines]
        waiting = [producer.client.process.name for producer in self.producers if not producer.has_stopped]
        return ", ".join(states) + f"; still at work: {', '.join(waiting)}; the group has read to {self.group.read_to}"

    def _check_later(self) -> None:
        def check() -> None:
            self.invariants.check()
            self._follow_losses()
            for machine in self.machines:
                for failure in machine.failures:
                    self.invariants.violated(NO_ERRORS, failure)
            self._check_later()

        self.kernel.after(CHECK_EVERY_MS, None, check)

    def _follow_losses(self) -> None:
        """What a machine has lost is there again once all are in sync; until then no other dies."""
        lost = [machine for machine in self.machines if machine.has_lost_data]
        if not lost or not self.means.spares_others:
            return
        if self._is_fully_replicated():
            for machine in lost:
                machine.has_lost_data = False
        else:
            for machine in self.machines:
                if not self.means.may_die(machine):
                    machine.disk.go_on()

    def _halted(self) -> None:
        for machine in self.machines:
            if machine.disk.is_cut:
                if self.power_cuts is not None and not self.power_cuts.any_time:
                    machine.loses_power = machine.loses_power and self._may_lose_power()
                machine.halted()

    def _machines(self) -> list[Machine]:
        numbers = self.layout.nodes
        settings = {number: node_settings(number, self.layout, self.kernel.random("settings")) for number in numbers}
        if self.power_cuts is not None and self.power_cuts.any_time:
            for properties in settings.values():
                properties["log.flush.interval.messages"] = "1"
        machines = {number: Machine(self.kernel, self.network, number, settings[number]) for number in numbers}
        chance = self.kernel.random("versions")
        earlier = chance.choice([0.0, 0.0, 0.5, 1.0])
        for machine in machines.values():
            if chance.random() < earlier:
                machine.be_earlier()
        self._is_mixed = any(machine.limits for machine in machines.values())
        if len(numbers) > 1:
            format_cluster(machines, settings, Process(self.kernel, "admin", "format"))
        return list(machines.values())

    def _client(self, name: str) -> Client:
        process = Process(self.kernel, name, name)
        node_ids = [machine.node_id for machine in self._brokers()]
        client = Client(self.network, process, node_ids, TOPIC, self.timeout_ms)
        client.limits = EARLIER if self._is_mixed else NONE
        return client

    def _producer(self, name: str, pause_ms: float) -> Producer:
        client = self._client(name)
        options = ProducerOptions(
            pause_ms,
            client.random.choice([20_000.0, 120_000.0]),
            client.random.choice([1, 3, 5, 5]),
            self.options.partitions,
        )
        return Producer(client, options, self.recorder, self._values, self.invariants.violated)

    def _transactional(self, name: str, pause_ms: float) -> TransactionalProducer:
        client = self._client(name)
        offsets = TransactionalOffsets(client, f"{name}-group", self.invariants.violated)
        return TransactionalProducer(client, self.options.partitions, pause_ms, self.recorder, self._values, offsets)

    def _consumer(self, name: str, pause_ms: float) -> Consumer:
        return Consumer(self._client(name), self.options.partitions, pause_ms, self.recorder, self.invariants.violated)

    def _member(self, name: str, generations: GenerationWatch | None) -> GroupMember:
        consumer = self._consumer(name, 1)
        if generations is not None:
            return ClassicMember(consumer.client, self.group, generations, consumer, self.recorder)
        return GroupMember(consumer.client, self.group, consumer, self.recorder)

    async def _create_topic(self) -> None:
        client = self._client("admin")
        topic = CreatableTopic(
            name=TOPIC,
            num_partitions=self.options.partitions,
            replication_factor=min(3, self.options.brokers if self.options.separate else self.options.nodes),
            configs=[
                CreatableTopicConfig(name="internal.segment.bytes", value=str(self._segment_bytes)),
                CreatableTopicConfig(name="index.interval.bytes", value="500"),
            ],
        )
        while True:
            try:
                response = await client.ask(
                    client.any_node(), CreateTopicsRequest(topics=[topic], timeout_ms=5000), CreateTopicsResponse
                )
                if response.topics[0].error_code in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                    return
            except KafkaError:
                pass
            await client.sleep(RETRY_MS)

    def _is_by_disk(self, error: BaseException | None) -> bool:
        """Whether a disk was made to fail, and that is what is reported."""
        while error is not None and not isinstance(error, OSError):
            error = error.__cause__
        return error is not None and any(machine.has_bad_disk for machine in self.machines)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the code under test logs as an error that it had not foreseen is a violation."""
        logger = logging.getLogger("odradek")
        handler = _ErrorHandler(self.invariants, self._is_by_disk)
        level, propagates = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates


class _ErrorHandler(logging.Handler):
    def __init__(self, invariants: Invariants, is_foreseen: Callable[[BaseException | None], bool]) -> None:
        super().__init__(logging.ERROR)
        self._invariants = invariants
        self._is_foreseen = is_foreseen

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not self._is_foreseen(record.exc_info[1]):
            self._invariants.violated(NO_ERRORS, logging.Formatter().format(record))


def _collect() -> None:
    """Free what is garbage, and do not look again at what is not: that grows as long as the simulation goes on."""
    gc.collect()
    gc.freeze()


@contextmanager
def _deterministic_gc() -> Iterator[None]:
    """What is garbage goes at set moments only: what dead nodes have left must not run at others.

    The simulation before is garbage by now. What is not, and was there before, is code for the most part: to look at
    it again after each simulation would take longer than to look at what the simulation has left.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    before = gc.get_freeze_count()
    try:
        yield
    finally:
        if gc.get_freeze_count() > before:
            gc.unfreeze()
        if was_enabled:
            gc.enable()
