from __future__ import annotations

from random import Random

import pytest

from odradek.wire.errors import ProtocolError
from odradek.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest, TopicRequest
from odradek.wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from odradek.wire.messages.list_groups import ListedGroup, ListGroupsResponse
from odradek.wire.messages.metadata import MetadataResponse, MetadataResponsePartition, MetadataResponseTopic
from odradek.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestTopic
from odradek.wire.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse
from odradek.wire.schema import Message
from tests.differential.compare import differences
from tests.differential.ids import Ids
from tests.differential.mutate import mutate
from tests.differential.translate import translated
from tests.support.batches import Lies, batch, batches

NOW_MS = 1_790_000_000_000
OURS, THEIRS = b"a" * 16, b"b" * 16


def paths(ours: Message, theirs: Message, version: int, ids: Ids | None = None) -> list[str]:
    return [found.path for found in differences(ours, theirs, version, ids or Ids())]


def metadata(*topics: tuple[str, bytes], leader: int = 1) -> MetadataResponse:
    return MetadataResponse(
        topics=[
            MetadataResponseTopic(
                name=name, topic_id=topic_id, partitions=[MetadataResponsePartition(leader_id=leader)]
            )
            for name, topic_id in topics
        ]
    )


def test_ids_may_differ_as_long_as_each_stands_for_one_other() -> None:
    ids = Ids()
    assert paths(metadata(("t", OURS)), metadata(("t", THEIRS)), 12, ids) == []
    assert paths(metadata(("t", OURS)), metadata(("t", b"c" * 16)), 12, ids) == ["topics[0].topic_id"]
    assert paths(metadata(("t", b"d" * 16)), metadata(("t", THEIRS)), 12, ids) == ["topics[0].topic_id"]
    assert paths(metadata(("t", bytes(16))), metadata(("t", b"e" * 16)), 12, ids) == ["topics[0].topic_id"]


def test_everything_else_has_to_be_equal() -> None:
    assert paths(metadata(("t", OURS)), metadata(("t", THEIRS), leader=2), 12) == ["topics[0].partitions[0].leader_id"]


def test_what_kafka_keeps_in_hash_tables_may_come_in_another_order() -> None:
    ours, theirs = metadata(("a", OURS), ("b", THEIRS)), metadata(("b", b"x" * 16), ("a", b"y" * 16))
    assert paths(ours, theirs, 12) == []
    assert paths(ours, metadata(("b", b"x" * 16)), 12) == ["len(topics)"]


def test_of_what_all_sequences_share_only_the_own_is_compared() -> None:
    def groups(*names: str) -> ListGroupsResponse:
        return ListGroupsResponse(groups=[ListedGroup(group_id=name) for name in names])

    assert paths(groups("mine-g", "other"), groups("mine-g"), 0, Ids("mine-")) == []
    assert paths(groups("mine-g", "other"), groups("other"), 0, Ids("mine-")) == ["len(groups)"]


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"), [(NOW_MS, NOW_MS + 900, True), (NOW_MS, NOW_MS + 90_000, False), (-1, NOW_MS, False)]
)
def test_times_of_a_brokers_clock_are_close(ours: int, theirs: int, agree: bool) -> None:
    def produced(time_ms: int) -> ProduceResponse:
        answer = PartitionProduceResponse(log_append_time_ms=time_ms)
        return ProduceResponse(responses=[TopicProduceResponse(name="t", partition_responses=[answer])])

    assert (paths(produced(ours), produced(theirs), 9) == []) is agree


def test_a_message_is_there_or_not_whatever_it_says() -> None:
    def produced(text: str | None) -> ProduceResponse:
        answer = PartitionProduceResponse(error_message=text)
        return ProduceResponse(responses=[TopicProduceResponse(name="t", partition_responses=[answer])])

    assert paths(produced("one"), produced("two"), 9) == []
    assert paths(produced(None), produced("two"), 9) == ["responses[0].partition_responses[0].error_message"]


def fetched(records: bytes) -> FetchResponse:
    return FetchResponse(
        responses=[FetchableTopicResponse(topic="t", partitions=[PartitionData(partition_index=0, records=records)])]
    )


def test_records_are_compared_up_to_producer_ids() -> None:
    ids = Ids()
    assert ids.agree("producer", 7, 9, -1)
    ours = fetched(batch([b"v"], producer=(7, 0, 0)))
    assert paths(ours, fetched(batch([b"v"], producer=(9, 0, 0))), 12, ids) == []
    where = "responses[0].partitions[0].records(batch 0)"
    assert paths(ours, fetched(batch([b"v"], producer=(8, 0, 0))), 12, ids) == [f"{where}.producer_id"]
    assert paths(ours, fetched(batch([b"w"], producer=(9, 0, 0))), 12, ids) == [f"{where}.records"]
    assert paths(ours, fetched(batch([b"v"], producer=(9, 0, 1))), 12, ids) == [f"{where}.base_sequence"]
    assert paths(ours, fetched(b""), 12, ids) == ["responses[0].partitions[0].records(batches)"]


def test_a_request_goes_out_with_the_names_of_each_broker() -> None:
    ids = Ids()
    assert ids.agree("uuid", OURS, THEIRS, bytes(16))
    assert ids.agree("member", "m-ours", "m-theirs", "")
    request = OffsetCommitRequest(member_id="m-ours", topics=[OffsetCommitRequestTopic(topic_id=OURS)])
    other = translated(request, ids)
    assert (other.member_id, other.topics[0].topic_id) == ("m-theirs", THEIRS)
    assert (request.member_id, request.topics[0].topic_id) == ("m-ours", OURS)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_batch_with_another_producer_id_keeps_a_checksum_that_was_right(is_right: bool) -> None:
    ids = Ids()
    assert ids.agree("producer", 7, 9, -1)
    sent = fetched(batch([b"v"], producer=(7, 0, 0), lies=Lies(crc_xor=0 if is_right else 1)))
    (found,) = batches(translated(sent, ids).responses[0].partitions[0].records)
    assert (found.producer, found.crc_is_right) == ((9, 0, 0), is_right)


def test_a_seed_decides_what_is_made_invalid() -> None:
    def changed(seed: int) -> str:
        request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name="p-t"), TopicRequest(name="p-u")])
        told = mutate(request, 0, Random(seed), "p")
        try:
            request.encode(0)
        except ProtocolError as error:  # pragma: no cover
            pytest.fail(f"seed {seed}: {error}")
        return told

    assert [changed(seed) for seed in range(200)] == [changed(seed) for seed in range(200)]
    assert len({changed(seed) for seed in range(200)}) > 10
