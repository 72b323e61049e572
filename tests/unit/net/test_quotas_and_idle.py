"""Counting connections, and finding idle ones without a timer for each."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from odradek.config import BrokerConfig, ConfigError, single_node_defaults
from odradek.net.idle import IdleWheel, tick_ms
from odradek.net.limits import DEFAULT_REQUEST_MEMORY_BYTES, NetworkLimits
from odradek.net.quotas import ConnectionQuotas


def test_addresses_are_counted_apart() -> None:
    quotas = ConnectionQuotas(NetworkLimits(max_connections_per_ip=2, max_connections=5))
    assert [quotas.open("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert quotas.open("10.0.0.2")
    assert quotas.total == 3
    quotas.close("10.0.0.1")
    assert quotas.open("10.0.0.1")
    assert (quotas.count("10.0.0.1"), quotas.count("10.0.0.3")) == (2, 0)


def test_an_override_replaces_the_limit_of_its_address() -> None:
    limits = NetworkLimits(max_connections_per_ip=1, max_connections_per_ip_overrides={"10.0.0.9": 0, "10.0.0.8": 2})
    quotas = ConnectionQuotas(limits)
    assert not quotas.open("10.0.0.9")
    assert [quotas.open("10.0.0.8") for _ in range(3)] == [True, True, False]


def test_full_and_excess() -> None:
    quotas = ConnectionQuotas(NetworkLimits(max_connections=2))
    quotas.open("a")
    assert not quotas.full
    quotas.open("b")
    assert quotas.full
    assert quotas.excess == 0
    quotas.limits = NetworkLimits(max_connections=1)
    assert quotas.excess == 1


def test_the_budget_is_kafkas_property_or_a_named_default() -> None:
    assert NetworkLimits(queued_max_request_bytes=5000).request_memory_bytes == 5000
    assert NetworkLimits().request_memory_bytes == DEFAULT_REQUEST_MEMORY_BYTES
    huge = NetworkLimits(socket_request_max_bytes=10**9)
    assert huge.request_memory_bytes == 2 * 10**9


def node_config(**properties: str) -> BrokerConfig:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return BrokerConfig({**single_node_defaults("127.0.0.1", 0, data_dir="/data"), **named})


def test_limits_are_kafkas_properties_and_their_defaults() -> None:
    assert NetworkLimits.from_config(node_config()) == NetworkLimits()
    limits = NetworkLimits.from_config(
        node_config(
            socket_request_max_bytes="1000",
            queued_max_request_bytes="2000",
            connections_max_idle_ms="3000",
            max_connections="4",
            max_connections_per_ip="5",
            max_connections_per_ip_overrides="localhost:6,10.0.0.7:7",
            socket_send_buffer_bytes="8000",
            socket_receive_buffer_bytes="9000",
            socket_listen_backlog_size="10",
        )
    )
    assert limits[:9] == (1000, 2000, 3000, 4, 5, {"127.0.0.1": 6, "10.0.0.7": 7}, 8000, 9000, 10)


def test_socket_buffers_are_kafkas_where_they_are_asked_for() -> None:
    asked = NetworkLimits.from_config(
        node_config(socket_send_buffer_bytes="102400", socket_receive_buffer_bytes="102400")
    )
    others = NetworkLimits.from_config(node_config())
    assert asked.socket_send_buffer_bytes == 102_400 < others.socket_send_buffer_bytes
    assert asked.socket_receive_buffer_bytes == 102_400 < others.socket_receive_buffer_bytes


def test_an_override_for_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="'no such host'"):
        NetworkLimits.from_config(node_config(max_connections_per_ip_overrides="no such host:1"))


@dataclass(eq=False)
class Item:
    last_active: int
    closed_at: int | None = None


def test_whoever_is_silent_for_the_whole_time_is_found_at_most_two_ticks_late() -> None:
    generator = random.Random(5)
    wheel: IdleWheel[Item] = IdleWheel(10)
    silent_since = {Item(0): generator.randrange(100) for _ in range(200)}
    for item in silent_since:
        wheel.add(item)
    for tick in range(1, 200):
        for item, silent in silent_since.items():
            if tick <= silent:
                item.last_active = tick
        for item in wheel.advance(tick):
            assert item.closed_at is None
            item.closed_at = tick
    assert all(silent + 10 < (item.closed_at or 0) <= silent + 12 for item, silent in silent_since.items())
    assert len(wheel) == 0


def test_a_removed_item_is_forgotten() -> None:
    wheel: IdleWheel[Item] = IdleWheel(1)
    item = Item(0)
    wheel.add(item)
    wheel.remove(item)
    wheel.remove(item)
    assert len(wheel) == 0
    assert [wheel.advance(tick) for tick in range(1, 5)] == [[], [], [], []]


def test_ticks_are_neither_busy_nor_late() -> None:
    assert tick_ms(600_000) == 1000
    assert tick_ms(6_400) == 100
    assert tick_ms(1) == 10
