"""What holds for every request: versions, ordering, and what Kafka answers by closing."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.messages.produce import ProduceResponse
from tests.support.batches import Lies, batch
from tests.support.requests import code, connect, fetch_request, list_offset, produce, produce_request
from tests.support.targets import Target
from tests.support.wire import Closed, Connection, framed, request_header

NewTopic = Callable[..., str]

RANGES = {
    0: (0, 13), 1: (4, 18), 2: (1, 11), 3: (0, 13), 8: (2, 10), 9: (1, 10), 10: (0, 6), 11: (0, 9),
    12: (0, 4), 13: (0, 5), 14: (0, 5), 15: (0, 6), 16: (0, 5), 17: (0, 1), 18: (0, 5), 19: (2, 7),
    20: (1, 6), 21: (0, 2), 22: (0, 5), 23: (2, 4), 24: (0, 5), 25: (0, 4), 26: (0, 5), 27: (1, 2),
    28: (0, 6), 29: (1, 3), 30: (1, 3), 31: (1, 3), 32: (1, 4), 33: (0, 2), 34: (1, 2), 35: (1, 5),
    36: (0, 2), 37: (0, 3), 38: (1, 3), 39: (1, 2), 40: (1, 2), 41: (1, 3), 42: (0, 3), 43: (0, 2),
    44: (0, 1), 45: (0, 1), 46: (0, 0), 47: (0, 0), 48: (0, 1), 49: (0, 1), 50: (0, 0), 51: (0, 0),
    55: (0, 2), 57: (0, 2), 60: (0, 2), 61: (0, 0), 64: (0, 0), 65: (0, 0), 66: (0, 2), 68: (0, 1),
    69: (0, 1), 74: (0, 1), 75: (0, 0), 76: (1, 1), 77: (1, 1), 78: (1, 2), 79: (1, 2), 80: (0, 1),
    81: (0, 0), 83: (0, 0), 84: (0, 0), 85: (0, 1), 86: (0, 0), 87: (0, 1), 88: (0, 1), 89: (0, 1),
    90: (0, 1), 91: (0, 0), 92: (0, 0), 93: (0, 0), 94: (0, 0),
}  # fmt: skip
"""What Apache Kafka 4.4.0 lists at a broker's listener."""
FEATURES = {
    "eligible.leader.replicas.version": (0, 1),
    "group.version": (0, 1),
    "kraft.version": (0, 1),
    "metadata.version": (7, 33),
    "share.version": (0, 2),
    "streams.version": (0, 1),
    "transaction.version": (0, 2),
}
ESSENTIAL = {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 32, 37, 42, 44, 47, 60, 75}


def api_versions(connection: Connection, version: int) -> ApiVersionsResponse:
    request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
    return connection.call(request, ApiVersionsResponse, version)


@pytest.mark.parametrize("version", range(5))
def test_every_listed_api_has_exactly_kafkas_range(connection: Connection, target: Target, version: int) -> None:
    """KIP-511: clients choose versions by this list. Odradek lists an API only when it works."""
    listed = {api.api_key: (api.min_version, api.max_version) for api in api_versions(connection, version).api_keys}
    assert listed == {key: RANGES.get(key) for key in listed}
    assert set(listed) >= ESSENTIAL
    if target.name == "apache":
        assert listed == RANGES


def test_supported_features_equal_kafkas(connection: Connection) -> None:
    """KIP-584: a controller refuses a broker that supports less."""
    features = api_versions(connection, 4).supported_features
    assert {feature.name: (feature.min_version, feature.max_version) for feature in features} == FEATURES


def test_old_versions_do_not_show_features_from_zero(connection: Connection) -> None:
    """KIP-1022: before version 4 a feature whose range starts at 0 is left out."""
    features = api_versions(connection, 3).supported_features
    assert {feature.name: feature.min_version for feature in features} == {"metadata.version": 7}


def test_finalized_features_equal_kafkas(connection: Connection) -> None:
    """What a freshly formatted 4.4.0 finalizes."""
    answer = api_versions(connection, 4)
    assert {feature.name: feature.max_version_level for feature in answer.finalized_features} == {
        "eligible.leader.replicas.version": 1,
        "group.version": 1,
        "kraft.version": 1,
        "metadata.version": 33,
        "share.version": 2,
        "streams.version": 1,
        "transaction.version": 2,
    }
    assert answer.finalized_features_epoch >= 0


def test_an_unknown_version_of_api_versions_is_answered_in_version_0(connection: Connection) -> None:
    """KIP-511: UNSUPPORTED_VERSION, with ApiVersions' own range, so that the client can ask again."""
    connection.send_bytes(framed(request_header(18, 99, 5, flexible=True) + b"\x00\x00"))
    payload = connection.receive_frame()
    assert payload[:4] == struct.pack(">i", 5)
    answer = ApiVersionsResponse.decode(payload[4:], 0)
    assert code(answer.error_code) == "UNSUPPORTED_VERSION"
    assert [(api.api_key, api.min_version, api.max_version) for api in answer.api_keys] == [(18, 0, 5)]
    assert api_versions(connection, 3).error_code == 0


@pytest.mark.parametrize("name", ["", "has space", "-dash"])
def test_a_malformed_software_name_is_an_invalid_request(connection: Connection, name: str) -> None:
    """KIP-511: names are letters, digits, and .- inside."""
    request = ApiVersionsRequest(client_software_name=name, client_software_version="1")
    assert code(connection.call(request, ApiVersionsResponse, 3).error_code) == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("api_key", "version"),
    [
        pytest.param(999, 0, id="unknown-api"),
        pytest.param(-1, 0, id="negative-api"),
        pytest.param(3, 99, id="version-too-high"),
        pytest.param(1, 3, id="version-too-low"),
        pytest.param(3, -1, id="negative-version"),
        pytest.param(0, 2, id="produce-version-listed-but-gone"),
        pytest.param(7, 3, id="removed-api"),
        pytest.param(52, 2, id="vote-is-the-controllers"),
        pytest.param(62, 4, id="broker-registration-is-the-controllers"),
        pytest.param(63, 1, id="broker-heartbeat-is-the-controllers"),
    ],
)
def test_what_is_not_served_closes_the_connection(connection: Connection, api_key: int, version: int) -> None:
    """Kafka's answer to an unknown API or version, and to a controller's API at a broker's listener."""
    connection.send_bytes(framed(request_header(api_key, version, 1, flexible=True) + bytes(64)))
    assert connection.is_closed_by_peer()


def test_a_body_that_ends_too_early_closes_the_connection(connection: Connection) -> None:
    """Bytes that are not a request cost the connection, nothing else."""
    connection.send_bytes(framed(request_header(3, 12, 1, flexible=True) + b"\x7f"))
    assert connection.is_closed_by_peer()


def test_answers_leave_in_the_order_of_the_requests(connection: Connection, new_topic: NewTopic) -> None:
    """A long poll holds back what comes behind it on the same connection."""
    topic = new_topic()
    waiting = connection.send(fetch_request(topic, 0, max_wait_ms=700), 12)
    behind = connection.send(MetadataRequest(topics=[]), 12)
    assert connection.receive(FetchResponse, 12, waiting).error_code == 0
    assert connection.receive(MetadataResponse, 12, behind).brokers


def test_a_hundred_pipelined_produces_are_stored_in_order(connection: Connection, new_topic: NewTopic) -> None:
    """In-flight requests of one connection are executed one after the other."""
    topic = new_topic()
    sent = [connection.send(produce_request(topic, batch([b"%d" % number])), 12) for number in range(100)]
    answers = [connection.receive(ProduceResponse, 12, number) for number in sent]
    offsets = [answer.responses[0].partition_responses[0].base_offset for answer in answers]
    assert offsets == list(range(100))


def test_a_request_may_arrive_a_byte_at_a_time(connection: Connection) -> None:
    """TCP has no messages."""
    data = framed(request_header(18, 0, 3, flexible=False))
    for index in range(len(data)):
        connection.send_bytes(data[index : index + 1])
    assert connection.receive_frame()[:4] == struct.pack(">i", 3)


def test_acks_0_is_not_answered(connection: Connection, new_topic: NewTopic) -> None:
    """The next answer belongs to the next request."""
    topic = new_topic()
    connection.send(produce_request(topic, batch([b"quiet"]), acks=0), 12)
    assert list_offset(connection, topic, -1).offset == 1


def test_a_failed_produce_with_acks_0_closes_the_connection(target: Target, new_topic: NewTopic) -> None:
    """The only way to tell a client that does not listen."""
    topic = new_topic()
    with connect(target) as quiet:
        quiet.send(produce_request(topic, batch(lies=Lies(crc_xor=1)), acks=0), 12)
        assert quiet.is_closed_by_peer()


def test_invalid_acks_are_invalid_required_acks(connection: Connection, new_topic: NewTopic) -> None:
    """acks is -1, 0 or 1."""
    topic = new_topic()
    assert code(produce(connection, topic, batch(), acks=2).error_code) == "INVALID_REQUIRED_ACKS"


def test_a_null_client_id_is_accepted(connection: Connection) -> None:
    """The header's client id is nullable."""
    connection.send_bytes(framed(struct.pack(">hhih", 18, 0, 9, -1)))
    assert connection.receive_frame()[:4] == struct.pack(">i", 9)


def test_unknown_tagged_fields_of_header_and_body_are_ignored(connection: Connection) -> None:
    """KIP-482: a newer client may send what an older broker does not know."""
    header = request_header(3, 12, 4, flexible=False) + b"\x01\x2a\x03abc"
    body = MetadataRequest(topics=[]).encode(12)[:-1] + b"\x01\x63\x02zz"
    connection.send_bytes(framed(header + body))
    assert MetadataResponse.decode(connection.receive_frame()[5:], 12).brokers


@pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1, 100 * 1024 * 1024 + 1])
def test_a_frame_of_impossible_length_closes_the_connection(connection: Connection, size: int) -> None:
    """socket.request.max.bytes is 100 MiB; nothing is read or reserved before."""
    connection.send_bytes(struct.pack(">i", size))
    with pytest.raises(Closed):
        connection.receive_frame()
