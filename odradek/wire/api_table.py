"""The APIs of Apache Kafka 4.4.0: keys, names, versions, and who answers them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class ApiKey(IntEnum):
    """The number that says which API a request is of."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    WRITE_TXN_MARKERS = 27
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_ACLS = 29
    CREATE_ACLS = 30
    DELETE_ACLS = 31
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    ALTER_REPLICA_LOG_DIRS = 34
    DESCRIBE_LOG_DIRS = 35
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    CREATE_DELEGATION_TOKEN = 38
    RENEW_DELEGATION_TOKEN = 39
    EXPIRE_DELEGATION_TOKEN = 40
    DESCRIBE_DELEGATION_TOKEN = 41
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    OFFSET_DELETE = 47
    DESCRIBE_CLIENT_QUOTAS = 48
    ALTER_CLIENT_QUOTAS = 49
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50
    ALTER_USER_SCRAM_CREDENTIALS = 51
    VOTE = 52
    BEGIN_QUORUM_EPOCH = 53
    END_QUORUM_EPOCH = 54
    DESCRIBE_QUORUM = 55
    ALTER_PARTITION = 56
    UPDATE_FEATURES = 57
    ENVELOPE = 58
    FETCH_SNAPSHOT = 59
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    BROKER_REGISTRATION = 62
    BROKER_HEARTBEAT = 63
    UNREGISTER_BROKER = 64
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66
    ALLOCATE_PRODUCER_IDS = 67
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    CONTROLLER_REGISTRATION = 70
    GET_TELEMETRY_SUBSCRIPTIONS = 71
    PUSH_TELEMETRY = 72
    ASSIGN_REPLICAS_TO_DIRS = 73
    LIST_CONFIG_RESOURCES = 74
    DESCRIBE_TOPIC_PARTITIONS = 75
    SHARE_GROUP_HEARTBEAT = 76
    SHARE_GROUP_DESCRIBE = 77
    SHARE_FETCH = 78
    SHARE_ACKNOWLEDGE = 79
    ADD_RAFT_VOTER = 80
    REMOVE_RAFT_VOTER = 81
    UPDATE_RAFT_VOTER = 82
    INITIALIZE_SHARE_GROUP_STATE = 83
    READ_SHARE_GROUP_STATE = 84
    WRITE_SHARE_GROUP_STATE = 85
    DELETE_SHARE_GROUP_STATE = 86
    READ_SHARE_GROUP_STATE_SUMMARY = 87
    STREAMS_GROUP_HEARTBEAT = 88
    STREAMS_GROUP_DESCRIBE = 89
    DESCRIBE_SHARE_GROUP_OFFSETS = 90
    ALTER_SHARE_GROUP_OFFSETS = 91
    DELETE_SHARE_GROUP_OFFSETS = 92
    STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE = 93
    UNREGISTER_CONTROLLER = 94


class Api(NamedTuple):
    """Where an API is declared, and the facts that are needed before a message is read."""

    module: str
    name: str
    min_version: int
    max_version: int
    first_flexible: int | None
    listeners: tuple[str, ...]
    latest_unstable: bool


APIS: dict[int, Api] = {
    0: Api("produce", "Produce", 3, 13, 9, ("broker",), False),
    1: Api("fetch", "Fetch", 4, 18, 12, ("broker", "controller"), False),
    2: Api("list_offsets", "ListOffsets", 1, 11, 6, ("broker",), False),
    3: Api("metadata", "Metadata", 0, 13, 9, ("broker",), False),
    8: Api("offset_commit", "OffsetCommit", 2, 10, 8, ("broker",), False),
    9: Api("offset_fetch", "OffsetFetch", 1, 10, 6, ("broker",), False),
    10: Api("find_coordinator", "FindCoordinator", 0, 6, 3, ("broker",), False),
    11: Api("join_group", "JoinGroup", 0, 9, 6, ("broker",), False),
    12: Api("heartbeat", "Heartbeat", 0, 4, 4, ("broker",), False),
    13: Api("leave_group", "LeaveGroup", 0, 5, 4, ("broker",), False),
    14: Api("sync_group", "SyncGroup", 0, 5, 4, ("broker",), False),
    15: Api("describe_groups", "DescribeGroups", 0, 6, 5, ("broker",), False),
    16: Api("list_groups", "ListGroups", 0, 5, 3, ("broker",), False),
    17: Api("sasl_handshake", "SaslHandshake", 0, 1, None, ("broker", "controller"), False),
    18: Api("api_versions", "ApiVersions", 0, 5, 3, ("broker", "controller"), False),
    19: Api("create_topics", "CreateTopics", 2, 7, 5, ("broker", "controller"), False),
    20: Api("delete_topics", "DeleteTopics", 1, 6, 4, ("broker", "controller"), False),
    21: Api("delete_records", "DeleteRecords", 0, 2, 2, ("broker",), False),
    22: Api("init_producer_id", "InitProducerId", 0, 6, 2, ("broker",), True),
    23: Api("offset_for_leader_epoch", "OffsetForLeaderEpoch", 2, 4, 4, ("broker",), False),
    24: Api("add_partitions_to_txn", "AddPartitionsToTxn", 0, 5, 3, ("broker",), False),
    25: Api("add_offsets_to_txn", "AddOffsetsToTxn", 0, 4, 3, ("broker",), False),
    26: Api("end_txn", "EndTxn", 0, 5, 3, ("broker",), False),
    27: Api("write_txn_markers", "WriteTxnMarkers", 1, 2, 1, ("broker",), False),
    28: Api("txn_offset_commit", "TxnOffsetCommit", 0, 6, 3, ("broker",), False),
    29: Api("describe_acls", "DescribeAcls", 1, 3, 2, ("broker", "controller"), False),
    30: Api("create_acls", "CreateAcls", 1, 3, 2, ("broker", "controller"), False),
    31: Api("delete_acls", "DeleteAcls", 1, 3, 2, ("broker", "controller"), False),
    32: Api("describe_configs", "DescribeConfigs", 1, 4, 4, ("broker", "controller"), False),
    33: Api("alter_configs", "AlterConfigs", 0, 2, 2, ("broker", "controller"), False),
    34: Api("alter_replica_log_dirs", "AlterReplicaLogDirs", 1, 2, 2, ("broker",), False),
    35: Api("describe_log_dirs", "DescribeLogDirs", 1, 5, 2, ("broker",), False),
    36: Api("sasl_authenticate", "SaslAuthenticate", 0, 2, 2, ("broker", "controller"), False),
    37: Api("create_partitions", "CreatePartitions", 0, 3, 2, ("broker", "controller"), False),
    38: Api("create_delegation_token", "CreateDelegationToken", 1, 3, 2, ("broker", "controller"), False),
    39: Api("renew_delegation_token", "RenewDelegationToken", 1, 2, 2, ("broker", "controller"), False),
    40: Api("expire_delegation_token", "ExpireDelegationToken", 1, 2, 2, ("broker", "controller"), False),
    41: Api("describe_delegation_token", "DescribeDelegationToken", 1, 3, 2, ("broker", "controller"), False),
    42: Api("delete_groups", "DeleteGroups", 0, 3, 2, ("broker",), False),
    43: Api("elect_leaders", "ElectLeaders", 0, 2, 2, ("broker", "controller"), False),
    44: Api("incremental_alter_configs", "IncrementalAlterConfigs", 0, 1, 1, ("broker", "controller"), False),
    45: Api("alter_partition_reassignments", "AlterPartitionReassignments", 0, 1, 0, ("broker", "controller"), False),
    46: Api("list_partition_reassignments", "ListPartitionReassignments", 0, 0, 0, ("broker", "controller"), False),
    47: Api("offset_delete", "OffsetDelete", 0, 0, None, ("broker",), False),
    48: Api("describe_client_quotas", "DescribeClientQuotas", 0, 1, 1, ("broker",), False),
    49: Api("alter_client_quotas", "AlterClientQuotas", 0, 1, 1, ("broker", "controller"), False),
    50: Api(
        "describe_user_scram_credentials", "DescribeUserScramCredentials", 0, 0, 0, ("broker", "controller"), False
    ),
    51: Api("alter_user_scram_credentials", "AlterUserScramCredentials", 0, 0, 0, ("broker", "controller"), False),
    52: Api("vote", "Vote", 0, 2, 0, ("controller",), False),
    53: Api("begin_quorum_epoch", "BeginQuorumEpoch", 0, 1, 1, ("controller",), False),
    54: Api("end_quorum_epoch", "EndQuorumEpoch", 0, 1, 1, ("controller",), False),
    55: Api("describe_quorum", "DescribeQuorum", 0, 2, 0, ("broker", "controller"), False),
    56: Api("alter_partition", "AlterPartition", 2, 3, 0, ("controller",), False),
    57: Api("update_features", "UpdateFeatures", 0, 2, 0, ("broker", "controller"), False),
    58: Api("envelope", "Envelope", 0, 0, 0, ("controller",), False),
    59: Api("fetch_snapshot", "FetchSnapshot", 0, 1, 0, ("controller",), False),
    60: Api("describe_cluster", "DescribeCluster", 0, 2, 0, ("broker", "controller"), False),
    61: Api("describe_producers", "DescribeProducers", 0, 0, 0, ("broker",), False),
    62: Api("broker_registration", "BrokerRegistration", 0, 4, 0, ("controller",), False),
    63: Api("broker_heartbeat", "BrokerHeartbeat", 0, 2, 0, ("controller",), False),
    64: Api("unregister_broker", "UnregisterBroker", 0, 0, 0, ("broker", "controller"), False),
    65: Api("describe_transactions", "DescribeTransactions", 0, 0, 0, ("broker",), False),
    66: Api("list_transactions", "ListTransactions", 0, 2, 0, ("broker",), False),
    67: Api("allocate_producer_ids", "AllocateProducerIds", 0, 0, 0, ("controller",), False),
    68: Api("consumer_group_heartbeat", "ConsumerGroupHeartbeat", 0, 1, 0, ("broker",), False),
    69: Api("consumer_group_describe", "ConsumerGroupDescribe", 0, 1, 0, ("broker",), False),
    70: Api("controller_registration", "ControllerRegistration", 0, 0, 0, ("controller",), False),
    71: Api("get_telemetry_subscriptions", "GetTelemetrySubscriptions", 0, 0, 0, ("broker",), False),
    72: Api("push_telemetry", "PushTelemetry", 0, 0, 0, ("broker",), False),
    73: Api("assign_replicas_to_dirs", "AssignReplicasToDirs", 0, 0, 0, ("controller",), False),
    74: Api("list_config_resources", "ListConfigResources", 0, 1, 0, ("broker",), False),
    75: Api("describe_topic_partitions", "DescribeTopicPartitions", 0, 0, 0, ("broker",), False),
    76: Api("share_group_heartbeat", "ShareGroupHeartbeat", 1, 1, 0, ("broker",), False),
    77: Api("share_group_describe", "ShareGroupDescribe", 1, 1, 0, ("broker",), False),
    78: Api("share_fetch", "ShareFetch", 1, 2, 0, ("broker",), False),
    79: Api("share_acknowledge", "ShareAcknowledge", 1, 2, 0, ("broker",), False),
    80: Api("add_raft_voter", "AddRaftVoter", 0, 1, 0, ("controller", "broker"), False),
    81: Api("remove_raft_voter", "RemoveRaftVoter", 0, 0, 0, ("controller", "broker"), False),
    82: Api("update_raft_voter", "UpdateRaftVoter", 0, 0, 0, ("controller",), False),
    83: Api("initialize_share_group_state", "InitializeShareGroupState", 0, 0, 0, ("broker",), False),
    84: Api("read_share_group_state", "ReadShareGroupState", 0, 0, 0, ("broker",), False),
    85: Api("write_share_group_state", "WriteShareGroupState", 0, 1, 0, ("broker",), False),
    86: Api("delete_share_group_state", "DeleteShareGroupState", 0, 0, 0, ("broker",), False),
    87: Api("read_share_group_state_summary", "ReadShareGroupStateSummary", 0, 1, 0, ("broker",), False),
    88: Api("streams_group_heartbeat", "StreamsGroupHeartbeat", 0, 1, 0, ("broker",), False),
    89: Api("streams_group_describe", "StreamsGroupDescribe", 0, 1, 0, ("broker",), False),
    90: Api("describe_share_group_offsets", "DescribeShareGroupOffsets", 0, 1, 0, ("broker",), False),
    91: Api("alter_share_group_offsets", "AlterShareGroupOffsets", 0, 0, 0, ("broker",), False),
    92: Api("delete_share_group_offsets", "DeleteShareGroupOffsets", 0, 0, 0, ("broker",), False),
    93: Api(
        "streams_group_topology_description_update",
        "StreamsGroupTopologyDescriptionUpdate",
        0,
        0,
        0,
        ("broker",),
        False,
    ),
    94: Api("unregister_controller", "UnregisterController", 0, 0, 0, ("broker", "controller"), False),
}
