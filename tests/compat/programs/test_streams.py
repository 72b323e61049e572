"""Kafka Streams: a word count over a windowed join, exactly once, killed and started again half way."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import Producer

from tests.support.drain import Committed, read_committed
from tests.support.program import Program
from tests.support.targets import Target

PARTITIONS = 3
LINES = 3000
MINUTE_MS = 60_000
NOW_MS = 1_790_000_000_000


def test_counts_of_a_word_count_over_a_windowed_join_are_exact(
    target: Target,
    new_topic: Callable[..., str],
    unique: Callable[[str], str],
    start_java: Callable[..., Program],
    tmp_path: Path,
) -> None:
    """Each joined line and each step of each count comes out once, though the application died, and lost its disk."""
    left, right, joined, counts = (new_topic(PARTITIONS) for _ in range(4))
    properties = tmp_path / "streams.properties"
    properties.write_text(
        f"""\
application.id={unique("application")}
bootstrap.servers={target.bootstrap}
processing.guarantee=exactly_once_v2
state.dir={tmp_path / "state"}
num.stream.threads=2
commit.interval.ms=100
statestore.cache.max.bytes=0
consumer.auto.offset.reset=earliest
consumer.session.timeout.ms=3000
consumer.heartbeat.interval.ms=500
producer.transaction.timeout.ms=5000
"""
    )
    expected = [f"{_word(number, 7)} {_word(number, 11)}" for number in range(LINES) if _are_close(number)]
    arguments = (str(properties), left, right, joined, counts)

    _send_lines(target.bootstrap, left, right, range(LINES // 3))
    application = start_java("odradek.tests.JoinedWordCount", *arguments, name="streams")
    for part in (1, 2):
        _wait_for_lines(target, joined, len(expected) * part // 3 - 200, application)
        _send_lines(target.bootstrap, left, right, range(LINES * part // 3, LINES * (part + 1) // 3))
        _wait_for_lines(target, joined, len(expected) * part // 3 + 1, application)
        application.kill()
        if part == 2:
            # Without its files it is another instance: the transaction it left open has to time out.
            shutil.rmtree(tmp_path / "state")
        application.start()

    lines = _wait_for_lines(target, joined, len(expected), application)
    assert Counter(line.value for line in lines) == Counter(expected)
    assert {line.key for line in lines} == {_key(number) for number in range(LINES) if _are_close(number)}
    words = Counter(word for line in expected for word in line.split())
    steps = read_committed(
        target.bootstrap, counts, PARTITIONS, lambda found: len(found) >= words.total(), check=application.check
    )
    by_word: dict[str, list[int]] = defaultdict(list)
    for step in steps:
        by_word[step.key].append(int(step.value))
    assert by_word == {word: list(range(1, count + 1)) for word, count in words.items()}
    application.stop()


def _wait_for_lines(target: Target, topic: str, count: int, application: Program) -> list[Committed]:
    return read_committed(
        target.bootstrap, topic, PARTITIONS, lambda found: len(found) >= count, check=application.check
    )


def _send_lines(bootstrap: str, left: str, right: str, numbers: Sequence[int]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    for number in numbers:
        at_ms = NOW_MS + number
        apart_ms = MINUTE_MS if _are_close(number) else MINUTE_MS + 1
        for topic, words, timestamp in ((left, 7, at_ms), (right, 11, at_ms + apart_ms)):
            partition = number % PARTITIONS
            producer.produce(topic, _word(number, words), _key(number), timestamp=timestamp, partition=partition)
    assert producer.flush(30) == 0


def _are_close(number: int) -> bool:
    return number % 5 != 0


def _key(number: int) -> str:
    return str(number)


def _word(number: int, words: int) -> str:
    return f"w{number % words}-of-{words}"
