"""Nodes that offer clients what an older Kafka did."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

from odradek.net.connection import ConnectionLostError, UnsupportedApiError
from odradek.testing import EmbeddedKafka
from odradek.testing.options import Options
from odradek.testing.releases import MaxVersions, offer_of, releases
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.messages.produce import ProduceResponse
from tests.unit.testing.clients import TIMEOUT_S, consume_all, produce
from tests.unit.testing.faults.wire import Wire, produce_request


def offered(kafka: EmbeddedKafka, version: int = 3) -> ApiVersionsResponse:
    with Wire(kafka) as wire:
        request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
        return wire.send(request, ApiVersionsResponse, version)


def versions(response: ApiVersionsResponse) -> dict[str, int]:
    return {ApiKey(each.api_key).name: each.max_version for each in response.api_keys}


@pytest.mark.parametrize(
    ("release", "expected", "gone"),
    [
        ("2.8", {"FETCH": 12, "PRODUCE": 9, "FIND_COORDINATOR": 3, "METADATA": 11}, ["LIST_TRANSACTIONS"]),
        ("3.6", {"FETCH": 15, "PRODUCE": 9, "LIST_TRANSACTIONS": 0}, ["CONSUMER_GROUP_HEARTBEAT"]),
        ("3.9", {"FETCH": 17, "PRODUCE": 11, "CONSUMER_GROUP_HEARTBEAT": 0, "API_VERSIONS": 4}, ["SHARE_FETCH"]),
    ],
)
def test_a_release_offers_its_own_versions(release: str, expected: dict[str, int], gone: list[str]) -> None:
    with EmbeddedKafka(topics=["t"], max_versions=release) as kafka:
        listed = versions(offered(kafka))
        assert {name: listed[name] for name in expected} == expected
        assert not set(gone) & set(listed)
        produce(kafka.bootstrap_servers, "t", "v")
        assert consume_all(kafka.bootstrap_servers) == [b"v"]


def features(response: ApiVersionsResponse) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    return {each.name: (each.min_version, each.max_version) for each in response.supported_features}, {
        each.name: each.max_version_level for each in response.finalized_features
    }


def test_features_are_those_of_the_release() -> None:
    with EmbeddedKafka(max_versions="2.8") as kafka:
        assert features(offered(kafka)) == ({}, {})
    with EmbeddedKafka(max_versions="3.9") as kafka:
        assert features(offered(kafka)) == ({"metadata.version": (1, 21)}, {"metadata.version": 21, "kraft.version": 1})
        assert features(offered(kafka, 4))[0] == {"metadata.version": (1, 21), "kraft.version": (0, 1)}


def test_what_is_not_offered_is_not_answered() -> None:
    with EmbeddedKafka(topics=["t"], max_versions={"Metadata": 9, "ApiVersions": 2}) as kafka:
        with Wire(kafka) as wire:
            assert wire.send(MetadataRequest(topics=None), MetadataResponse).topics[0].name == "t"
            assert wire.send(produce_request("t"), ProduceResponse, 12).responses[0].name == "t"
            with pytest.raises(ConnectionLostError):
                wire.send(MetadataRequest(topics=None), MetadataResponse, 10)
        told = offered(kafka)
        assert told.error_code == ErrorCode.UNSUPPORTED_VERSION
        assert versions(told) == {"API_VERSIONS": 2}
    with EmbeddedKafka(max_versions="3.6") as kafka, Wire(kafka) as wire, pytest.raises(UnsupportedApiError):
        wire.send(ConsumerGroupHeartbeatRequest(), MetadataResponse)
    with EmbeddedKafka(max_versions="3.6") as kafka, Wire(kafka) as wire, pytest.raises(ConnectionLostError):
        wire.send(ConsumerGroupHeartbeatRequest(), MetadataResponse, 0)


def test_nodes_speak_with_each_other_as_ever() -> None:
    with EmbeddedKafka(3, topics=["t"], max_versions="2.8") as kafka:

        async def run() -> list[bytes]:
            servers = kafka.bootstrap_servers
            producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id="tx")
            async with producer, producer.transaction():
                await producer.send_and_wait("t", b"v")
            async with AIOKafkaConsumer(
                "t", bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
            ) as consumer:
                return [(await asyncio.wait_for(consumer.getone(), TIMEOUT_S)).value]

        assert asyncio.run(run()) == [b"v"]


def test_no_release_offers_what_this_one_does_not_and_none_takes_anything_back() -> None:
    before: dict[ApiKey, int] = {}
    assert releases()[0] == "2.8"
    for release in releases():
        known = offer_of(release).versions
        assert all(version in stable_versions(key) for key, version in known.items())
        assert all(known[key] >= version for key, version in before.items())
        before = dict(known)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("1.0", "'1.0' is none of the releases 2.8, 3.0"),
        ({"Fetsch": 1}, "there is no API 'Fetsch'"),
        ({"Fetch": 3}, "Fetch has the versions 4 to 18, and not 3"),
    ],
)
def test_what_is_not_known_is_refused_at_once(wanted: MaxVersions, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EmbeddedKafka(max_versions=wanted)


def test_the_options_go_to_another_process_whole() -> None:
    for wanted in ("2.8", {"Fetch": 11}):
        options = Options.of(1, (), None, None, False, max_versions=wanted)
        assert Options.from_json(json.loads(json.dumps(options.to_json()))) == options
