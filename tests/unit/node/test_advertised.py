"""What a controller tells other nodes about where it is reached."""

from __future__ import annotations

from odradek.config.broker import BrokerConfig
from odradek.node.data_dirs import voter_endpoints
from odradek.node.registration import controller_registration_request
from odradek.wire.uuids import ZERO_UUID

IN_USE = {"PLAINTEXT": 41, "CONTROLLER": 42}


def config(port: int, **more: str) -> BrokerConfig:
    return BrokerConfig.load(
        {
            "process.roles": "broker,controller",
            "node.id": "1",
            "log.dirs": "data",
            "listeners": f"PLAINTEXT://localhost:0,CONTROLLER://localhost:{port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": "localhost:42",
            **{name.replace("_", "."): value for name, value in more.items()},
        }
    )


def addresses(loaded: BrokerConfig) -> list[list[tuple[str, int]]]:
    """As a voter, and as a registered controller."""
    registration = controller_registration_request(loaded, ZERO_UUID, IN_USE)
    return [
        [(point.host, point.port) for point in voter_endpoints(loaded, IN_USE)],
        [(listener.host, listener.port) for listener in registration.listeners],
    ]


def test_the_advertised_port_counts_and_not_the_one_that_is_listened_at() -> None:
    shown = config(42, advertised_listeners="PLAINTEXT://away:1,CONTROLLER://away:4711")
    assert addresses(shown) == [[("away", 4711)]] * 2


def test_a_controller_at_any_free_port_shows_the_one_in_use() -> None:
    assert addresses(config(0)) == [[("localhost", 42)]] * 2
