"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60

HELPERS = """
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

def metadata(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=20)

def partitions(broker):
    return {name: len(topic.partitions) for name, topic in metadata(broker).topics.items()}

def produce(broker, topic):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(topic, "v")
    assert producer.flush(20) == 0
"""

GOOD = """
pytestmark = pytest.mark.kafka(topics=["of-the-module"], config={"num.partitions": 2, "compression.type": "zstd"})

def test_what_one_test_creates(kafka_broker, kafka_broker_session):
    produce(kafka_broker, "t")
    produce(kafka_broker_session, "shared")
    assert partitions(kafka_broker) == {"of-the-module": 1, "t": 2}

def test_the_next_does_not_see(kafka_broker, kafka_broker_session):
    assert partitions(kafka_broker) == {"of-the-module": 1}
    assert partitions(kafka_broker_session) == {"shared": 1}

@pytest.mark.kafka(topics={"own": 3}, config={"num.partitions": 5})
def test_the_closest_marker_counts(kafka_broker):
    produce(kafka_broker, "t")
    assert partitions(kafka_broker) == {"own": 3, "t": 5}

def test_a_cluster_has_three_nodes(kafka_cluster):
    assert sorted(metadata(kafka_cluster).brokers) == [1, 2, 3]

@pytest.mark.kafka(nodes=2)
def test_or_as_many_as_are_wanted(kafka_cluster):
    assert sorted(metadata(kafka_cluster).brokers) == [1, 2]
"""

BAD = """
def test_fails(kafka_broker):
    produce(kafka_broker, "t")
    assert False

@pytest.mark.kafka(partitions=1)
def test_a_marker_that_cannot_be(kafka_broker):
    pass

def test_records(kafka_broker):
    from odradek.testing import Record

    produce(kafka_broker, "t")
    assert kafka_broker.topic("t").records() == [Record(value=b"w"), Record(value=b"x")]

def test_one_that_has_stopped(kafka_broker):
    kafka_broker.stop()
    assert False

@pytest.mark.kafka("topic")
def test_an_argument_without_a_name(kafka_broker):
    pass
"""

WARM = """
import os, signal

seen = []

def pid(broker):
    return broker._host._process.pid

def test_first(kafka_broker):
    produce(kafka_broker, "t")
    seen.append((pid(kafka_broker), kafka_broker.bootstrap_servers))

def test_the_same_process_with_other_nodes(kafka_broker):
    assert partitions(kafka_broker) == {}
    assert pid(kafka_broker) == seen[0][0] and kafka_broker.bootstrap_servers != seen[0][1]
    assert len([line for line in kafka_broker.log if "leading the metadata quorum" in line]) == 1
    kafka_broker.stop()

def test_stopped(kafka_broker):
    assert pid(kafka_broker) != seen[0][0]
    seen.append(pid(kafka_broker))

@pytest.mark.kafka(topics=["t"])
def test_other_options(kafka_broker):
    assert pid(kafka_broker) != seen[-1] and partitions(kafka_broker) == {"t": 1}

def test_killed(kafka_broker):
    assert pid(kafka_broker) == seen[-1]
    os.kill(pid(kafka_broker), signal.SIGKILL)

def test_after_it(kafka_broker):
    assert partitions(kafka_broker) == {}
"""

WORKERS = """
@pytest.mark.parametrize("number", range(4))
def test_alone(kafka_broker, kafka_broker_session, worker_id, number):
    produce(kafka_broker, f"of-{number}")
    produce(kafka_broker_session, worker_id)
    assert partitions(kafka_broker) == {f"of-{number}": 1}
    assert partitions(kafka_broker_session) == {worker_id: 1}

def test_fails(kafka_broker):
    produce(kafka_broker, "t")
    assert kafka_broker.topic("t").values() == [b"w"]
"""

SETTINGS = """
def test_settings(kafka_broker, kafka_broker_session):
    for each in (kafka_broker, kafka_broker_session):
        produce(each, "t")
        assert partitions(each) == {"t": 4}
        assert "Host" in type(each._host).__name__ and "Process" in type(each._host).__name__
"""


def run(tmp_path: Path, tests: str, *options: str, ini: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_users.py").write_text(HELPERS + tests)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = --strict-markers\n{ini}")
    command = [sys.executable, "-m", "pytest", "-p", "odradek.testing.plugin", *options]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=tmp_path, env=env
    )


def test_each_test_has_a_kafka_as_its_markers_say(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD)
    assert (result.returncode, result.stderr) == (0, "")
    assert "5 passed" in result.stdout


def test_a_test_that_fails_shows_the_log_and_a_wrong_marker_what_is_wrong(tmp_path: Path) -> None:
    result = run(tmp_path, BAD)
    assert "3 failed, 2 errors" in result.stdout
    assert "The end of kafka_broker's log" in result.stdout
    assert "The last requests to kafka_broker" in result.stdout
    assert re.search(r" rdkafka: Produce v\d+ of t -> ok after ", result.stdout)
    assert "leading the metadata quorum in epoch 1" in result.stdout
    assert "1 record in the topic, 2 expected:" in result.stdout
    assert "value: b'v', and not b'w'" in result.stdout
    assert "missing, number 1 of those expected: Record(value=b'x')" in result.stdout
    assert "EmbeddedKafka is not started" in result.stdout
    assert "unexpected keyword argument 'partitions'" in result.stdout
    assert "the arguments of @pytest.mark.kafka have names" in result.stdout
    assert "Captured log" not in result.stdout


def test_processes_are_emptied_between_tests_and_stopped_at_the_end(tmp_path: Path) -> None:
    result = run(tmp_path, WARM, "--kafka-process")
    assert "6 passed, 1 error" in result.stdout, result.stdout
    assert "ERROR test_users.py::test_killed" in result.stdout
    assert "has ended with code -9" in result.stdout


def test_workers_of_xdist_have_nodes_of_their_own(tmp_path: Path) -> None:
    result = run(tmp_path, WORKERS, "-p", "xdist.plugin", "-n", "2")
    assert "1 failed, 4 passed" in result.stdout, result.stdout
    assert "The end of kafka_broker's log" in result.stdout
    assert re.search(r" rdkafka: Produce v\d+ of t -> ok after ", result.stdout)


def test_options_and_the_ini_file_go_for_all(tmp_path: Path) -> None:
    result = run(
        tmp_path, SETTINGS, "--kafka-process", "--kafka-set", "num.partitions=4",
        ini="kafka_set =\n    num.partitions=9\n",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, ""), result.stdout


def test_a_run_that_uses_no_kafka_does_not_pay_for_it() -> None:
    code = "import sys, odradek.testing.plugin; print(sorted(m for m in sys.modules if m.startswith('odradek')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "['odradek', 'odradek.testing', 'odradek.testing.plugin']"
