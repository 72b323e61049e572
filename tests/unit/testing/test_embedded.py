"""`EmbeddedKafka` as a program sees it: clients can use it, and nothing is left of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import TEST_DEFAULTS, ConfigError, EmbeddedKafka, KafkaError, StartError, Topic
from tests.unit.testing.clients import (
    TIMEOUT_S,
    admin,
    config_of,
    consume,
    consume_all,
    is_reachable,
    partitions,
    produce,
)
from tests.unit.testing.leaks import nothing_left

SESSION_S = 9
"""`broker.session.timeout.ms`"""
ROOT = Path(__file__).resolve().parents[3]
MODES = pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])


@MODES
def test_clients_produce_and_consume(process: bool) -> None:
    with EmbeddedKafka(topics=["orders"], process=process) as kafka:
        produce(kafka.bootstrap_servers, "orders", "a", "b")
        assert consume(kafka.bootstrap_servers, "orders", 2) == ["a", "b"]
        address = kafka.bootstrap_servers
    assert not is_reachable(address)


def test_twenty_starts_and_stops_leave_nothing() -> None:
    with EmbeddedKafka():
        pass  # what is imported stays
    with nothing_left():
        for _ in range(20):
            with EmbeddedKafka(topics=["t"]) as kafka:
                produce(kafka.bootstrap_servers, "t", "v")


@pytest.mark.parametrize(("nodes", "process"), [(3, False), (1, True)])
def test_no_way_to_run_leaves_anything(nodes: int, process: bool) -> None:
    with EmbeddedKafka(nodes=3):
        pass
    with nothing_left():
        for _ in range(3):
            with EmbeddedKafka(nodes, ["t"], process=process) as kafka:
                produce(kafka.bootstrap_servers, "t", "v")


def test_a_client_that_waits_for_records_does_not_hold_up_the_stop() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        consumer = Consumer(
            {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "fetch.wait.max.ms": 60_000, "log_level": 0}
        )
        assigned: list[object] = []
        consumer.subscribe(["t"], on_assign=lambda _consumer, _partitions: assigned.append(True))
        until_s = time.monotonic() + TIMEOUT_S
        while not assigned:
            assert time.monotonic() < until_s
            assert consumer.consume(1, 0.1) == []
        assert consumer.consume(1, 0.3) == []
        begun_s = time.monotonic()
        kafka.stop()
        assert time.monotonic() - begun_s < 0.8
        consumer.close()


def test_any_number_run_at_once_and_know_nothing_of_each_other() -> None:
    with EmbeddedKafka(topics=["a"]) as one, EmbeddedKafka(topics=["b"]) as two, EmbeddedKafka() as three:
        assert [partitions(each) for each in (one, two, three)] == [{"a": 1}, {"b": 1}, {}]


def test_one_can_be_started_again_and_is_empty_then() -> None:
    kafka = EmbeddedKafka(topics=["t"])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not started"):
            _ = kafka.bootstrap_servers
        with kafka:
            assert consume_all(kafka.bootstrap_servers) == []
            produce(kafka.bootstrap_servers, "t", "v")
            assert consume_all(kafka.bootstrap_servers) == [b"v"]
            with pytest.raises(RuntimeError, match="runs already"):
                kafka.start()
            assert sum("leading the metadata quorum" in line for line in kafka.log) == 1
    kafka.stop()


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ("orders", {"orders": 1}),
        (["a", Topic("b", 4)], {"a": 1, "b": 4}),
        ({"a": 2, "b": 3}, {"a": 2, "b": 3}),
    ],
    ids=str,
)
def test_topics_are_there_from_the_start(topics: str | list[str | Topic], expected: dict[str, int]) -> None:
    with EmbeddedKafka(topics=topics) as kafka:
        assert partitions(kafka) == expected


def test_topics_and_nodes_have_the_properties_that_were_asked_for() -> None:
    topics = [Topic("t", config={"retention.ms": 1234, "preallocate": True})]
    with EmbeddedKafka(topics=topics, config={"auto.create.topics.enable": False, "num.partitions": 7}) as kafka:
        topic = config_of(kafka, "topic", "t")
        node = config_of(kafka, "broker", "1")
    assert (topic["retention.ms"], topic["preallocate"]) == ("1234", "true")
    assert (node["auto.create.topics.enable"], node["num.partitions"]) == ("false", "7")


def test_kafkas_own_defaults_are_had_by_one_argument() -> None:
    with EmbeddedKafka() as kafka:
        here = config_of(kafka, "broker", "1")
    with EmbeddedKafka(kafka_defaults=True) as kafka:
        there = config_of(kafka, "broker", "1")
    assert {name: here[name] for name in TEST_DEFAULTS} == dict(TEST_DEFAULTS)
    assert {name for name in here if here[name] != there[name]} - {
        "listeners",
        "controller.quorum.bootstrap.servers",
    } == set(TEST_DEFAULTS)
    assert (there["offsets.topic.num.partitions"], there["group.initial.rebalance.delay.ms"]) == ("50", "3000")


def test_records_are_looked_at_as_kafka_looks_at_them() -> None:
    with EmbeddedKafka() as kafka:
        assert config_of(kafka, "broker", "1")["odradek.record.validation"] == "full"


def test_three_nodes_are_one_cluster() -> None:
    with EmbeddedKafka(nodes=3, topics=["t"]) as kafka:
        assert len(kafka.bootstrap_servers.split(",")) == 3
        metadata = admin(kafka).list_topics(timeout=TIMEOUT_S)
        assert sorted(metadata.brokers) == [1, 2, 3]
        assert {f"{each.host}:{each.port}" for each in metadata.brokers.values()} == set(
            kafka.bootstrap_servers.split(",")
        )
        (partition,) = metadata.topics["t"].partitions.values()
        assert (sorted(partition.replicas), sorted(partition.isrs)) == ([1, 2, 3], [1, 2, 3])
        produce(kafka.bootstrap_servers, "t", "v")
        assert consume(kafka.bootstrap_servers, "t", 1) == ["v"]


def test_async_with_leaves_the_event_loop_to_others() -> None:
    async def use() -> tuple[int, str]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        async with EmbeddedKafka(topics=["t"]) as kafka:
            counting.cancel()
            address = kafka.bootstrap_servers
            await asyncio.to_thread(produce, address, "t", "v")
        return turns, address

    turns, address = asyncio.run(use())
    assert turns > 1
    assert not is_reachable(address)


def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    async def give_up() -> None:
        kafka = EmbeddedKafka(nodes=3)
        starting = asyncio.ensure_future(kafka.__aenter__())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        kafka.stop()

    with nothing_left():
        asyncio.run(give_up())


@pytest.mark.parametrize(
    ("process", "options", "kind", "problem"),
    [
        (False, {"config": {"num.partitions": "x"}}, ConfigError, "num.partitions"),
        (False, {"config": {"authorizer.class.name": "a.B"}}, ConfigError, "authorizer.class.name is not supported"),
        (False, {"topics": ["a b"]}, KafkaError, "topic a b: Topic name is invalid"),
        (False, {"data_dir": __file__}, StartError, "the data directory cannot be used"),
        (True, {"config": {"num.partitions": "x"}}, ConfigError, "num.partitions"),
        (True, {"topics": ["a b"]}, KafkaError, "topic a b: Topic name is invalid"),
        (True, {"data_dir": __file__}, StartError, "the data directory cannot be used"),
    ],
)
def test_what_cannot_start_says_why_and_leaves_nothing(
    process: bool, options: dict[str, str], kind: type[Exception], problem: str
) -> None:
    with nothing_left():
        kafka = EmbeddedKafka(process=process, **options)  # type: ignore[arg-type]
        for _ in range(1 if process else 2):
            with pytest.raises(kind, match=problem):
                kafka.start()
            with pytest.raises(RuntimeError, match="not started"):
                _ = kafka.bootstrap_servers


def test_what_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        EmbeddedKafka(nodes=0)
    with pytest.raises(ConfigError, match="listeners: each embedded node has its own"):
        EmbeddedKafka(config={"listeners": "PLAINTEXT://localhost:9092"})


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_directory_keeps_the_data(tmp_path: Path, nodes: int) -> None:
    for values in ([], [b"v"]):
        begun_s = time.monotonic()
        with EmbeddedKafka(nodes, topics=["t"], data_dir=tmp_path) as kafka:
            assert time.monotonic() - begun_s < SESSION_S / 2, "it waited until the nodes before count as gone"
            assert consume_all(kafka.bootstrap_servers) == values
            produce(kafka.bootstrap_servers, "t", "v")


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with EmbeddedKafka(data_dir=tmp_path), pytest.raises(StartError, match="is in use"):
        EmbeddedKafka(data_dir=tmp_path).start()
    with pytest.raises(StartError, match="has the files of 1 nodes, and not of 3"):
        EmbeddedKafka(nodes=3, data_dir=tmp_path).start()


def test_odradek_serve_goes_on_with_the_directory_of_one_node(tmp_path: Path) -> None:
    with EmbeddedKafka(topics=["t"], data_dir=tmp_path) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
    command = [sys.executable, "-m", "odradek", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)]
    with subprocess.Popen([*command, "--log-level", "error"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip().removeprefix("odradek ready on ")
        assert consume_all(address) == [b"v"]
        process.terminate()
    with EmbeddedKafka(data_dir=tmp_path) as kafka:
        assert consume_all(kafka.bootstrap_servers) == [b"v"]


def test_a_node_that_cannot_go_on_is_told_of_at_the_end(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    with nothing_left():
        kafka = EmbeddedKafka(data_dir=data_dir).start()
        data_dir.rename(tmp_path / "elsewhere")
        data_dir.write_text("a directory no more")
        address = kafka.bootstrap_servers
        producer = Producer({"bootstrap.servers": address, "log_level": 0, "message.timeout.ms": 1000})
        producer.produce("t", "creates the topic")
        until_s = time.monotonic() + TIMEOUT_S
        while is_reachable(address):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        with pytest.raises(StartError, match="the node has stopped, for its metadata log failed"):
            kafka.stop()
        kafka.stop()
        producer.purge()
        producer.flush()
        del producer


def test_a_process_lives_through_ctrl_c_and_is_told_of_when_it_is_killed() -> None:
    with nothing_left():
        kafka = EmbeddedKafka(topics=["t"], process=True).start()
        address = kafka.bootstrap_servers
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        if not children.exists():
            kafka.stop()
            pytest.skip("the process cannot be found here")
        (child,) = children.read_text().split()
        os.kill(int(child), signal.SIGINT)
        produce(address, "t", "v")
        os.kill(int(child), signal.SIGKILL)
        with pytest.raises(StartError, match="has ended with code -9"):
            kafka.stop()
        assert not is_reachable(address)


PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")
from odradek.testing import EmbeddedKafka
for process in (False, True):
    with EmbeddedKafka(nodes=3, topics=["t"], process=process) as kafka:
        logging.getLogger("odradek.elsewhere").warning("of the program's own")
        assert any("leading the metadata quorum" in line for line in kafka.log), kafka.log
logging.getLogger("odradek.elsewhere").debug("afterwards")
"""


def test_nothing_is_printed_and_the_programs_own_logs_go_on() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    expected = "odradek.elsewhere of the program's own\n" * 2 + "odradek.elsewhere afterwards\n"
    assert (result.returncode, result.stdout) == (0, "")
    assert "".join(line for line in result.stderr.splitlines(True) if not line.startswith("asyncio ")) == expected


def test_loggers_are_as_they_were_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    ours = logging.getLogger("odradek")
    before = ours.level, ours.propagate, list(ours.handlers)
    with EmbeddedKafka(), EmbeddedKafka():
        with EmbeddedKafka():
            pass
        logging.getLogger("odradek.elsewhere").warning("seen")
        logging.getLogger("odradek.elsewhere").info("below the level")
    assert (ours.level, ours.propagate, ours.handlers) == before
    assert [record.getMessage() for record in caplog.records] == ["seen"]


@pytest.fixture
def running() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(topics=["t"]) as kafka:
        yield kafka


def test_what_a_fixture_runs_stays_out_of_captured_logs(
    running: EmbeddedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    lines = len(running.log)
    produce(running.bootstrap_servers, "creates-a-topic", "v")
    consume(running.bootstrap_servers, "creates-a-topic", 1)
    assert len(running.log) > lines
    assert caplog.get_records("setup") + caplog.records == []


def test_one_that_stops_leaves_the_others_quiet(running: EmbeddedKafka, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedKafka():
        pass
    lines = len(running.log)
    produce(running.bootstrap_servers, "t", "v")
    consume(running.bootstrap_servers, "t", 1)
    assert len(running.log) > lines
    assert caplog.records == []


FORGETFUL = """
import sys
from odradek.testing import EmbeddedKafka
kafka = EmbeddedKafka(process=sys.argv[1] == "process").start()
print(kafka.bootstrap_servers)
"""


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_program_that_forgets_it_ends_all_the_same(mode: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORGETFUL, mode],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    until_s = time.monotonic() + TIMEOUT_S
    while is_reachable(result.stdout.strip()):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_one_that_is_dropped_is_stopped_with_a_warning() -> None:
    with nothing_left():
        kafka = EmbeddedKafka().start()
        kept = [kafka]
        del kafka
        with pytest.warns(ResourceWarning, match="was not stopped"):
            kept.clear()


def test_pytest_is_not_needed() -> None:
    code = "import sys, odradek.testing; assert not {'pytest', 'rich', 'click', 'structlog'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT_S, cwd=ROOT)
