from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tools
from benchmarks.tools import ToolResult, UnreadableOutput

PROGRESS = "60161 records sent, 12029.8 records/sec (1.15 MB/sec), 150.3 ms avg latency, 310.0 ms max latency.\n"
WHOLE = (
    "200000 records sent, 95969.289827 records/sec (9.15 MB/sec), 334.97 ms avg latency, 464.00 ms max latency, "
    "375 ms 50th, 452 ms 95th, 460 ms 99th, 463 ms 99.9th.\n"
)
STEADY = (
    "150000 steady state records sent, 136239.782016 records/sec (12.99 MB/sec), 391.98 ms avg latency, "
    "464.00 ms max latency, 400 ms 50th, 454 ms 95th, 461 ms 99th, 463 ms 99.9th.\n"
)
HEADER = (
    "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, "
    "rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n"
)
ROW = "2026-01-02 03:04:05:006, 2026-01-02 03:04:09:007, 19.07, 4.85, 200000, 50916.4969, 3428, 500, 38.14, 400000.0\n"
ROUND_TRIPS = "0\t3.51\n1000\t0.41\nAvg latency: 0.2500 ms\nPercentiles: 50th = 0, 99th = 1, 99.9th = 4\n"


def test_the_producers_summary_is_not_one_of_its_progress_lines() -> None:
    assert tools.parse_producer(PROGRESS + WHOLE) == ToolResult(200000, 95969.289827, 375.0, 460.0)


def test_the_rate_is_the_steady_states_and_the_records_are_all_of_them() -> None:
    assert tools.parse_producer(PROGRESS + WHOLE + STEADY) == ToolResult(200000, 136239.782016, 400.0, 461.0)


def test_the_consumers_rate_leaves_out_the_rebalance() -> None:
    assert tools.parse_consumer("a warning\n" + HEADER + ROW) == ToolResult(200000, 400000.0)


@pytest.mark.parametrize("output", ["", PROGRESS, "java.lang.OutOfMemoryError\n"])
def test_output_without_a_summary_is_an_error(output: str) -> None:
    with pytest.raises(UnreadableOutput):
        tools.parse_producer(output)


@pytest.mark.parametrize("output", ["", HEADER, HEADER + "1, 2\n", HEADER + ROW.replace("200000", "many")])
def test_a_table_without_its_row_is_an_error(output: str) -> None:
    with pytest.raises(UnreadableOutput):
        tools.parse_consumer(output)


def test_every_property_reaches_the_producer() -> None:
    properties = {"acks": "all", "enable.idempotence": "true"}
    command = tools.producer_command(
        Path("libs"), "localhost:9092", "bench", records=10, warmup_records=2, properties=properties
    )
    assert command[command.index("--command-property") + 1 :] == ["acks=all", "enable.idempotence=true"]


def test_the_size_of_records_and_transactions_reach_the_producer() -> None:
    command = tools.producer_command(
        Path("libs"),
        "localhost:9092",
        "bench",
        records=10,
        warmup_records=2,
        properties={"acks": "all"},
        record_bytes=1024,
        transaction_ms=50,
    )
    assert command[command.index("--record-size") + 1] == "1024"
    assert command[command.index("--transaction-duration-ms") + 1] == "50"
    assert command[-2:] == ["--command-property", "acks=all"]


def test_round_trips_one_after_the_other_are_as_many_in_a_second_as_fit() -> None:
    assert tools.parse_round_trips(ROUND_TRIPS, 5000) == ToolResult(5000, 4000.0)


@pytest.mark.parametrize("output", ["", "0\t3.51\n", "Avg latency: 0.0000 ms\n"])
def test_round_trips_without_an_average_are_an_error(output: str) -> None:
    with pytest.raises(UnreadableOutput):
        tools.parse_round_trips(output, 5000)
