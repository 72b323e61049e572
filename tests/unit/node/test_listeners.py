"""What each listener of a node answers."""

from __future__ import annotations

import pytest

from odradek.ports.network import Outcome
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.messages.produce import ProduceRequest
from tests.unit.node.machine import FETCH_VERSION, Machine, RunningNode

VERSIONS = ApiVersionsRequest(client_software_name="test", client_software_version="1")


@pytest.fixture
def node() -> RunningNode:
    return Machine().start()


def apis(node: RunningNode, *, controller: bool) -> set[int]:
    response = node.ask(VERSIONS, ApiVersionsResponse, controller=controller)
    assert response.error_code == ErrorCode.NONE
    return {api.api_key for api in response.api_keys}


def test_the_listeners_list_their_own_apis(node: RunningNode) -> None:
    clients = apis(node, controller=False)
    controllers = apis(node, controller=True)
    assert {ApiKey.PRODUCE, ApiKey.FETCH, ApiKey.METADATA, ApiKey.JOIN_GROUP} <= clients
    assert not {ApiKey.BROKER_HEARTBEAT, ApiKey.BROKER_REGISTRATION} & clients
    assert {ApiKey.BROKER_HEARTBEAT, ApiKey.BROKER_REGISTRATION, ApiKey.CREATE_TOPICS} <= controllers
    assert not {ApiKey.PRODUCE, ApiKey.METADATA, ApiKey.JOIN_GROUP} & controllers


def test_both_listeners_show_the_finalized_features(node: RunningNode) -> None:
    for controller in (False, True):
        response = node.ask(VERSIONS, ApiVersionsResponse, controller=controller)
        levels = {feature.name: feature.max_version_level for feature in response.finalized_features}
        assert levels["metadata.version"] == 33
        assert levels["kraft.version"] == 1
        assert response.finalized_features_epoch >= 0


def test_an_api_of_the_other_listener_costs_the_connection(node: RunningNode) -> None:
    assert node.send(BrokerHeartbeatRequest()) is Outcome.CLOSE
    assert node.send(ProduceRequest(acks=1), controller=True) is Outcome.CLOSE


def test_clients_are_sent_to_the_port_in_use() -> None:
    machine = Machine(settings={"listeners": "PLAINTEXT://localhost:0,CONTROLLER://127.0.0.1:0"})
    response = machine.start().ask(MetadataRequest(topics=[]), MetadataResponse)
    assert [(broker.node_id, broker.host, broker.port) for broker in response.brokers] == [(1, "localhost", 9092)]
    assert response.controller_id == 1


def test_a_topic_is_created_when_it_is_asked_for(node: RunningNode) -> None:
    request = MetadataRequest(topics=[MetadataRequestTopic(name="new")], allow_auto_topic_creation=True)
    node.ask(request, MetadataResponse)
    node.world.advance(1000)
    response = node.ask(request, MetadataResponse)
    assert [(topic.error_code, topic.name) for topic in response.topics] == [(ErrorCode.NONE, "new")]
    assert node.produce("new", b"x") == ErrorCode.NONE


def test_a_waiting_fetch_is_answered_when_records_come(node: RunningNode) -> None:
    node.create_topic("t")
    request = node.fetch_request("t", max_wait_ms=30_000)
    waiting = node.send(request, FETCH_VERSION)
    before_ms = node.world.monotonic_ms()
    assert node.produce("t", b"news") == ErrorCode.NONE
    response = node.answer(waiting, request, FetchResponse, FETCH_VERSION)
    assert response.responses[0].partitions[0].records
    assert node.world.monotonic_ms() - before_ms < 30_000


def test_offsets_groups_and_the_cluster_are_described(node: RunningNode) -> None:
    node.create_topic("t")
    node.produce("t", b"a", b"b")
    latest = ListOffsetsTopic(name="t", partitions=[ListOffsetsPartition(partition_index=0, timestamp=-1)])
    offsets = node.ask(ListOffsetsRequest(replica_id=-1, topics=[latest]), ListOffsetsResponse)
    assert offsets.topics[0].partitions[0].offset == 2
    assert node.ask(ListGroupsRequest(), ListGroupsResponse).groups == []
    described = node.ask(DescribeClusterRequest(), DescribeClusterResponse)
    assert [broker.broker_id for broker in described.brokers] == [1]


def test_an_unknown_topic_is_an_error_of_its_partition(node: RunningNode) -> None:
    assert node.fetch("none") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert node.produce("none", b"x") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
