"""Which brokers and controllers are taken in, and in which epoch."""

from __future__ import annotations

import pytest

from odradek.metadata.image import NO_LEADER
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.broker_registration import (
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    Feature,
)
from odradek.wire.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.messages.unregister_controller import UnregisterControllerRequest, UnregisterControllerResponse
from tests.unit.controller.harness import NODE_ID
from tests.unit.controller.several_brokers import Cluster


def register(cluster: Cluster, request: BrokerRegistrationRequest) -> int:
    return cluster.node.send(request, BrokerRegistrationResponse).error_code


def directory(broker_id: int) -> bytes:
    return bytes([broker_id]) * 16


def set_range(request: BrokerRegistrationRequest, name: str, low: int, high: int) -> None:
    request.features = [each for each in request.features if each.name != name]
    request.features.append(Feature(name=name, min_supported_version=low, max_supported_version=high))


@pytest.mark.parametrize(
    ("name", "low", "high", "code"),
    [
        ("transaction.version", 0, 1, ErrorCode.UNSUPPORTED_VERSION),
        ("group.version", 0, 0, ErrorCode.UNSUPPORTED_VERSION),
        ("kraft.version", 0, 0, ErrorCode.UNSUPPORTED_VERSION),
        ("of.another.release", 1, 2, ErrorCode.UNSUPPORTED_VERSION),
        ("of.another.release", 0, 2, ErrorCode.NONE),
        ("metadata.version", 7, 34, ErrorCode.NONE),
    ],
)
def test_a_broker_supports_what_is_finalized_and_what_is_off(name: str, low: int, high: int, code: ErrorCode) -> None:
    cluster = Cluster(1)
    request = cluster.node.registration(2)
    set_range(request, name, low, high)
    assert register(cluster, request) == code
    assert (2 in cluster.node.image.cluster.brokers) == (code == ErrorCode.NONE)


def test_a_broker_that_does_not_tell_of_a_feature_does_not_support_it() -> None:
    cluster = Cluster(1)
    for name, code in (
        ("metadata.version", ErrorCode.INVALID_REGISTRATION),
        ("share.version", ErrorCode.UNSUPPORTED_VERSION),
    ):
        request = cluster.node.registration(2)
        request.features = [each for each in request.features if each.name != name]
        assert register(cluster, request) == code


def test_a_directory_belongs_to_one_broker() -> None:
    cluster = Cluster(2)
    request = cluster.node.registration(3, directories=[directory(3), directory(2)])
    assert register(cluster, request) == ErrorCode.INVALID_REGISTRATION
    twice = cluster.node.registration(3, directories=[directory(3), directory(3)])
    assert register(cluster, twice) == ErrorCode.INVALID_REGISTRATION
    assert register(cluster, cluster.node.registration(3, directories=[directory(3)])) == ErrorCode.NONE


def test_the_same_incarnation_may_register_again_and_keeps_its_epoch_and_state() -> None:
    cluster = Cluster(1)
    request = cluster.node.registration(2)
    epoch = cluster.node.send(request, BrokerRegistrationResponse).broker_epoch
    cluster.epochs[2] = epoch
    cluster.unfence(2)
    request.rack = "elsewhere"
    again = cluster.node.send(request, BrokerRegistrationResponse)
    assert (again.error_code, again.broker_epoch) == (0, epoch)
    assert (cluster.broker(2).rack, cluster.broker(2).fenced) == ("elsewhere", False)


def test_an_epoch_is_the_offset_that_the_log_has_reached() -> None:
    cluster = Cluster(2)
    expected = cluster.node.raft.end_offset
    assert cluster.register(3) == expected
    cluster.create([1, 2, 3])
    cluster.fence(3)
    cluster.node.world.advance(20_000)
    expected = cluster.node.raft.end_offset
    # The partition changes that a crash causes come first, and the epoch is the first record's offset.
    assert cluster.register(3) == expected


def test_a_process_with_the_id_of_a_broker_that_is_alive_is_refused_even_while_that_is_fenced() -> None:
    cluster = Cluster(2)
    cluster.fence(2)
    assert register(cluster, cluster.node.registration(2)) == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    cluster.node.world.advance(9_001)
    assert register(cluster, cluster.node.registration(2)) == ErrorCode.NONE


def test_a_broker_that_was_let_go_may_start_again_at_once() -> None:
    cluster = Cluster(2)
    assert cluster.heartbeat(2, want_shut_down=True).should_shut_down
    assert register(cluster, cluster.node.registration(2, previous_epoch=cluster.epochs[2])) == ErrorCode.NONE


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_crash_takes_a_broker_out_of_the_replicas_that_are_eligible(is_clean: bool) -> None:
    cluster = Cluster(3)
    cluster.create([2, 3], min_insync_replicas="2")
    cluster.fence(3)
    assert cluster.shown() == (2, [2], [3])
    cluster.node.world.advance(4_000)
    cluster.unfence(1)
    cluster.heartbeat(2)
    cluster.node.world.advance(6_000)
    cluster.register(3, previous_epoch=cluster.epochs[3] if is_clean else -1)
    assert cluster.shown() == (2, [2], [3] if is_clean else [])


def test_a_leader_that_crashes_leaves_the_isr_and_is_remembered_as_the_last_leader() -> None:
    cluster = Cluster(2)
    cluster.create([2])
    old = cluster.epochs[2]
    cluster.node.world.advance(10_200)
    assert cluster.shown() == (NO_LEADER, [], [2])
    cluster.register(2, previous_epoch=old - 1, unfence=False)
    partition = cluster.partition()
    assert (partition.leader, partition.isr, partition.elr, partition.last_known_elr) == (NO_LEADER, (), (), (2,))


def test_an_unregistered_broker_that_comes_again_is_as_one_that_crashed() -> None:
    cluster = Cluster(3)
    cluster.create([2, 3], min_insync_replicas="2")
    answer = cluster.node.send(UnregisterBrokerRequest(broker_id=3), UnregisterBrokerResponse)
    assert answer.error_code == 0
    assert cluster.shown() == (2, [2], [3])
    cluster.register(3, previous_epoch=cluster.epochs[3])
    assert cluster.shown() == (2, [2], [])


def test_controllers_come_and_go_but_not_the_active_one() -> None:
    cluster = Cluster(1)
    for controller_id in (NODE_ID, 8):
        request = ControllerRegistrationRequest(controller_id=controller_id, incarnation_id=b"c" * 16)
        assert cluster.node.send(request, ControllerRegistrationResponse).error_code == 0
    codes = [
        cluster.node.send(
            UnregisterControllerRequest(controller_id=controller_id), UnregisterControllerResponse
        ).error_code
        for controller_id in (8, 8, NODE_ID)
    ]
    assert codes == [ErrorCode.NONE, ErrorCode.CONTROLLER_ID_NOT_REGISTERED, ErrorCode.INVALID_REQUEST]
    assert list(cluster.node.image.cluster.controllers) == [NODE_ID]
