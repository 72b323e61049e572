"""Every API in every version: where its errors are, and what its requests are about."""

from __future__ import annotations

from collections.abc import Iterator

from odradek.testing import EmbeddedKafka
from odradek.testing.faults.places import places_of
from odradek.wire.api_table import APIS
from odradek.wire.apis import ApiKey, listeners, request_class, response_class, stable_versions
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.schema import Message, Struct, version_range
from tests.unit.testing.faults.wire import Wire

CODE = ErrorCode.POLICY_VIOLATION
TOPIC_ID = b"t" * 16
TOPIC_RESOURCE = 2
STRINGS = ("name", "topic", "topic_name", "key", "group_id", "transactional_id", "resource_name", "member_id",
           "v3_and_below_transactional_id")  # fmt: skip
NOT_SERVED = ("Share", "Streams", "InitializeShare", "ReadShare", "WriteShare", "DeleteShare", "DescribeShare",
              "AlterShare")  # fmt: skip
WITHOUT_PLACE = {(ApiKey.DESCRIBE_LOG_DIRS, 1), (ApiKey.DESCRIBE_LOG_DIRS, 2)}
"""Their errors are of directories, which a request does not name."""


def filled(kind: type[Struct], version: int) -> Struct:
    """A struct with one element in each of its lists."""
    values: dict[str, object] = {}
    for declared in kind.FIELDS:
        if version not in version_range(declared.versions, kind.MAX_VERSION):
            continue
        element = declared.type.element
        if element is not None and element.struct is not None:
            values[declared.name] = [filled(element.struct, version)]
        elif element is not None:
            values[declared.name] = ["t" if element.kind == "string" else 0]
        elif declared.name in STRINGS:
            values[declared.name] = "t"
        elif declared.name == "topic_id":
            values[declared.name] = TOPIC_ID
        elif declared.name in ("acks", "resource_type"):
            values[declared.name] = TOPIC_RESOURCE if declared.name == "resource_type" else 1
    return kind(**values)  # type: ignore[arg-type]  # of whatever types the fields have


def codes(struct: Struct) -> Iterator[int]:
    """All error codes in a response."""
    for declared in struct.FIELDS:
        value = getattr(struct, declared.name)
        if declared.name.endswith("error_code"):
            yield value
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Struct):
                yield from codes(each)


def request_of(key: ApiKey, version: int) -> Message:
    request = filled(request_class(key), version)
    assert isinstance(request, Message)
    return request


def test_every_response_tells_of_the_error(kafka: EmbeddedKafka) -> None:
    silent = set()
    with Wire(kafka) as wire:
        software = ApiVersionsRequest(client_software_name="x", client_software_version="1")
        served = [ApiKey(each.api_key) for each in wire.send(software, ApiVersionsResponse).api_keys]
        made = [(key, version) for key in served for version in stable_versions(key)]
        with kafka.faults.fail("*", CODE) as fault:
            for key, version in made:
                response = wire.send(request_of(key, version), response_class(key), version)
                if CODE not in codes(response):
                    silent.add((key, version))
            assert fault.hits == len(made) > 200
    assert silent == WITHOUT_PLACE


ABOUT_TOPICS = {
    "AddPartitionsToTxn", "AlterConfigs", "AlterPartitionReassignments", "AlterReplicaLogDirs",
    "ConsumerGroupHeartbeat", "CreateAcls", "CreatePartitions", "CreateTopics", "DeleteRecords", "DeleteTopics",
    "DescribeConfigs", "DescribeLogDirs", "DescribeProducers", "DescribeQuorum", "DescribeTopicPartitions",
    "ElectLeaders", "Fetch", "IncrementalAlterConfigs", "ListOffsets", "ListPartitionReassignments", "Metadata",
    "OffsetCommit", "OffsetDelete", "OffsetFetch", "OffsetForLeaderEpoch", "Produce", "TxnOffsetCommit",
    "WriteTxnMarkers",
}  # fmt: skip


def test_a_topic_is_found_wherever_a_request_names_it() -> None:
    found = {
        APIS[key].name
        for key in ApiKey
        for version in stable_versions(key)
        if "broker" in listeners(key) and not APIS[key].name.startswith(NOT_SERVED)
        if any(topic == "t" for topic, _partition in places_of(request_of(key, version), {TOPIC_ID: "t"}.get))
    }
    assert found == ABOUT_TOPICS
