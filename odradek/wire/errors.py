"""What can go wrong, in Kafka's terms.

`ProtocolError` is for bytes that are not what the protocol says; `KafkaError` carries one of Kafka's error
codes towards a client. Names, numbers and retriability are those of Apache Kafka 4.4.0; the texts are ours.
"""

from __future__ import annotations

from enum import IntEnum, unique


class ProtocolError(Exception):
    """The bytes do not follow the protocol: truncated, over a limit, or of a version that does not exist."""


@unique
class ErrorCode(IntEnum):
    """Kafka's error codes: name, int16 on the wire, whether a client may retry, and a short text."""

    _value_: int
    retriable: bool
    message: str

    def __new__(cls, code: int, retriable: bool = False, message: str = "") -> ErrorCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.retriable = retriable
        member.message = message
        return member

    UNKNOWN_SERVER_ERROR = -1, False, "The broker failed in a way it did not foresee."
    NONE = 0, False, "No error."
    OFFSET_OUT_OF_RANGE = 1, False, "The offset is outside the range that this partition holds."
    CORRUPT_MESSAGE = 2, True, "The record data is damaged: checksum, size or structure does not hold."
    UNKNOWN_TOPIC_OR_PARTITION = 3, True, "This broker has no such topic or partition."
    INVALID_FETCH_SIZE = 4, False, "The fetch size is not valid."
    LEADER_NOT_AVAILABLE = 5, True, "The partition has no leader at present."
    NOT_LEADER_OR_FOLLOWER = 6, True, "This broker is not the leader, or not a replica, of the partition."
    REQUEST_TIMED_OUT = 7, True, "The request did not finish in time."
    BROKER_NOT_AVAILABLE = 8, False, "The broker is not available."
    REPLICA_NOT_AVAILABLE = 9, True, "This broker has no replica of the partition."
    MESSAGE_TOO_LARGE = 10, False, "A message is larger than the broker accepts."
    STALE_CONTROLLER_EPOCH = 11, False, "The controller's epoch is out of date."
    OFFSET_METADATA_TOO_LARGE = 12, False, "The metadata string of an offset commit is too long."
    NETWORK_EXCEPTION = 13, True, "The connection ended before a response came."
    COORDINATOR_LOAD_IN_PROGRESS = 14, True, "The coordinator is still loading its state."
    COORDINATOR_NOT_AVAILABLE = 15, True, "The coordinator is not available."
    NOT_COORDINATOR = 16, True, "This broker is not the coordinator asked for."
    INVALID_TOPIC_EXCEPTION = (
        17,
        False,
        "The topic's name is not valid, or the topic is not for clients.",
    )
    RECORD_LIST_TOO_LARGE = 18, False, "The batch is larger than a log segment may be."
    NOT_ENOUGH_REPLICAS = 19, True, "The partition has fewer in-sync replicas than it requires."
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = (
        20,
        True,
        "Written, but to fewer in-sync replicas than required.",
    )
    INVALID_REQUIRED_ACKS = 21, False, "acks must be -1, 0 or 1."
    ILLEGAL_GENERATION = 22, False, "The group's generation is not the current one."
    INCONSISTENT_GROUP_PROTOCOL = 23, False, "The member's protocols have nothing in common with the group's."
    INVALID_GROUP_ID = 24, False, "The group id is not valid."
    UNKNOWN_MEMBER_ID = 25, False, "The coordinator does not know this member."
    INVALID_SESSION_TIMEOUT = 26, False, "The session time-out is outside the broker's range."
    REBALANCE_IN_PROGRESS = 27, False, "The group is rebalancing; join again."
    INVALID_COMMIT_OFFSET_SIZE = 28, False, "The offset commit is too large to be stored."
    TOPIC_AUTHORIZATION_FAILED = 29, False, "Not authorized for this topic."
    GROUP_AUTHORIZATION_FAILED = 30, False, "Not authorized for this group."
    CLUSTER_AUTHORIZATION_FAILED = 31, False, "Not authorized for this cluster operation."
    INVALID_TIMESTAMP = 32, False, "A record's timestamp is outside the accepted range."
    UNSUPPORTED_SASL_MECHANISM = 33, False, "The broker does not offer this SASL mechanism."
    ILLEGAL_SASL_STATE = 34, False, "The request does not fit the state of the SASL exchange."
    UNSUPPORTED_VERSION = 35, False, "This version of the API is not supported."
    TOPIC_ALREADY_EXISTS = 36, False, "The topic exists already."
    INVALID_PARTITIONS = 37, False, "The number of partitions is not valid."
    INVALID_REPLICATION_FACTOR = (
        38,
        False,
        "The brokers there are do not allow this replication factor.",
    )
    INVALID_REPLICA_ASSIGNMENT = 39, False, "The replica assignment is not valid."
    INVALID_CONFIG = 40, False, "The configuration is not valid."
    NOT_CONTROLLER = 41, True, "This node is not the active controller."
    INVALID_REQUEST = 42, False, "The request is malformed or contradicts itself."
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, False, "The message format does not support the request."
    POLICY_VIOLATION = 44, False, "A policy of the broker forbids this."
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, False, "The producer's sequence number is out of order."
    DUPLICATE_SEQUENCE_NUMBER = 46, False, "The producer's sequence number was seen before."
    INVALID_PRODUCER_EPOCH = 47, False, "The producer's epoch is an old one."
    INVALID_TXN_STATE = 48, False, "The transaction is not in a state that allows this."
    INVALID_PRODUCER_ID_MAPPING = 49, False, "The producer id does not belong to this transactional id."
    INVALID_TRANSACTION_TIMEOUT = 50, False, "The transaction time-out is above the broker's maximum."
    CONCURRENT_TRANSACTIONS = 51, True, "Another operation on the same transaction is still going on."
    TRANSACTION_COORDINATOR_FENCED = (
        52,
        False,
        "The coordinator that sent this marker has been replaced.",
    )
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, False, "Not authorized for this transactional id."
    SECURITY_DISABLED = 54, False, "Security is not enabled."
    OPERATION_NOT_ATTEMPTED = 55, False, "Not tried, since another part of the request failed."
    KAFKA_STORAGE_ERROR = 56, True, "The log could not be read or written on disk."
    LOG_DIR_NOT_FOUND = 57, False, "The broker has no such log directory."
    SASL_AUTHENTICATION_FAILED = 58, False, "SASL authentication failed."
    UNKNOWN_PRODUCER_ID = 59, False, "The broker has no state for this producer id."
    REASSIGNMENT_IN_PROGRESS = 60, False, "The partition is being reassigned already."
    DELEGATION_TOKEN_AUTH_DISABLED = 61, False, "Delegation tokens are not enabled."
    DELEGATION_TOKEN_NOT_FOUND = 62, False, "There is no such delegation token."
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, False, "Only the token's owner or a renewer may do this."
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = (
        64,
        False,
        "No delegation tokens over this kind of connection.",
    )
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, False, "Not authorized for this delegation token."
    DELEGATION_TOKEN_EXPIRED = 66, False, "The delegation token has expired."
    INVALID_PRINCIPAL_TYPE = 67, False, "The type of principal is not supported."
    NON_EMPTY_GROUP = 68, False, "The group still has members."
    GROUP_ID_NOT_FOUND = 69, False, "There is no such group."
    FETCH_SESSION_ID_NOT_FOUND = 70, True, "There is no such fetch session."
    INVALID_FETCH_SESSION_EPOCH = 71, True, "The fetch session's epoch is not the expected one."
    LISTENER_NOT_FOUND = 72, True, "The leader has no listener of the name the metadata was asked on."
    TOPIC_DELETION_DISABLED = 73, False, "Deleting topics is disabled."
    FENCED_LEADER_EPOCH = 74, True, "The leader epoch is older than the broker's."
    UNKNOWN_LEADER_EPOCH = 75, True, "The leader epoch is newer than the broker's."
    UNSUPPORTED_COMPRESSION_TYPE = 76, False, "The compression type is not supported."
    STALE_BROKER_EPOCH = 77, False, "The broker's epoch is out of date."
    OFFSET_NOT_AVAILABLE = (
        78,
        True,
        "The offset is not known yet: the new leader is catching up.",
    )
    MEMBER_ID_REQUIRED = 79, False, "Join again with the member id given in this response."
    PREFERRED_LEADER_NOT_AVAILABLE = 80, True, "The preferred leader is not available."
    GROUP_MAX_SIZE_REACHED = 81, False, "The group is full."
    FENCED_INSTANCE_ID = 82, False, "Another member has registered with this group instance id."
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, True, "No eligible leader is available."
    ELECTION_NOT_NEEDED = 84, True, "The partition's leader does not need to change."
    NO_REASSIGNMENT_IN_PROGRESS = 85, False, "The partition is not being reassigned."
    GROUP_SUBSCRIBED_TO_TOPIC = 86, False, "The group is subscribed to the topic."
    INVALID_RECORD = 87, False, "A record did not pass the broker's validation."
    UNSTABLE_OFFSET_COMMIT = 88, True, "Offsets of an unfinished transaction are pending."
    THROTTLING_QUOTA_EXCEEDED = 89, True, "The quota is used up for now."
    PRODUCER_FENCED = 90, False, "A newer producer uses the same transactional id."
    RESOURCE_NOT_FOUND = 91, False, "The resource named does not exist."
    DUPLICATE_RESOURCE = 92, False, "The same resource is named twice."
    UNACCEPTABLE_CREDENTIAL = 93, False, "The credential is not acceptable."
    INCONSISTENT_VOTER_SET = 94, False, "Sender and receiver disagree about the voters."
    INVALID_UPDATE_VERSION = 95, False, "The version to update to is not valid."
    FEATURE_UPDATE_FAILED = 96, False, "The features could not be updated."
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, False, "The forwarded principal could not be read."
    SNAPSHOT_NOT_FOUND = 98, False, "There is no such snapshot."
    POSITION_OUT_OF_RANGE = 99, False, "The position is outside the snapshot."
    UNKNOWN_TOPIC_ID = 100, True, "This broker has no topic of that id."
    DUPLICATE_BROKER_REGISTRATION = 101, False, "The broker id is in use."
    BROKER_ID_NOT_REGISTERED = 102, False, "The broker id is not registered."
    INCONSISTENT_TOPIC_ID = 103, True, "The topic id is not the one of this log."
    INCONSISTENT_CLUSTER_ID = 104, False, "The cluster id is not this cluster's."
    TRANSACTIONAL_ID_NOT_FOUND = 105, False, "There is no such transactional id."
    FETCH_SESSION_TOPIC_ID_ERROR = 106, True, "The fetch session mixes topic ids and names."
    INELIGIBLE_REPLICA = 107, False, "A replica in the proposed set may not be in sync."
    NEW_LEADER_ELECTED = 108, False, "The change was made, and another leader elected."
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, False, "The offset is in tiered storage now."
    FENCED_MEMBER_EPOCH = 110, False, "The member's epoch is fenced: give up all partitions and join again."
    UNRELEASED_INSTANCE_ID = 111, False, "The instance id is still used by another member of the group."
    UNSUPPORTED_ASSIGNOR = 112, False, "The group does not support this assignor."
    STALE_MEMBER_EPOCH = 113, False, "The member's epoch is out of date: heartbeat first."
    MISMATCHED_ENDPOINT_TYPE = 114, False, "This endpoint is not of the expected type."
    UNSUPPORTED_ENDPOINT_TYPE = 115, False, "This type of endpoint is not supported."
    UNKNOWN_CONTROLLER_ID = 116, False, "There is no controller of that id."
    UNKNOWN_SUBSCRIPTION_ID = 117, False, "The telemetry subscription is unknown or out of date."
    TELEMETRY_TOO_LARGE = 118, False, "The telemetry data is larger than the broker accepts."
    INVALID_REGISTRATION = 119, False, "The controller refuses the broker's registration."
    TRANSACTION_ABORTABLE = 120, False, "The transaction failed; abort it to go on."
    INVALID_RECORD_STATE = 121, False, "The record's state does not allow this acknowledgement."
    SHARE_SESSION_NOT_FOUND = 122, True, "There is no such share session."
    INVALID_SHARE_SESSION_EPOCH = 123, True, "The share session's epoch is not the expected one."
    FENCED_STATE_EPOCH = 124, False, "The state epoch is fenced."
    INVALID_VOTER_KEY = 125, False, "The voter's key is not the one of this replica."
    DUPLICATE_VOTER = 126, False, "The replica is a voter already."
    VOTER_NOT_FOUND = 127, False, "There is no such voter."
    INVALID_REGULAR_EXPRESSION = 128, False, "The regular expression is not valid."
    REBOOTSTRAP_REQUIRED = 129, False, "The client's metadata is too old: bootstrap again."
    STREAMS_INVALID_TOPOLOGY = 130, False, "The topology is not valid."
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, False, "The topology's epoch is not valid."
    STREAMS_TOPOLOGY_FENCED = 132, False, "The topology's epoch is an old one."
    SHARE_SESSION_LIMIT_REACHED = 133, True, "The broker has as many share sessions as it allows."
    GROUP_DELETION_FAILED = 134, False, "The group could not be deleted."
    STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED = (
        135,
        False,
        "The topology description was not updated.",
    )
    CONTROLLER_ID_NOT_REGISTERED = 136, False, "The controller id is not registered."


class KafkaError(Exception):
    """A request, or one part of it, ends with an error code.

    `message` is the text that goes into an error message field where the response has one; None leaves the
    choice to the handler.
    """

    def __init__(self, code: ErrorCode, message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message or self.code.message}"
