"""All that two answers to the same request may differ in. Whatever is not named here must be equal."""

from __future__ import annotations

from odradek.wire.schema import Field

ID_FIELDS = {
    "producer_id": "producer",
    "v3_and_below_producer_id": "producer",
    "ongoing_txn_producer_id": "producer",
    "producer_id_filters": "producer",
    "session_id": "session",
    "member_id": "member",
    "leader": "member",
    "cluster_id": "cluster",
    "port": "port",
    "log_dir": "directory",
    "path": "directory",
}
"""Fields whose values a broker makes up, with the kind of thing that they name. All UUIDs are ids, too."""

NO_ID: dict[str, object] = {"producer": -1, "session": 0, "uuid": bytes(16)}
"""What stands for none; "" for the others."""

TEXTS = frozenset({"error_message", "batch_index_error_message", "documentation"})
"""Sentences for people: both are there or both are not."""

TIMES = frozenset(
    {
        ("ListOffsetsPartitionResponse", "timestamp"),
        ("PartitionProduceResponse", "log_append_time_ms"),
        ("ProducerState", "last_timestamp"),
        ("TransactionState", "transaction_start_time_ms"),
    }
)
"""Milliseconds that a broker's clock told: a minute apart at most, unless one is no time at all."""

ANYTHING = {
    ("ApiVersionsResponse", "finalized_features_epoch"): "an offset in the metadata log",
    ("ApiVersionsResponse", "api_keys"): "share and streams groups are missing; tests/compat/test_protocol.py",
    ("DescribeLogDirsPartition", "partition_size"): "what a broker compresses anew has another size",
    ("DescribeLogDirsResult", "total_bytes"): "the disk changes between the two answers",
    ("DescribeLogDirsResult", "usable_bytes"): "the disk changes between the two answers",
    ("DescribeQuorumResponsePartitionData", "high_watermark"): "an offset in the metadata log",
    ("DescribeQuorumResponsePartitionData", "leader_epoch"): "elections of the quorum",
    ("ReplicaState", "log_end_offset"): "an offset in the metadata log",
    ("ReplicaState", "last_fetch_timestamp"): "a clock",
    ("ReplicaState", "last_caught_up_timestamp"): "a clock",
}
"""Fields of answers that are not compared, and why."""

UNORDERED: dict[tuple[str, str], tuple[str, ...]] = {
    ("AddPartitionsToTxnResponse", "results_by_topic_v3_and_below"): ("name",),
    ("AddPartitionsToTxnResult", "topic_results"): ("name",),
    ("AddPartitionsToTxnTopicResult", "results_by_partition"): ("partition_index",),
    ("AlterUserScramCredentialsResponse", "results"): ("user",),
    ("AlterClientQuotasResponseEntryData", "entity"): ("entity_type",),
    ("Assignment", "topic_partitions"): ("topic_id",),
    ("ConsumerGroupDescribeResponse", "groups"): ("group_id",),
    ("DescribeLogDirsResult", "topics"): ("name",),
    ("DescribeUserScramCredentialsResult", "credential_infos"): ("mechanism",),
    ("TransactionState", "topics"): ("topic",),
    ("TopicData", "partitions"): (),
    ("PartitionResponse", "active_producers"): ("producer_id",),
    ("DescribedGroup", "members"): ("member_id",),
    ("Member", "subscribed_topic_names"): (),
    ("JoinGroupResponse", "members"): ("member_id",),
    ("DeleteGroupsResponse", "results"): ("group_id",),
    ("DeleteTopicsResponse", "responses"): ("name", "topic_id"),
    ("DescribeConfigsResult", "configs"): ("name",),
    ("DescribeGroupsResponse", "groups"): ("group_id",),
    ("DescribeLogDirsTopic", "partitions"): ("partition_index",),
    ("DescribeUserScramCredentialsResponse", "results"): ("user",),
    ("ListConfigResourcesResponse", "config_resources"): ("resource_type", "resource_name"),
    ("ListGroupsResponse", "groups"): ("group_id",),
    ("ListOffsetsResponse", "topics"): ("name",),
    ("ListOffsetsTopicResponse", "partitions"): ("partition_index",),
    ("ListTransactionsResponse", "transaction_states"): ("transactional_id",),
    ("MetadataResponse", "topics"): ("name", "topic_id"),
    ("OffsetFetchResponse", "topics"): ("name",),
    ("OffsetFetchResponseGroup", "topics"): ("name", "topic_id"),
    ("OffsetFetchResponseTopic", "partitions"): ("partition_index",),
    ("OffsetFetchResponseTopics", "partitions"): ("partition_index",),
    ("ProduceResponse", "responses"): ("name", "topic_id"),
    ("TopicProduceResponse", "partition_responses"): ("index",),
}
"""Arrays whose order Kafka leaves to a hash table, and what they are sorted by first (by themselves if by nothing)."""

SHARED = {
    ("DescribeTopicPartitionsResponse", "topics"): "name",
    ("ElectLeadersResponse", "replica_election_results"): "topic",
    ("MetadataResponse", "topics"): "name",
    ("DescribeLogDirsResult", "topics"): "name",
    ("ListConfigResourcesResponse", "config_resources"): "resource_name",
    ("ListGroupsResponse", "groups"): "group_id",
    ("ListTransactionsResponse", "transaction_states"): "transactional_id",
    ("DescribeUserScramCredentialsResponse", "results"): "user",
}
"""Arrays that tell of what other sequences have left, too, which is not compared: by whose name they are chosen."""


def id_kind(declared: Field) -> str | None:
    """The kind of id that a field holds; None if it holds none."""
    inner = declared.type.element or declared.type
    return "uuid" if inner.kind == "uuid" else ID_FIELDS.get(declared.name)


def no_id(kind: str) -> object:
    """What stands for "none" among ids of this kind."""
    return NO_ID.get(kind, "")
