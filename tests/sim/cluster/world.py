"""A cluster, its clients and its faults under one seed."""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from odradek.checker.anomalies import check_history
from odradek.ports import spawn
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.consumer import Consumer
from tests.sim.cluster.faults import Faults
from tests.sim.cluster.invariants import AVAILABLE, HISTORY, NO_ERRORS, NOTHING_LOST, Invariants
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.machine import Machine
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process
from tests.sim.cluster.producer import Producer, ProducerOptions
from tests.sim.cluster.recorder import Recorder
from tests.sim.cluster.settings import format_cluster, node_settings
from tests.sim.cluster.transactional import TransactionalProducer

TOPIC = "t"
CHECK_EVERY_MS = 500.0
HEAL_WITHIN_MS = 120_000.0
"""How soon after the last fault everything must work again."""
_COLLECT_EVERY_MS = 60_000.0
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
    partitions: int = 3
    nodes: int = 1


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
        self.kernel = Kernel(seed)
        self.kernel.trace = trace
        self.kernel.on_halt = self._halted
        self.network = Network(self.kernel)
        self.recorder = Recorder()
        random = self.kernel.random("world")
        self.loses_power = random.random() < 0.5
        """Whether power cuts are among the faults."""
        self.timeout_ms = random.choice([2000.0, 5000.0, 15_000.0])
        self.machines = self._machines(options.nodes)
        self.invariants = Invariants(self.kernel, self.machines, TOPIC)
        for machine in self.machines:
            machine.on_boot = self.invariants.booted
        self._values = itertools.count(1)
        names = [f"producer{number}" for number in range(1, options.producers + 1)]
        self.producers: list[Producer | TransactionalProducer] = [
            self._producer(name, random.uniform(60, 300)) for name in names
        ]
        self.producers += [
            self._transactional(f"tx{number}", random.uniform(100, 500))
            for number in range(1, options.transactional_producers + 1)
        ]
        self.consumers = [
            self._consumer(f"consumer{number}", random.uniform(20, 100)) for number in range(1, options.consumers + 1)
        ]
        clients: list[Producer | TransactionalProducer | Consumer] = [*self.producers, *self.consumers]
        hosts = [client.client.process.host for client in clients]
        self.faults = Faults(
            self.kernel,
            self.network,
            self.machines,
            hosts,
            may_lose_power=self._may_lose_power if self.loses_power else None,
        )

    def run(self) -> Result:
        """Boot, let faults happen, heal, and check everything."""
        kernel = self.kernel
        with _deterministic_gc(), self._errors():
            for machine in self.machines:
                machine.boot()
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
            self.faults.count,
            sum(machine.boots for machine in self.machines),
        )

    def _run_clients(self) -> None:
        for producer in self.producers:
            spawn(producer.run())
        for consumer in self.consumers:
            spawn(consumer.run())
        if self.options.faults:
            self.faults.start()
        end_ms = self.options.minutes * 60_000
        while self.kernel.now_ms < end_ms and not self.invariants.violations:
            self.kernel.run_until(min(end_ms, self.kernel.now_ms + _COLLECT_EVERY_MS), self._is_violated)
            gc.collect()
        if self.invariants.violations:
            return
        self.faults.heal()
        healed_ms = self.kernel.now_ms
        if self._until(HEAL_WITHIN_MS, lambda: self._is_available(healed_ms)):
            self._drain()

    def _is_available(self, healed_ms: float) -> bool:
        """Whether every producer has got something through since then, and every replica is in sync."""
        if not all(producer.last_ok_ms > healed_ms for producer in self.producers):
            return False
        return self.invariants.is_fully_replicated(self.options.partitions)

    def _drain(self) -> None:
        """Read all there is from the beginning, and look at what all clients have seen."""
        for producer in self.producers:
            producer.is_stopping = True
        if not self._until(HEAL_WITHIN_MS, lambda: all(producer.has_stopped for producer in self.producers)):
            return
        last = self._consumer("drain", 1)
        last.max_wait_ms = 0
        spawn(last.run())
        if not self._until(HEAL_WITHIN_MS, lambda: last.positions == last.ends):
            return
        self.recorder.drained()
        self.invariants.check()
        for anomaly in check_history(self.recorder.history())[:_MAX_ANOMALIES]:
            self.invariants.violated(HISTORY, f"{anomaly.name} in {anomaly.partition}: {anomaly.text}")

    def _may_lose_power(self) -> bool:
        """Whether every other machine has all that is committed: Kafka does not sync what it acknowledges."""
        return len(self.machines) == 1 or self.invariants.is_fully_replicated(self.options.partitions)

    def _until(self, within_ms: float, is_done: Callable[[], bool]) -> bool:
        """Let time pass until then; a violation if it does not come to that."""
        end_ms = self.kernel.now_ms + within_ms
        while self.kernel.now_ms < end_ms and not is_done():
            if self.kernel.run_until(min(end_ms, self.kernel.now_ms + 100), self._is_violated):
                return False
        if not is_done():
            self.invariants.violated(AVAILABLE, f"not so within {within_ms:.0f} ms; {self._states()}")
            return False
        return True

    def _states(self) -> str:
        states = [f"{machine.host} {'is ready' if machine.is_started else 'is not ready'}" for machine in self.machines]
        waiting = [producer.client.process.name for producer in self.producers if not producer.has_stopped]
        return ", ".join(states) + f"; still at work: {', '.join(waiting)}"

    def _is_violated(self) -> bool:
        return bool(self.invariants.violations)

    def _check_later(self) -> None:
        def check() -> None:
            self.invariants.check()
            for machine in self.machines:
                for failure in machine.failures:
                    self.invariants.violated(NO_ERRORS, failure)
            self._check_later()

        self.kernel.after(CHECK_EVERY_MS, None, check)

    def _halted(self) -> None:
        for machine in self.machines:
            if machine.disk.is_cut:
                machine.halted()

    def _machines(self, count: int) -> list[Machine]:
        numbers = range(1, count + 1)
        settings = {number: node_settings(number, count, self.kernel.random("settings")) for number in numbers}
        if count == 1 and self.loses_power:
            # It has no other to ask for what it has lost.
            settings[1]["log.flush.interval.messages"] = "1"
        machines = {number: Machine(self.kernel, self.network, number, settings[number]) for number in numbers}
        if count > 1:
            format_cluster(machines, settings, Process(self.kernel, "admin", "format"))
        return list(machines.values())

    def _client(self, name: str) -> Client:
        process = Process(self.kernel, name, name)
        node_ids = [machine.node_id for machine in self.machines]
        return Client(self.network, process, node_ids, TOPIC, self.timeout_ms)

    def _producer(self, name: str, pause_ms: float) -> Producer:
        client = self._client(name)
        options = ProducerOptions(
            pause_ms, client.random.choice([20_000.0, 120_000.0]), client.random.randint(1, 5), self.options.partitions
        )
        return Producer(client, options, self.recorder, self._values, self._lost)

    def _transactional(self, name: str, pause_ms: float) -> TransactionalProducer:
        return TransactionalProducer(self._client(name), self.options.partitions, pause_ms, self.recorder, self._values)

    def _consumer(self, name: str, pause_ms: float) -> Consumer:
        return Consumer(self._client(name), self.options.partitions, pause_ms, self.recorder, self._lost)

    def _lost(self, text: str) -> None:
        self.invariants.violated(NOTHING_LOST, text)

    async def _create_topic(self) -> None:
        client = self._client("admin")
        topic = CreatableTopic(
            name=TOPIC,
            num_partitions=self.options.partitions,
            replication_factor=min(3, len(self.machines)),
            configs=[CreatableTopicConfig(name="segment.bytes", value="1048576")],
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

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the code under test logs as an error that it had not foreseen is a violation."""
        logger = logging.getLogger("odradek")
        handler = _ErrorHandler(self.invariants)
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
    def __init__(self, invariants: Invariants) -> None:
        super().__init__(logging.ERROR)
        self._invariants = invariants

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._invariants.violated(NO_ERRORS, logging.Formatter().format(record))


@contextmanager
def _deterministic_gc() -> Iterator[None]:
    """What is garbage goes at set moments only: what dead nodes have left must not run at others."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()
        if was_enabled:
            gc.enable()
