"""Operations on topics and their records."""

from __future__ import annotations

from typing import Any, cast

from odradek.config import ConfigError
from odradek.control.changes import NewRecord, append, create_topic, delete_topic
from odradek.control.operations import TIMEOUT, Call, ControlError, Controlled, Operation, Parameter
from odradek.control.schemas import BOOLEAN, INTEGER, NUMBER, STRING, array, mapping, record, ref, schema_of
from odradek.control.values import DATA, ENCODINGS, HEADERS, TEXT, data_of, shown
from odradek.testing.inspection import find_topic, stored_partitions, topics
from odradek.testing.options import property_text
from odradek.testing.records import Record, Records, decoded
from odradek.testing.states import TopicInfo
from odradek.testing.topics import ISOLATIONS, EmbeddedTopic, IsolationLevel
from odradek.wire.errors import ErrorCode, KafkaError

TAG = "topics"
MAX_RECORDS = 100_000
MAX_PARTITIONS = 10_000
NODES_DEFAULT = -1
COMMITTED = "read_committed"

COMPONENTS = {
    "Data": DATA,
    "Headers": HEADERS,
    "Topic": schema_of(TopicInfo),
    "NewTopic": record(
        {
            "name": {**STRING, "minLength": 1, "maxLength": 249},
            "partitions": {**INTEGER, "minimum": 1, "maximum": MAX_PARTITIONS, "default": 1},
            "replication_factor": {**INTEGER, "minimum": 1, "maximum": 32767},
            "config": {
                **mapping({"anyOf": [STRING, NUMBER, BOOLEAN]}),
                "description": "By Kafka's names, such as retention.ms.",
            },
        },
        "name",
    ),
    "NewRecord": record(
        {
            "key": ref("Data"),
            "value": ref("Data"),
            "headers": ref("Headers"),
            "partition": {
                **INTEGER, "minimum": 0, "maximum": 2**31 - 1,
                "description": "Where it goes; if not given, by the key, as Java's clients choose.",
            },
            "timestamp_ms": {
                **INTEGER, "minimum": 0, "maximum": 2**63 - 1,
                "description": "The nodes' time, if not given.",
            },
        }
    ),
    "Record": record(
        {
            "partition": INTEGER, "offset": INTEGER, "timestamp_ms": INTEGER,
            "key": ref("Data"), "value": ref("Data"), "headers": ref("Headers"),
        },
        "partition", "offset", "timestamp_ms", "key", "value", "headers",
    ),
    "Written": record({"partition": INTEGER, "offset": INTEGER}, "partition", "offset"),
}  # fmt: skip


async def _topics(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(topics)


async def _create(kafka: Controlled, call: Call) -> object:
    config = {name: property_text(value) for name, value in call.body.get("config", {}).items()}
    name = call.body["name"]
    factor = call.body.get("replication_factor", NODES_DEFAULT)
    try:
        await kafka.call(create_topic, name, call.body.get("partitions", 1), factor, config)
    except ConfigError as error:
        raise ControlError(400, "INVALID_CONFIG", error.message) from error
    return await _found(kafka, name)


async def _describe(kafka: Controlled, call: Call) -> object:
    return await _found(kafka, call.path("topic"))


async def _delete(kafka: Controlled, call: Call) -> None:
    await kafka.call(delete_topic, call.path("topic"))


async def _read(kafka: Controlled, call: Call) -> object:
    topic = EmbeddedTopic(kafka.running, call.path("topic"))
    count = call.number("wait_for") or 0
    isolation = cast("IsolationLevel", call.text("isolation_level"))
    partition = call.number("partition")
    if count:
        found: Records[bytes | None, bytes | None] = await topic.wait_for_records_async(
            count, partition=partition, isolation_level=isolation, timeout_s=call.timeout_s
        )
    else:
        found = decoded(await kafka.call(stored_partitions, topic.name, partition, ISOLATIONS[isolation]), None, None)
    encoding = call.text("encoding") or TEXT
    from_offset = call.number("from_offset") or 0
    return [_shown(each, encoding) for each in found if each.offset >= from_offset]


async def _write(kafka: Controlled, call: Call) -> object:
    records = [
        NewRecord(
            data_of(each.get("key")),
            data_of(each.get("value")),
            [(header["name"], data_of(header.get("value"))) for header in each.get("headers", ())],
            each.get("partition"),
            each.get("timestamp_ms"),
        )
        for each in call.body["records"]
    ]
    written = await kafka.call(append, call.path("topic"), records)
    return [each._asdict() for each in written]


def _shown(found: Record[bytes | None, bytes | None], encoding: str) -> dict[str, Any]:
    return {
        "partition": found.partition,
        "offset": found.offset,
        "timestamp_ms": found.timestamp_ms,
        "key": shown(found.key, encoding),
        "value": shown(found.value, encoding),
        "headers": [{"name": name, "value": shown(value)} for name, value in found.headers],
    }


async def _found(kafka: Controlled, name: str) -> TopicInfo:
    found = await kafka.call(find_topic, name)
    if found is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
    return found


OPERATIONS = (
    Operation(
        method="GET", path="/topics", name="topics", tag=TAG, handler=_topics, answer=mapping(INTEGER),
        summary="The topics and their numbers of partitions, but for internal ones.",
    ),
    Operation(
        method="POST", path="/topics", name="createTopic", tag=TAG, handler=_create, body=ref("NewTopic"),
        answer=ref("Topic"), status=201, problems=(409,),
        summary="Create a topic. All nodes know it when this answers.",
    ),
    Operation(
        method="GET", path="/topics/{topic}", name="topic", tag=TAG, handler=_describe, answer=ref("Topic"),
        problems=(404,),
        summary="A topic's partitions, with leaders, ISR and offsets, and its properties.",
    ),
    Operation(
        method="DELETE", path="/topics/{topic}", name="deleteTopic", tag=TAG, handler=_delete, problems=(404,),
        summary="Delete a topic.",
    ),
    Operation(
        method="GET", path="/topics/{topic}/records", name="records", tag=TAG, handler=_read,
        answer=array(ref("Record")), problems=(404, 504),
        summary="The records that a consumer could read now, of all partitions one behind the other.",
        description="With `wait_for` it answers once there are so many; the topic may come meanwhile, too.",
        query=(
            Parameter("partition", {**INTEGER, "minimum": 0, "maximum": 2**31 - 1}, "Of this one only."),
            Parameter("from_offset", {**INTEGER, "minimum": 0, "maximum": 2**63 - 1}, "Those before it are left out."),
            Parameter(
                "isolation_level",
                {**STRING, "enum": [COMMITTED, "read_uncommitted"], "default": COMMITTED},
                "Whether records of transactions are seen that are not, or will never be, committed.",
            ),
            Parameter(
                "encoding",
                {**STRING, "enum": list(ENCODINGS), "default": TEXT},
                "How keys and values are given; what is not in it, as base64.",
            ),
            Parameter("wait_for", {**INTEGER, "minimum": 0, "maximum": MAX_RECORDS}, "Wait until there are so many."),
            TIMEOUT,
        ),
    ),
    Operation(
        method="POST", path="/topics/{topic}/records", name="produce", tag=TAG, handler=_write,
        body=record({"records": array(ref("NewRecord"), minItems=1, maxItems=MAX_RECORDS)}, "records"),
        answer=array(ref("Written")), status=201, problems=(404,),
        summary="Write records, as a producer with acks=all; answers where each of them went.",
    ),
)  # fmt: skip
