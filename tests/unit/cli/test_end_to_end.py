"""The commands against a broker that the command itself started."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from odradek.cli import main

READY = "odradek ready on "


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "odradek", "serve", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(READY):
        process.kill()
        raise AssertionError(f"said {line!r} instead; {process.communicate()[1]}")
    return process, line.removeprefix(READY).strip()


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    process, address = start("--in-memory", "--set", "group.initial.rebalance.delay.ms=0", "--log-level", "error")
    yield address
    process.terminate()
    process.communicate(timeout=10)


def odradek(broker: str, *arguments: str, stdin: str | bytes | None = None, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*arguments, "--bootstrap-server", broker], input=stdin)
    assert result.exit_code == exit_code, (result.stdout, result.stderr, result.exception)
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_and_stdout_has_the_one_line(number: signal.Signals, tmp_path: Path) -> None:
    process, address = start("--data-dir", str(tmp_path / "data"))
    odradek(address, "topic", "create", "kept")
    asked = time.monotonic()
    process.send_signal(number)
    rest, logs = process.communicate(timeout=10)
    assert process.returncode == 0
    assert time.monotonic() - asked < 2
    assert rest == ""
    assert all(json.loads(line) for line in logs.splitlines())
    process, address = start("--data-dir", str(tmp_path / "data"))
    assert odradek(address, "topic", "list").stdout == "kept\t1\t1\n"
    process.terminate()
    process.communicate(timeout=10)


def test_a_port_in_use_is_one_line_and_exit_1(broker: str) -> None:
    command = [sys.executable, "-m", "odradek", "serve", "--in-memory", "--listen", broker, "--log-level", "error"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert broker in result.stderr
    assert result.stderr.count("\n") == 1


def test_topics(broker: str) -> None:
    odradek(broker, "topic", "create", "one", "two", "--partitions", "3", "--config", "retention.ms=5000")
    assert odradek(broker, "topic", "list").stdout.splitlines()[:2] == ["one\t3\t1", "two\t3\t1"]
    again = odradek(broker, "topic", "create", "one", exit_code=1)
    assert "TOPIC_ALREADY_EXISTS" in again.stderr
    described = odradek(broker, "topic", "describe", "one").stdout.splitlines()
    assert [line.split("\t")[:3] for line in described[:3]] == [["one", str(number), "1"] for number in range(3)]
    assert described[3:] == ["one\tretention.ms\t5000"]
    odradek(broker, "topic", "delete", "one", "two", "--yes")
    assert "UNKNOWN_TOPIC_OR_PARTITION" in odradek(broker, "topic", "describe", "one", exit_code=1).stderr
    assert "--config" in odradek(broker, "topic", "create", "x", "--config", "novalue", exit_code=2).stderr


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(broker: str, codec: str) -> None:
    topic = f"echo-{codec}"
    lines = "".join(f"key-{number % 7}:value {number}\n" for number in range(500))
    odradek(broker, "produce", topic, "-K", ":", "-z", codec, "--header", "from=test", stdin=lines + "gone:\nkeyless\n")
    consumed = odradek(broker, "consume", topic, "--from-beginning", "-n", "502", "-f", "json").stdout
    records = [json.loads(line) for line in consumed.splitlines()]
    assert [record["value"] for record in records[:500]] == [f"value {number}" for number in range(500)]
    assert records[0]["key"] == "key-0"
    assert (records[500]["key"], records[500]["value"]) == ("gone", None)
    assert (records[501]["key"], records[501]["value"]) == (None, "keyless")
    assert records[0]["headers"] == [["from", "test"]]
    assert [record["offset"] for record in records] == list(range(502))


def test_a_file_is_produced_in_order_whatever_the_acks(broker: str, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    lines = [f"{number:>100}" for number in range(10_000)]
    file.write_text("\n".join(lines) + "\n")
    for acks in ("0", "1", "all"):
        result = odradek(broker, "produce", f"acks-{acks}", str(file), "--acks", acks)
        assert f"10000 records sent to acks-{acks}" in result.stderr
        consumed = odradek(broker, "consume", f"acks-{acks}", "--from-beginning", "--max-messages", "10000").stdout
        assert consumed.splitlines() == lines


def test_keys_choose_partitions_and_partitions_can_be_chosen(broker: str) -> None:
    odradek(broker, "topic", "create", "spread", "-p", "4")
    odradek(broker, "produce", "spread", "-K", ":", stdin="".join(f"k{n % 10}:{n}\n" for n in range(100)))
    odradek(broker, "produce", "spread", "--partition", "2", stdin="chosen\n")
    output = odradek(broker, "consume", "spread", "--from-beginning", "-n", "101", "-f", "{key} {partition}\\n").stdout
    by_key: dict[str, set[str]] = {}
    for line in output.splitlines():
        key, _, partition = line.partition(" ")
        by_key.setdefault(key, set()).add(partition)
    assert by_key.pop("") == {"2"}
    assert all(len(partitions) == 1 for partitions in by_key.values())
    assert len(set.union(*by_key.values())) > 1
    assert "no partition 9" in odradek(broker, "produce", "spread", "-p", "9", stdin="x\n", exit_code=1).stderr
    at = odradek(broker, "consume", "spread", "-p", "2", "-o", "0", "-n", "1", "-f", "{offset}").stdout
    assert at == "0"


def test_a_group_goes_on_where_it_left_off(broker: str) -> None:
    odradek(broker, "topic", "create", "shared", "-p", "2")
    odradek(broker, "produce", "shared", "-K", ":", stdin="".join(f"{n}:{n}\n" for n in range(100)))
    arguments = ("consume", "shared", "--group", "readers", "--from-beginning")
    first = odradek(broker, *arguments, "-n", "30").stdout.split()
    second = odradek(broker, *arguments, "-n", "70").stdout.split()
    assert (len(first), len(second)) == (30, 70)
    assert sorted(map(int, first + second)) == list(range(100))
    assert "readers\tEmpty\tclassic\tconsumer" in odradek(broker, "group", "list").stdout
    rows = [line.split("\t") for line in odradek(broker, "group", "describe", "readers").stdout.splitlines()]
    assert [row[5] for row in rows] == ["0", "0"], "nothing is left to read"
    assert sum(int(row[3]) for row in rows) == 100
    odradek(broker, "group", "delete", "readers")
    assert "GROUP_ID_NOT_FOUND" in odradek(broker, "group", "delete", "readers", exit_code=1).stderr


def test_a_group_can_be_sent_elsewhere(broker: str) -> None:
    odradek(broker, "topic", "create", "again", "-p", "2")
    for partition in ("0", "1"):
        odradek(broker, "produce", "again", "-p", partition, stdin="one\ntwo\nthree\n")
    reset = ("group", "reset", "rereaders", "--topic", "again:1")
    planned = odradek(broker, *reset, "--to-latest")
    assert planned.stdout == "rereaders\tagain\t1\t3\n"
    assert "--execute" in planned.stderr
    assert "GROUP_ID_NOT_FOUND" in odradek(broker, "group", "describe", "rereaders", exit_code=1).stderr
    odradek(broker, *reset, "--to-latest", "--execute")
    assert odradek(broker, "group", "describe", "rereaders").stdout == "rereaders\tagain\t1\t3\t3\t0\t-\n"
    assert odradek(broker, *reset, "--shift-by", "-2").stdout == "rereaders\tagain\t1\t1\n"
    all_topics = ("group", "reset", "rereaders", "--all-topics", "--to-offset", "2", "--execute")
    assert odradek(broker, *all_topics).stdout == "rereaders\tagain\t1\t2\n"
    missing = odradek(broker, "group", "reset", "rereaders", "--topic", "again:5", "--to-latest", exit_code=1)
    assert "no partition 5" in missing.stderr
    assert odradek(broker, "group", "list", "--state", "stable", "--type", "classic").stdout == ""


def test_without_records_consuming_ends_after_its_time_out(broker: str) -> None:
    odradek(broker, "topic", "create", "quiet")
    assert odradek(broker, "consume", "quiet", "--timeout-ms", "100").stdout == ""


def test_nobody_there_is_one_line_that_names_the_address(broker: str) -> None:
    result = odradek("127.0.0.1:1", "topic", "list", exit_code=1)
    assert "127.0.0.1:1 (Connection refused): is a broker running there?" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "HOST:PORT" in odradek("127.0.0.1:", "topic", "list", exit_code=2).stderr
