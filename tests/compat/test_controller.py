"""The controller's listener, to a client that bootstraps from it (KIP-919)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from odradek.wire.messages.alter_configs import AlterConfigsRequest
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.create_acls import AclCreation, CreateAclsRequest, CreateAclsResponse
from odradek.wire.messages.delete_acls import DeleteAclsFilter, DeleteAclsRequest, DeleteAclsResponse
from odradek.wire.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from odradek.wire.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from odradek.wire.schema import Message
from tests.support.process import wait_for
from tests.support.requests import code
from tests.support.wire import Connection, encode_request, framed

BROKER, TOPIC, LOGGER, CLIENT_METRICS, GROUP = 4, 2, 8, 16, 32
BROKERS, CONTROLLERS = 1, 2
ANY = 1
CLUSTER_METADATA = DescribeQuorumRequestTopicData(
    topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
)


@pytest.fixture
def address(connection: Connection) -> tuple[str, int]:
    """Where the controller listens, as a broker tells it."""
    answer = connection.call(DescribeQuorumRequest(topics=[CLUSTER_METADATA]), DescribeQuorumResponse)
    listener = answer.nodes[0].listeners[0]
    return listener.host, listener.port


@pytest.fixture
def controller(address: tuple[str, int]) -> Iterator[Connection]:
    with Connection(*address) as opened:
        yield opened


def describe(controller: Connection, kind: int, name: str, version: int | None = None) -> DescribeConfigsResult:
    wanted = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=None)
    request = DescribeConfigsRequest(resources=[wanted], include_synonyms=True)
    return controller.call(request, DescribeConfigsResponse, version).results[0]


def test_the_apis_are_listed_with_apache_kafkas_ranges(controller: Connection) -> None:
    request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
    listed = {
        api.api_key: (api.min_version, api.max_version)
        for api in controller.call(request, ApiVersionsResponse, 4).api_keys
    }
    expected = {17: (0, 1), 18: (0, 5), 29: (1, 3), 30: (1, 3), 31: (1, 3), 32: (1, 4), 33: (0, 2), 36: (0, 2),
                44: (0, 1), 55: (0, 2), 57: (0, 2), 60: (0, 2)}  # fmt: skip
    assert {key: listed.get(key) for key in expected} == expected


@pytest.mark.parametrize("version", [1, 2])
def test_the_cluster_is_its_controllers(controller: Connection, address: tuple[str, int], version: int) -> None:
    request = DescribeClusterRequest(endpoint_type=CONTROLLERS, include_cluster_authorized_operations=True)
    answer = controller.call(request, DescribeClusterResponse, version)
    assert code(answer.error_code) == "NONE"
    assert answer.endpoint_type == CONTROLLERS
    assert answer.cluster_id
    (node,) = answer.brokers
    assert node.broker_id == answer.controller_id
    assert (node.host, node.port, node.rack, node.is_fenced) == (*address, None, False)
    assert answer.cluster_authorized_operations == 8096


@pytest.mark.parametrize(
    ("version", "endpoint_type", "error", "message"),
    [
        (0, BROKERS, "INVALID_REQUEST", "type CONTROLLER, but we wanted an endpoint of type BROKER"),
        (1, BROKERS, "MISMATCHED_ENDPOINT_TYPE", "type CONTROLLER, but we wanted an endpoint of type BROKER"),
        (2, 3, "UNSUPPORTED_ENDPOINT_TYPE", "Unsupported endpoint type 3"),
    ],
)
def test_other_nodes_than_controllers_are_refused(
    controller: Connection, version: int, endpoint_type: int, error: str, message: str
) -> None:
    request = DescribeClusterRequest(endpoint_type=endpoint_type)
    answer = controller.call(request, DescribeClusterResponse, version)
    assert code(answer.error_code) == error
    assert message in (answer.error_message or "")
    assert not answer.brokers


def test_configurations_are_altered_and_described(controller: Connection, connection: Connection) -> None:
    """A dynamic property of this node, set through the controller; the broker describes it alike."""
    node = str(
        controller.call(DescribeClusterRequest(endpoint_type=CONTROLLERS), DescribeClusterResponse).controller_id
    )
    name = "log.cleaner.io.buffer.load.factor"

    def alter(operation: int) -> None:
        change = AlterableConfig(name=name, config_operation=operation, value="0.8")
        resource = AlterConfigsResource(resource_type=BROKER, resource_name=node, configs=[change])
        answer = controller.call(IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse)
        assert code(answer.responses[0].error_code) == "NONE", answer.responses[0].error_message

    def is_set(asked: Connection, value: str, source: int) -> bool:
        result = describe(asked, BROKER, node)
        assert code(result.error_code) == "NONE"
        (entry,) = [each for each in result.configs if each.name == name]
        return (entry.value, entry.config_source) == (value, source)

    for operation, expected in ((0, ("0.8", 2)), (1, ("0.9", 5))):
        alter(operation)
        for asked in (controller, connection):
            wait_for(partial(is_set, asked, *expected), f"{name} is {expected}")


@pytest.mark.parametrize(
    ("kind", "name", "error", "message"),
    [
        (BROKER, "", "NONE", ""),
        (BROKER, "77", "INVALID_REQUEST", "Unexpected broker id, expected 1 or empty string, but received 77"),
        (TOPIC, "no-such-topic", "UNKNOWN_TOPIC_OR_PARTITION", ""),
        (TOPIC, "", "INVALID_TOPIC_EXCEPTION", "Topic name is invalid: the empty string is not allowed"),
        (LOGGER, "", "INVALID_REQUEST", "Broker id must not be empty"),
        (CLIENT_METRICS, "subscription", "NONE", ""),
        (GROUP, "group", "NONE", ""),
        (GROUP, "", "INVALID_REQUEST", "Group name must not be empty"),
        (64, "unknown", "INVALID_REQUEST", None),
    ],
)
def test_resources_are_described_as_by_a_broker(
    controller: Connection, connection: Connection, kind: int, name: str, error: str, message: str | None
) -> None:
    result, of_broker = describe(controller, kind, name), describe(connection, kind, name)
    assert code(result.error_code) == error
    assert result.error_message == of_broker.error_message
    assert message in (None, result.error_message)
    assert sorted(each.name for each in result.configs) == sorted(each.name for each in of_broker.configs)


def test_security_that_is_off_is_answered(controller: Connection) -> None:
    acls = DescribeAclsRequest(resource_type_filter=ANY, pattern_type_filter=ANY, operation=ANY, permission_type=ANY)
    described = controller.call(acls, DescribeAclsResponse)
    assert code(described.error_code) == "SECURITY_DISABLED"
    assert described.error_message == "No Authorizer is configured on the broker"
    creation = AclCreation(
        resource_type=TOPIC,
        resource_name="t",
        resource_pattern_type=3,
        principal="User:a",
        host="*",
        operation=3,
        permission_type=3,
    )
    created = controller.call(CreateAclsRequest(creations=[creation]), CreateAclsResponse)
    assert [code(each.error_code) for each in created.results] == ["SECURITY_DISABLED"]
    any_acl = DeleteAclsFilter(resource_type_filter=ANY, pattern_type_filter=ANY, operation=ANY, permission_type=ANY)
    deleted = controller.call(DeleteAclsRequest(filters=[any_acl]), DeleteAclsResponse)
    assert [code(each.error_code) for each in deleted.filter_results] == ["SECURITY_DISABLED"]
    handshake = controller.call(SaslHandshakeRequest(mechanism="PLAIN"), SaslHandshakeResponse)
    assert code(handshake.error_code) == "ILLEGAL_SASL_STATE"
    authenticated = controller.call(SaslAuthenticateRequest(auth_bytes=b""), SaslAuthenticateResponse)
    assert code(authenticated.error_code) == "ILLEGAL_SASL_STATE"
    assert authenticated.error_message == "SaslAuthenticate request received after successful authentication"


def test_the_quorum_is_described_by_its_leader(controller: Connection) -> None:
    answer = controller.call(DescribeQuorumRequest(topics=[CLUSTER_METADATA]), DescribeQuorumResponse)
    (partition,) = answer.topics[0].partitions
    assert code(partition.error_code) == "NONE"
    assert partition.leader_id == partition.current_voters[0].replica_id


@pytest.mark.parametrize("message", [AlterConfigsRequest(), DescribeConfigsRequest()], ids=["alter", "describe"])
def test_no_resources_are_no_error(controller: Connection, message: Message) -> None:
    controller.send_bytes(framed(encode_request(message, 2)))
    assert controller.receive_frame()


@pytest.mark.parametrize(("key", "version"), [(0, 9), (3, 12), (10, 4), (42, 2)])
def test_a_brokers_apis_cost_the_connection(controller: Connection, key: int, version: int) -> None:
    controller.send_bytes(framed(key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4) + b"\xff\xff\x00\x00"))
    assert controller.is_closed_by_peer()
