from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from benchmarks.plots import plot, scale_of, short
from benchmarks.workloads.base import CONSUMING, LATENCY
from tests.unit.benchmarks.samples import CONSUMER, entry, run

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}
PLOT = plot(CONSUMING, "Catching up", [CONSUMER])


def values(svg: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(svg).findall(".//svg:text[@class='value']", NAMESPACE)]


def test_both_brokers_and_the_limit_are_shown_with_their_medians() -> None:
    assert values(PLOT) == ["400 k", "175 k", "800 k", "1.00", "2.00", "0.19"]
    texts = [found.text for found in ET.fromstring(PLOT).findall(".//svg:text", NAMESPACE)]
    assert {"Odradek", "Apache Kafka", "the limit", "ConsumerPerformance"} <= set(texts)


def test_a_line_goes_from_the_lowest_to_the_highest_round() -> None:
    (rate, cpu) = ET.fromstring(PLOT).findall(".//svg:line[@class='odradek']", NAMESPACE)
    _legend, dot, _ = ET.fromstring(PLOT).findall(".//svg:circle", NAMESPACE)
    assert float(rate.attrib["x1"]) < float(dot.attrib["cx"]) < float(rate.attrib["x2"])
    assert float(rate.attrib["x2"]) < float(cpu.attrib["x1"])


def test_ticks_are_round_numbers() -> None:
    slow = entry("slow", {"odradek": [run(60_000.0, 0.13)], "apache": [run(2_000_000.0, 0.9)]})
    found = ET.fromstring(plot(CONSUMING, "Catching up", [slow])).findall(".//svg:text[@class='tick']", NAMESPACE)
    ticks = [each.text for each in found]
    assert ticks == ["100 k", "300 k", "1 M", "3 M", "0.05", "0.1", "0.2", "0.5"]


def test_the_same_figures_give_the_same_file() -> None:
    assert plot(CONSUMING, "Catching up", [CONSUMER]) == PLOT


def test_it_can_stand_inside_markdown() -> None:
    assert "\n\n" not in PLOT
    assert not re.search(r"\bid=", PLOT)


def test_what_was_not_measured_is_left_out() -> None:
    timed = entry("timed", {"odradek": [run(1.0, p99_ms=2.0)], "apache": [run(1.0)]}, group=LATENCY, title="a < b & c")
    assert values(plot(LATENCY, "Latency", [timed])) == ["2.00", "2.00"]
    assert values(plot(LATENCY, "Latency", [entry("none", {"odradek": [run(1.0)]})])) == []


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (120_000, 480_000, [100_000, 200_000, 500_000, 1_000_000]),
        (3, 40_000, [10, 100, 1_000, 10_000]),
        (1.0, 1.0, [1, 2, 5, 10]),
    ],
)
def test_an_axis_holds_its_values_and_has_a_few_ticks(low: float, high: float, ticks: list[float]) -> None:
    scale = scale_of([low, high], 100, 200)
    assert 100 <= scale.x(low) <= scale.x(high) <= 300
    assert scale.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (0.5, "0.50"), (9.999, "10.0"), (123.4, "123"), (999.9, "1.00 k"), (1_234_567, "1.23 M")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert short(value) == text
