"""Lookups by API key, and the frames around persistent records."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from odradek.wire import ProtocolError
from odradek.wire.apis import (
    ApiKey,
    latest_unstable,
    listeners,
    request_class,
    request_header_version,
    response_class,
    response_header_version,
    stable_versions,
    valid_versions,
)
from odradek.wire.json_form import from_json, to_json
from odradek.wire.messages.consumer_protocol import ConsumerProtocolSubscription
from odradek.wire.messages.produce import ProduceRequest
from odradek.wire.persistent import group
from odradek.wire.persistent.framing import (
    decode_key,
    decode_metadata_record,
    decode_versioned,
    encode_key,
    encode_metadata_record,
    encode_versioned,
)
from odradek.wire.persistent.group.offset_commit import OffsetCommitKey, OffsetCommitValue
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.persistent.raft.quorum_state import QuorumStateData, Voter


def test_the_table_of_apis_says_what_the_declarations_say() -> None:
    for key in ApiKey:
        request, response = request_class(key), response_class(key)
        assert request.API_KEY == response.API_KEY == key
        assert (request.KIND, response.KIND) == ("request", "response")
        assert valid_versions(key) == range(request.MIN_VERSION, request.MAX_VERSION + 1)
        assert valid_versions(key) == range(response.MIN_VERSION, response.MAX_VERSION + 1)
        assert listeners(key) == request.LISTENERS
        assert latest_unstable(key) == request.LATEST_UNSTABLE
        for version in valid_versions(key):
            assert request_header_version(key, version) == (2 if version in request.FLEXIBLE else 1)
            if key != ApiKey.API_VERSIONS:
                assert response_header_version(key, version) == (1 if version in response.FLEXIBLE else 0)


def test_the_answer_to_api_versions_never_has_a_flexible_header() -> None:
    assert request_header_version(ApiKey.API_VERSIONS, 3) == 2
    assert [response_header_version(ApiKey.API_VERSIONS, version) for version in (0, 3, 4)] == [0, 0, 0]


def test_an_unstable_latest_version_is_not_offered() -> None:
    assert valid_versions(ApiKey.INIT_PRODUCER_ID) == range(7)
    assert stable_versions(ApiKey.INIT_PRODUCER_ID) == range(6)
    assert stable_versions(ApiKey.PRODUCE) == valid_versions(ApiKey.PRODUCE) == range(3, 14)


@pytest.mark.parametrize("key", [-1, 4, 7, 999])
def test_an_unknown_api_key_is_a_protocol_error(key: int) -> None:
    for lookup in (request_class, response_class, valid_versions, listeners):
        with pytest.raises(ProtocolError):
            lookup(key)
    with pytest.raises(ProtocolError):
        request_header_version(key, 0)


def test_a_metadata_record_is_framed_with_its_type_and_version() -> None:
    record = TopicRecord(name="t", topic_id=bytes(range(16)))
    content = encode_metadata_record(record, 0)
    assert content[:3] == b"\x01\x02\x00"
    assert decode_metadata_record(content) == (record, 0)


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01\x02", b"\x02\x02\x00", b"\x01\x7f\x00", b"\x01\x02\x01"])
def test_a_metadata_record_with_a_bad_frame_is_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_metadata_record(content)


def test_a_coordinator_record_is_framed_with_its_type_and_its_values_version() -> None:
    key = OffsetCommitKey(group="g", topic="t", partition=3)
    value = OffsetCommitValue(offset=7, leader_epoch=1, metadata="m", commit_timestamp=5)
    assert encode_key(key) == b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"
    assert decode_key(group.KEYS, encode_key(key)) == key
    assert encode_versioned(value, 3).startswith(b"\x00\x03")
    assert decode_versioned(OffsetCommitValue, encode_versioned(value, 3)) == (value, 3)
    assert group.value_class(1) is OffsetCommitValue


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x7f\xff", b"\xff\xff"])
def test_a_coordinator_record_with_a_bad_frame_is_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_key(group.KEYS, content)
    with pytest.raises(ProtocolError):
        decode_versioned(OffsetCommitValue, content)


def test_a_subscription_is_framed_with_its_version() -> None:
    subscription = ConsumerProtocolSubscription(topics=["a", "b"])
    assert decode_versioned(ConsumerProtocolSubscription, encode_versioned(subscription, 1)) == (subscription, 1)


def test_only_keys_are_framed_as_keys() -> None:
    with pytest.raises(ProtocolError):
        encode_key(OffsetCommitValue())
    with pytest.raises(ProtocolError):
        encode_metadata_record(ConsumerProtocolSubscription(), 0)


def test_json_has_kafkas_names_and_forms() -> None:
    state = QuorumStateData(leader_id=1, leader_epoch=2, current_voters=[Voter(voter_id=1)])
    raw = to_json(state, 0)
    assert raw["leaderId"] == 1
    assert raw["currentVoters"] == [{"voterId": 1}]
    assert from_json(QuorumStateData, json.loads(json.dumps(raw)), 0) == state


@pytest.mark.parametrize(
    "raw",
    [
        [],
        {},
        {"name": 1, "topicId": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"name": None, "topicId": ""},
        {"name": "t", "topicId": "x"},
    ],
)
def test_json_of_the_wrong_shape_is_a_protocol_error(raw: object) -> None:
    with pytest.raises(ProtocolError):
        from_json(TopicRecord, raw, 0)  # type: ignore[arg-type]


def test_json_of_a_version_that_cannot_carry_the_value_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        to_json(OffsetCommitValue(metadata=None), 0)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        to_json(ProduceRequest(transactional_id=None), 14)


def test_importing_the_wire_loads_no_message_and_no_compiler() -> None:
    program = "import sys, odradek.wire, odradek.wire.apis; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in ran.stdout.split() if name.startswith("odradek.")]
    assert "odradek.wire.schema" in loaded
    assert [name for name in loaded if "messages" in name or "persistent" in name or "compiler" in name] == []


def test_looking_up_one_api_loads_only_its_module() -> None:
    program = "import sys, odradek.wire.apis as a; a.request_class(0); print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in ran.stdout.split() if name.startswith("odradek.wire.messages.")]
    assert loaded == ["odradek.wire.messages.produce"]
