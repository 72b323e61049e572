"""What the same random requests to both brokers brought to light: `tests/differential`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)
from odradek.wire.messages.consumer_protocol import ConsumerProtocolSubscription
from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from odradek.wire.messages.describe_producers import DescribeProducersRequest, DescribeProducersResponse, TopicRequest
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
)
from odradek.wire.messages.describe_user_scram_credentials import (
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)
from odradek.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.support.batches import Lies, batch, raw
from tests.support.consumer_groups import RawConsumer, describe_consumers
from tests.support.groups import commit
from tests.support.requests import await_coordinator, code, metadata, produce
from tests.support.transactions import await_coordinator as await_coordinator_of_transactions
from tests.support.transactions import init
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


def fetch_of(
    *wanted: tuple[str | bytes, int], offset: int = 0, max_bytes: int = 1 << 20, **fields: int
) -> FetchRequest:
    """A fetch of these partitions, each in a topic entry of its own, by name or by id."""
    topics = []
    for topic, index in wanted:
        entry = FetchTopic(topic_id=topic) if isinstance(topic, bytes) else FetchTopic(topic=topic)
        entry.partitions = [FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=max_bytes)]
        topics.append(entry)
    return FetchRequest(max_wait_ms=0, min_bytes=1, topics=topics, **fields)  # type: ignore[arg-type]  # by name


def told(response: FetchResponse) -> list[tuple[int, str]]:
    """Partition and error of all that a fetch response has, in its order."""
    return [
        (partition.partition_index, code(partition.error_code))
        for topic in response.responses
        for partition in topic.partitions
    ]


def test_what_is_not_there_is_told_behind_what_was_read(connection: Connection, new_topic: NewTopic) -> None:
    """First the topic ids that nobody has, then the partitions; their aborted transactions are none, not null."""
    topic = new_topic(partitions=2)
    topic_id = metadata(connection, topic).topic_id
    request = fetch_of((topic_id, 7), (b"\x07" * 16, 0), (topic_id, 1), session_id=0, session_epoch=-1)
    response = connection.call(request, FetchResponse, 13)
    assert told(response) == [(1, "NONE"), (0, "UNKNOWN_TOPIC_ID"), (7, "UNKNOWN_TOPIC_OR_PARTITION")]
    aborted = [topic.partitions[0].aborted_transactions for topic in response.responses]
    assert aborted == [None, [], []]


def test_a_session_may_begin_without_partitions(connection: Connection) -> None:
    """KIP-227: they can be added later."""
    response = connection.call(fetch_of(session_id=0, session_epoch=0), FetchResponse, 13)
    assert response.session_id != 0


def test_only_incremental_responses_change_a_sessions_order(connection: Connection, new_topic: NewTopic) -> None:
    """What had data is read last, but not after the first response of a session."""
    topic = new_topic(partitions=2)
    for index in range(2):
        produce(connection, topic, batch(), partition=index)
    first = connection.call(fetch_of((topic, 0), (topic, 1), session_id=0, session_epoch=0), FetchResponse, 12)
    orders = []
    for epoch in (1, 2):
        request = fetch_of(session_id=first.session_id, session_epoch=epoch, max_bytes=1)
        request.max_bytes = 1
        orders.append([index for index, _ in told(connection.call(request, FetchResponse, 12))])
    assert orders == [[0], [1]]


def test_a_session_that_forgets_everything_answers_what_the_request_names(
    connection: Connection, new_topic: NewTopic
) -> None:
    """It is then a request outside of any session."""
    topic = new_topic()
    first = connection.call(fetch_of((topic, 0), session_id=0, session_epoch=0), FetchResponse, 12)
    request = fetch_of((topic, 0), session_id=first.session_id, session_epoch=1)
    request.forgotten_topics_data = [ForgottenTopic(topic=topic, partitions=[0])]
    response = connection.call(request, FetchResponse, 12)
    assert (response.session_id, told(response)) == (0, [(0, "NONE")])


def test_part_of_a_first_batch_is_not_returned(connection: Connection, new_topic: NewTopic) -> None:
    """Only the first partition with data gets a batch that is larger than its limit (KIP-74)."""
    topic = new_topic(partitions=2)
    for index in range(2):
        produce(connection, topic, batch([b"x" * 500]), partition=index)
    request = fetch_of((topic, 0), (topic, 1), max_bytes=100, session_id=0, session_epoch=-1)
    (answer,) = connection.call(request, FetchResponse, 12).responses
    assert [len(raw(partition.records)) for partition in answer.partitions] == [len(batch([b"x" * 500])), 0]


def test_a_negative_leader_epoch_is_none(connection: Connection, new_topic: NewTopic) -> None:
    """Not only -1, in Fetch."""
    request = fetch_of((new_topic(), 0), session_id=0, session_epoch=-1)
    request.topics[0].partitions[0].current_leader_epoch = -7
    assert told(connection.call(request, FetchResponse, 12)) == [(0, "NONE")]


@pytest.mark.parametrize("version", [12, 13])
def test_there_are_two_isolation_levels_to_fetch_with(
    connection: Connection, new_topic: NewTopic, version: int
) -> None:
    """Another one fails the request."""
    topic = new_topic()
    wanted: str | bytes = topic if version < 13 else metadata(connection, topic).topic_id
    request = fetch_of((wanted, 0), isolation_level=2, session_id=0, session_epoch=-1)
    response = connection.call(request, FetchResponse, version)
    assert code(response.error_code) == "UNKNOWN_SERVER_ERROR"
    assert told(response) == ([(0, "UNKNOWN_SERVER_ERROR")] if version < 13 else [])


def list_offsets(
    connection: Connection, topic: str, *indexes: int, isolation_level: int = 0
) -> list[tuple[str, list[tuple[int, str]]]]:
    partitions = [ListOffsetsPartition(partition_index=index, timestamp=-1) for index in indexes]
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[ListOffsetsTopic(name=topic, partitions=partitions)],
        timeout_ms=5_000,
    )
    return [
        (entry.name, [(each.partition_index, code(each.error_code)) for each in entry.partitions])
        for entry in connection.call(request, ListOffsetsResponse).topics
    ]


def test_list_offsets_answers_a_partition_once(connection: Connection, new_topic: NewTopic) -> None:
    """A partition that is named twice is INVALID_REQUEST, once; a topic without partitions is not answered."""
    topic = new_topic(partitions=2)
    assert list_offsets(connection, topic, 0, 0) == [(topic, [(0, "INVALID_REQUEST")])]
    assert list_offsets(connection, topic) == []
    assert list_offsets(connection, topic, 0, isolation_level=2) == [(topic, [(0, "UNKNOWN_SERVER_ERROR")])]


def produce_of(topic: str, *parts: tuple[int, bytes], acks: int = -1) -> ProduceRequest:
    data = [PartitionProduceData(index=index, records=records) for index, records in parts]
    return ProduceRequest(acks=acks, timeout_ms=15_000, topic_data=[TopicProduceData(name=topic, partition_data=data)])


def test_who_is_refused_by_a_log_learns_where_it_begins(connection: Connection, new_topic: NewTopic) -> None:
    """Not so with a checksum that does not match, or where no log was asked."""
    topic = new_topic(configs={"cleanup.policy": "compact"})
    refused = {
        "no key": produce(connection, topic, batch()),
        "control": produce(connection, topic, batch(keys=[b"k"], lies=Lies(attributes=32))),
        "sequence": produce(connection, topic, batch(keys=[b"k"], producer=(77_000, 0, 5))),
        "checksum": produce(connection, topic, batch(keys=[b"k"], lies=Lies(crc_xor=1))),
        "two batches": produce(connection, topic, batch(keys=[b"k"]) * 2),
    }
    assert {why: (code(answer.error_code), answer.log_start_offset) for why, answer in refused.items()} == {
        "no key": ("INVALID_RECORD", 0),
        "control": ("INVALID_RECORD", 0),
        "sequence": ("NONE", 0),
        "checksum": ("CORRUPT_MESSAGE", -1),
        "two batches": ("INVALID_RECORD", -1),
    }


def test_of_a_partition_that_is_produced_to_twice_the_last_batch_counts(
    connection: Connection, new_topic: NewTopic
) -> None:
    """As in a map, and it is answered once."""
    topic = new_topic()
    request = produce_of(topic, (0, batch([b"one"])), (0, batch([b"two", b"three"])))
    (answer,) = connection.call(request, ProduceResponse, 12).responses[0].partition_responses
    assert (code(answer.error_code), answer.base_offset) == ("NONE", 0)
    assert produce(connection, topic, batch()).base_offset == 2


def test_acks_count_after_partition_and_form(connection: Connection, new_topic: NewTopic) -> None:
    """What is not there, or is not one batch, is told of before acks that there are not."""
    topic = new_topic()
    request = produce_of(topic, (0, batch() * 2), (1, batch()), acks=2)
    answers = connection.call(request, ProduceResponse, 12).responses[0].partition_responses
    found = {answer.index: code(answer.error_code) for answer in answers}
    assert found == {0: "INVALID_RECORD", 1: "UNKNOWN_TOPIC_OR_PARTITION"}


def test_delete_records_takes_the_last_mention(connection: Connection, new_topic: NewTopic) -> None:
    """Of a partition that is named twice; a topic without partitions is not answered."""
    topic, empty = new_topic(), new_topic()
    produce(connection, topic, batch([b"a", b"b", b"c"]))
    request = DeleteRecordsRequest(
        topics=[
            DeleteRecordsTopic(name=empty),
            DeleteRecordsTopic(
                name=topic, partitions=[DeleteRecordsPartition(partition_index=0, offset=offset) for offset in (3, 1)]
            ),
        ],
        timeout_ms=5_000,
    )
    (answer,) = connection.call(request, DeleteRecordsResponse).topics
    assert (answer.name, [each.low_watermark for each in answer.partitions]) == (topic, [1])


@pytest.mark.parametrize(
    ("policy", "answer"), [("compact", "POLICY_VIOLATION"), ("", "NONE"), ("compact,delete", "NONE")]
)
def test_only_what_is_just_compacted_keeps_its_records(
    connection: Connection, new_topic: NewTopic, policy: str, answer: str
) -> None:
    """A topic without any policy lets records be deleted, too."""
    topic = new_topic(configs={"cleanup.policy": policy})
    wanted = DeleteRecordsPartition(partition_index=0, offset=-1)
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic, partitions=[wanted])], timeout_ms=5_000)
    found = connection.call(request, DeleteRecordsResponse).topics[0].partitions[0]
    assert code(found.error_code) == answer


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_quorum_is_described_in_every_version(connection: Connection, version: int) -> None:
    """Directories came with version 2 (KIP-853): older clients are answered without."""
    wanted = DescribeQuorumRequestTopicData(
        topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
    )
    response = connection.call(DescribeQuorumRequest(topics=[wanted]), DescribeQuorumResponse, version)
    assert code(response.error_code) == "NONE"
    voters = response.topics[0].partitions[0].current_voters
    assert len(voters) == 1
    assert (voters[0].replica_directory_id != bytes(16)) is (version >= 2)


def test_null_users_are_all_users(connection: Connection) -> None:
    """KIP-554."""
    request = DescribeUserScramCredentialsRequest(users=None)
    assert code(connection.call(request, DescribeUserScramCredentialsResponse).error_code) == "NONE"


def test_producers_of_what_is_no_topic(connection: Connection, new_topic: NewTopic, unique: Unique) -> None:
    """KIP-664: the reason is told for the topic, and not for a partition that it does not have."""
    names = ["not a name", unique("missing"), new_topic()]
    request = DescribeProducersRequest(topics=[TopicRequest(name=name, partition_indexes=[7]) for name in names])
    answers = [topic.partitions[0] for topic in connection.call(request, DescribeProducersResponse).topics]
    assert [(code(answer.error_code), answer.error_message is not None) for answer in answers] == [
        ("INVALID_TOPIC_EXCEPTION", True),
        ("UNKNOWN_TOPIC_OR_PARTITION", True),
        ("UNKNOWN_TOPIC_OR_PARTITION", False),
    ]


def test_a_commit_makes_a_group_whatever_becomes_of_the_offset(
    connection: Connection, new_topic: NewTopic, unique: Unique
) -> None:
    """A consumer that assigns its own partitions has a group from its first commit on."""
    topic, group = new_topic(), unique("group")
    await_coordinator(connection, group)
    assert commit(connection, group, topic, 1, metadata="x" * 5000) == "OFFSET_METADATA_TOO_LARGE"
    request = DeleteGroupsRequest(groups_names=[group])
    found = [code(connection.call(request, DeleteGroupsResponse).results[0].error_code) for _ in range(2)]
    assert found == ["NONE", "GROUP_ID_NOT_FOUND"]


def test_offsets_of_unknown_ids_are_answered_together(connection: Connection, unique: Unique) -> None:
    """KIP-848: from version 10 on a topic is its id."""
    group = unique("group")
    await_coordinator(connection, group)
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    topics = [OffsetCommitRequestTopic(topic_id=b"\x07" * 16, partitions=[partition]) for _ in range(2)]
    request = OffsetCommitRequest(group_id=group, topics=topics)
    (answer,) = connection.call(request, OffsetCommitResponse, 10).topics
    assert [code(each.error_code) for each in answer.partitions] == ["UNKNOWN_TOPIC_ID"] * 2


def test_every_mention_of_a_deleted_offset_is_answered(
    connection: Connection, new_topic: NewTopic, unique: Unique
) -> None:
    """OffsetDelete, where a partition is named twice, and its topic once more."""
    topic, group = new_topic(), unique("group")
    await_coordinator(connection, group)
    assert commit(connection, group, topic, 1) == "NONE"
    partitions = [OffsetDeleteRequestPartition(partition_index=0) for _ in range(2)]
    wanted = [OffsetDeleteRequestTopic(name=topic, partitions=some) for some in (partitions, partitions[:1])]
    answers = connection.call(OffsetDeleteRequest(group_id=group, topics=wanted), OffsetDeleteResponse).topics
    found = [[code(each.error_code) for each in answer.partitions] for answer in answers]
    assert found == [["NONE", "NONE"], ["NONE"]]


def test_a_topic_without_partitions_is_answered_in_a_transaction(
    connection: Connection, new_topic: NewTopic, unique: Unique
) -> None:
    """AddPartitionsToTxn answers every topic of the request."""
    transactional_id, topics = unique("transaction"), [new_topic(), new_topic()]
    await_coordinator_of_transactions(connection, transactional_id)
    producer = init(connection, transactional_id)
    transaction = AddPartitionsToTxnTransaction(
        transactional_id=transactional_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        topics=[
            AddPartitionsToTxnTopic(name=topics[0], partitions=[0]),
            AddPartitionsToTxnTopic(name=topics[1], partitions=[]),
        ],
    )
    request = AddPartitionsToTxnRequest(transactions=[transaction])
    (answer,) = connection.call(request, AddPartitionsToTxnResponse, 5).results_by_transaction
    found = {topic.name: len(topic.results_by_partition) for topic in answer.topic_results}
    assert found == {topics[0]: 1, topics[1]: 0}


def test_a_member_of_join_group_0_stays_in_a_consumer_group(
    connection: Connection, new_topic: NewTopic, unique: Unique
) -> None:
    """It has the session's timeout to sync and to join again, for that version has no other (KIP-848)."""
    topic, group = new_topic(partitions=2), unique("group")
    await_coordinator(connection, group)
    assert code(RawConsumer(connection, group, topic).join().error_code) == "NONE"
    said = ConsumerProtocolSubscription(topics=[topic], user_data=None)
    request = JoinGroupRequest(
        group_id=group,
        session_timeout_ms=30_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"\x00\x01" + said.encode(1))],
    )
    joined = connection.call(request, JoinGroupResponse, 0)
    assert code(joined.error_code) == "NONE"
    assert joined.member_id in {member.member_id for member in describe_consumers(connection, group).members}
    heartbeat = HeartbeatRequest(group_id=group, generation_id=joined.generation_id, member_id=joined.member_id)
    found = {code(connection.call(heartbeat, HeartbeatResponse, 0).error_code) for _ in range(20)}
    assert found <= {"NONE", "REBALANCE_IN_PROGRESS"}


def test_a_batch_that_does_not_fit_has_no_aborted_transactions(connection: Connection, new_topic: NewTopic) -> None:
    """Null, not none, where a read of committed records returns nothing for the want of room."""
    topic = new_topic(partitions=2)
    for index in range(2):
        produce(connection, topic, batch([b"x" * 500]), partition=index)
    request = fetch_of((topic, 0), (topic, 1), max_bytes=100, isolation_level=1, session_id=0, session_epoch=-1)
    (answer,) = connection.call(request, FetchResponse, 12).responses
    assert [partition.aborted_transactions for partition in answer.partitions] == [[], None]


def test_what_parted_from_the_log_is_told_once_to_a_consumer(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-595: the high watermark that comes with a diverging epoch counts as told."""
    topic = new_topic()
    first = connection.call(fetch_of((topic, 0), session_id=0, session_epoch=0), FetchResponse, 12)
    found = []
    for epoch, last_fetched_epoch, offset in ((1, 0, 5), (2, -1, 0)):
        request = fetch_of((topic, 0), session_id=first.session_id, session_epoch=epoch)
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch
        request.topics[0].partitions[0].fetch_offset = offset
        response = connection.call(request, FetchResponse, 12)
        found.append([each.partitions[0].diverging_epoch.end_offset for each in response.responses])
    assert found == [[0], []]


def test_the_quorum_is_described_for_one_partition_at_a_time(connection: Connection) -> None:
    """KIP-595: named twice it is not known, and neither beside anything else."""
    wanted = DescribeQuorumRequestTopicData(
        topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
    )
    response = connection.call(DescribeQuorumRequest(topics=[wanted, wanted]), DescribeQuorumResponse)
    found = [code(topic.partitions[0].error_code) for topic in response.topics]
    assert found == ["UNKNOWN_TOPIC_OR_PARTITION"] * 2


@pytest.mark.parametrize("version", [6, 7, 9])
def test_a_protocol_without_a_name_is_none(connection: Connection, unique: Unique, version: int) -> None:
    group = unique("group")
    await_coordinator(connection, group)
    request = JoinGroupRequest(
        group_id=group,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
        group_instance_id="instance",
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="", metadata=b"")],
    )
    response = connection.call(request, JoinGroupResponse, version)
    assert response.error_code == 0
    assert response.protocol_name == ("" if version < 7 else None)
