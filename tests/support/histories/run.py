"""A minute in the life of random clients: they and their broker are killed and paused, and all is recorded."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from odradek.checker.history import Poll
from tests.support.apache import ROOT
from tests.support.histories.recorder import DIE, Recorder
from tests.support.process import BrokerProcess, wait_for
from tests.support.program import Program

PARTITIONS = 4
TRANSACTORS = 3
ROLES = {**{f"t{number}": "transactor" for number in range(TRANSACTORS)}, "s0": "sender", "p0": "poller"}
BROKER_KILLS = 2
STOP_S = 15.0
DRAIN_S = 60.0


class Run:
    """One broker with a topic, clients by slot, and the history of all their lives."""

    def __init__(self, broker: BrokerProcess, topic: str, directory: Path, seed: int) -> None:
        self.history = directory / "history.jsonl"
        self.faults: list[str] = []
        self._broker = broker
        self._topic = topic
        self._directory = directory
        self._seed = seed
        self._chance = random.Random(seed)
        self._lives = dict.fromkeys(ROLES, 0)
        self._slots: dict[str, Program] = {}
        self._zombies: list[Program] = []
        self._kills_left = BROKER_KILLS

    def go(self, duration_s: float) -> None:
        """Let the clients work under faults, then end them, and read everything to its end."""
        deadline = time.monotonic() + duration_s
        try:
            for slot in ROLES:
                self._start(slot)
            while time.monotonic() < deadline:
                self._let_pass(self._chance.uniform(0.5, 2.0))
                self._chance.choice(
                    (self._kill_client, self._kill_client, self._make_zombie, self._pause_client, self._harm_broker)
                )()
            self._let_pass(2.0)
            for program in (*self._zombies, *self._slots.values()):
                if program.running:
                    # librdkafka's send_offsets_to_transaction may hang for good after the broker came back quickly:
                    # it has its answer, and does not send TxnOffsetCommit.
                    assert program.stop(STOP_S) in (0, -signal.SIGABRT), program.output
            self._drain()
        finally:
            for program in (*self._zombies, *self._slots.values()):
                program.close()

    def _start(self, slot: str) -> None:
        self._lives[slot] += 1
        name = f"{slot}.{self._lives[slot]}"
        command = [sys.executable, "-m", "tests.support.histories.client", ROLES[slot], name, str(self._seed)]
        command += [self._broker.bootstrap, str(self.history), self._topic, str(PARTITIONS)]
        command += [self._transactional_id(slot), f"{self._topic}-readers"]
        self._slots[slot] = Program(command, self._directory, name=name, env={"PYTHONPATH": str(ROOT)})
        self._slots[slot].start()

    def _transactional_id(self, slot: str) -> str:
        return f"{self._topic}-{slot}"

    def _let_pass(self, duration_s: float) -> None:
        """Some time; who ended meanwhile, fenced, is started again."""
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            time.sleep(0.1)
            for slot, program in list(self._slots.items()):
                program.check()
                if not program.running:
                    self._start(slot)

    def _kill_client(self) -> None:
        slot = self._chance.choice(list(ROLES))
        self.faults.append(f"kill {slot}")
        if self._slots[slot].running:
            self._slots[slot].end_with(DIE)
        self._start(slot)

    def _make_zombie(self) -> None:
        """Pause a client until another one with its transactional id has come up, and the group goes on without it."""
        slot = self._chance.choice([slot for slot, role in ROLES.items() if role == "transactor"])
        self.faults.append(f"zombie of {slot}")
        zombie = self._slots[slot]
        if not zombie.running:
            return
        zombie.pause()
        self._zombies.append(zombie)
        self._start(slot)
        self._let_pass(self._chance.uniform(1.0, 5.0))
        zombie.resume()

    def _pause_client(self) -> None:
        slot = self._chance.choice(list(ROLES))
        self.faults.append(f"pause {slot}")
        program = self._slots[slot]
        if program.running:
            program.pause()
            self._let_pass(self._chance.uniform(0.5, 5.0))
            program.resume()

    def _harm_broker(self) -> None:
        if self._kills_left and self._chance.random() < 0.6:
            self._kills_left -= 1
            self.faults.append("kill broker")
            self._broker.restart(kill=True)
        else:
            self.faults.append("pause broker")
            self._broker.pause()
            self._let_pass(self._chance.uniform(0.2, 2.0))
            self._broker.resume()

    def _drain(self) -> None:
        """Read all partitions to their ends, once nothing is undecided any more."""
        for slot, role in ROLES.items():
            if role == "transactor":
                self._end_transaction(self._transactional_id(slot))
        wait_for(lambda: self._ends("read_committed") == self._ends("read_uncommitted"), "all is decided", DRAIN_S)
        recorder = Recorder(self.history, "drain")
        consumer = self._consumer("read_committed")
        consumer.assign([TopicPartition(self._topic, number, 0) for number in range(PARTITIONS)])
        left = set(range(PARTITIONS))
        deadline = time.monotonic() + DRAIN_S
        while left:
            assert time.monotonic() < deadline, f"partitions {left} have no end"
            recorder.invoke("poll")
            records: dict[str, tuple[tuple[int, str], ...]] = {}
            for message in consumer.consume(500, 0.2):
                error, value, partition = message.error(), message.value(), message.partition()
                assert partition is not None
                if error is None and value is not None:
                    name = f"{self._topic}-{partition}"
                    records[name] = (*records.get(name, ()), (message.offset() or 0, value.decode()))
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
            recorder.end("poll", "ok", [Poll(records)])
        recorder.mark("drained")
        consumer.close()

    def _end_transaction(self, transactional_id: str) -> None:
        """Fence whoever was killed in the midst of one."""
        producer = Producer({"bootstrap.servers": self._broker.bootstrap, "transactional.id": transactional_id})
        producer.init_transactions(DRAIN_S)

    def _ends(self, isolation: str) -> list[int]:
        consumer = self._consumer(isolation)
        places = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        ends = [consumer.get_watermark_offsets(place, timeout=20, cached=False)[1] for place in places]
        consumer.close()
        return ends

    def _consumer(self, isolation: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._broker.bootstrap,
                "group.id": f"{self._topic}-drain",
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
