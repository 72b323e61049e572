"""confluent-kafka's consume-transform-produce: exactly once through aborts, a crash, and a zombie."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable

from confluent_kafka import Producer

from tests.support.apache import ROOT
from tests.support.drain import Committed, read_committed
from tests.support.program import Program
from tests.support.targets import Target

PARTITIONS = 3
RECORDS = 3000
PER_TRANSACTION = 50


def test_what_goes_in_comes_out_once_and_in_order(
    target: Target, new_topic: Callable[..., str], unique: Callable[[str], str], start: Callable[..., Program]
) -> None:
    """Two workers abort now and then; one is killed, the other is paused until it has lost its partitions."""
    source, sink, group = new_topic(PARTITIONS), new_topic(PARTITIONS), unique("group")
    names = unique("first"), unique("second")
    writer = Producer({"bootstrap.servers": target.bootstrap, "transactional.id": unique("writer"), "linger.ms": 1})
    writer.init_transactions(30)
    sent: dict[int, list[str]] = defaultdict(list)

    def send(begin: int, end: int) -> None:
        for number in range(begin, end, PER_TRANSACTION):
            writer.begin_transaction()
            values = [f"value-{value}" for value in range(number, number + PER_TRANSACTION)]
            for index, value in enumerate(values):
                writer.produce(source, value, partition=index % PARTITIONS)
            if number % (4 * PER_TRANSACTION):
                writer.commit_transaction(30)
                for index, value in enumerate(values):
                    sent[index % PARTITIONS].append(value.upper())
            else:
                writer.abort_transaction(30)

    def arrived(share: float) -> list[Committed]:
        count = int(share * sum(map(len, sent.values())))

        def check() -> None:
            for worker in workers:
                worker.check()

        return read_committed(target.bootstrap, sink, PARTITIONS, lambda found: len(found) >= count, check=check)

    command = [sys.executable, "-m", "tests.support.transform", target.bootstrap, group, source, sink]
    workers = [
        start([*command, name, str(seed)], name=name, env={"PYTHONPATH": str(ROOT)}) for seed, name in enumerate(names)
    ]
    first, second = workers
    quarter = RECORDS // 4
    send(0, quarter)
    arrived(0.5)
    first.kill()
    send(quarter, 2 * quarter)
    first.start()
    arrived(0.5)
    second.pause()
    send(2 * quarter, 3 * quarter)
    arrived(1)
    second.resume()
    send(3 * quarter, RECORDS)
    arrived(1)
    for worker in workers:
        assert worker.stop() == 0, worker.output
    came: dict[int, list[str]] = defaultdict(list)
    for record in arrived(1):
        came[record.partition].append(record.value)
    assert came == sent
