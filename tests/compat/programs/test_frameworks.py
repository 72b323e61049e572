"""Applications of FastStream, Quix Streams and Flink, which are stopped or killed, and started again."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.support.drain import Committed, read_committed
from tests.support.program import Program
from tests.support.targets import Target

PARTITIONS = 2
RECORDS = 600
OPENED = "--add-opens=java.base/java.util=ALL-UNNAMED"
"""What Flink's serializer of its own plans asks for."""


def send(target: Target, topic: str, records: Iterable[tuple[str, str]]) -> None:
    """Keys and values, by keys to partitions."""
    producer = Producer({"bootstrap.servers": target.bootstrap, "enable.idempotence": True})
    for key, value in records:
        producer.produce(topic, value, key)
    assert producer.flush(30) == 0


def arrived(target: Target, topic: str, count: int, program: Program) -> list[Committed]:
    return read_committed(target.bootstrap, topic, PARTITIONS, lambda found: len(found) >= count, check=program.check)


@pytest.mark.parametrize("library", ["kafka", "confluent"])
def test_faststream_answers_each_order_once(
    target: Target,
    new_topic: Callable[..., str],
    unique: Callable[[str], str],
    start_python: Callable[..., Program],
    library: str,
) -> None:
    """Also those that came while it was stopped."""
    orders, receipts = new_topic(PARTITIONS), new_topic(PARTITIONS)
    messages = [(str(number), json.dumps({"number": number, "item": "tea"})) for number in range(RECORDS)]
    send(target, orders, messages[: RECORDS // 3])
    arguments = (library, target.bootstrap, orders, receipts, unique("group"))
    application = start_python("faststream_receipts.py", *arguments, name="faststream")
    arrived(target, receipts, RECORDS // 3, application)
    send(target, orders, messages[RECORDS // 3 : RECORDS // 2])
    arrived(target, receipts, RECORDS // 2, application)
    assert application.stop() == 0, application.output
    send(target, orders, messages[RECORDS // 2 :])
    application.start()
    found = [json.loads(record.value) for record in arrived(target, receipts, RECORDS, application)]
    assert sorted(receipt["number"] for receipt in found) == list(range(RECORDS))
    assert {receipt["text"] for receipt in found} == {"one tea"}
    assert application.stop() == 0, application.output


def test_quix_streams_counts_exactly_once_though_it_is_killed_and_loses_its_disk(
    target: Target,
    new_topic: Callable[..., str],
    unique: Callable[[str], str],
    start_python: Callable[..., Program],
    tmp_path: Path,
) -> None:
    """Its state comes back from the changelog topic that it makes for itself."""
    words, counts = new_topic(PARTITIONS), new_topic(PARTITIONS)
    records = [(f"word-{number % 7}", "x") for number in range(RECORDS)]
    send(target, words, records[: RECORDS // 2])
    arguments = (target.bootstrap, words, counts, unique("group"), str(tmp_path / "state"))
    application = start_python("quix_counts.py", *arguments, name="quix")
    arrived(target, counts, RECORDS // 3, application)
    application.kill()
    shutil.rmtree(tmp_path / "state")
    send(target, words, records[RECORDS // 2 :])
    application.start()
    by_word: dict[str, list[int]] = defaultdict(list)
    for record in arrived(target, counts, RECORDS, application):
        by_word[record.key].append(int(record.value))
    expected = Counter(word for word, _ in records)
    assert by_word == {word: list(range(1, count + 1)) for word, count in expected.items()}
    application.stop()


@pytest.mark.parametrize("naming", ["INCREMENTING", "POOLING"])
def test_flink_delivers_exactly_once_though_it_is_killed(
    target: Target,
    new_topic: Callable[..., str],
    unique: Callable[[str], str],
    start_java: Callable[..., Program],
    tmp_path: Path,
    naming: str,
) -> None:
    """It goes on from its checkpoint, and finds its open transactions: by trying ids, or by asking for all of them."""
    source, sink = new_topic(PARTITIONS), new_topic(PARTITIONS)
    records = [(str(number), f"value-{number}") for number in range(RECORDS)]
    send(target, source, records[: RECORDS // 3])
    arguments = (target.bootstrap, source, sink, unique("group"), naming, str(tmp_path / "checkpoints"))
    options = [OPENED, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    job = start_java("odradek.tests.FlinkUppercase", *arguments, name="flink", options=options, project="flink-program")
    arrived(target, sink, RECORDS // 3, job)
    send(target, source, records[RECORDS // 3 : 2 * RECORDS // 3])
    arrived(target, sink, RECORDS // 3 + 1, job)
    job.kill()
    send(target, source, records[2 * RECORDS // 3 :])
    job.start()
    found = Counter(record.value for record in arrived(target, sink, RECORDS, job))
    assert found == Counter(value.upper() for _, value in records)
    job.stop()
