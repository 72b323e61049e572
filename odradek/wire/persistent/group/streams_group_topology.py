"""StreamsGroupTopology (type 23) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, Message, Struct, array, field


class StreamsGroupTopologyKey(Message, kind="coordinator-key", api_key=23, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class TopicConfig(Struct):
    key: str = field(STRING, "0+")
    value: str = field(STRING, "0+")


class TopicInfo(Struct):
    name: str = field(STRING, "0+")
    partitions: int = field(INT32, "0+")
    replication_factor: int = field(INT16, "0+")
    topic_configs: list[TopicConfig] = field(array(TopicConfig), "0+")


class CopartitionGroup(Struct):
    source_topics: list[int] = field(array(INT16), "0+")
    source_topic_regex: list[int] = field(array(INT16), "0+")
    repartition_source_topics: list[int] = field(array(INT16), "0+")


class Subtopology(Struct):
    subtopology_id: str = field(STRING, "0+")
    source_topics: list[str] = field(array(STRING), "0+")
    source_topic_regex: list[str] = field(array(STRING), "0+")
    state_changelog_topics: list[TopicInfo] = field(array(TopicInfo), "0+")
    repartition_sink_topics: list[str] = field(array(STRING), "0+")
    repartition_source_topics: list[TopicInfo] = field(array(TopicInfo), "0+")
    copartition_groups: list[CopartitionGroup] = field(array(CopartitionGroup), "0+")


class StreamsGroupTopologyValue(Message, kind="coordinator-value", api_key=23, versions="0", flexible="0+"):
    epoch: int = field(INT32, "0+")
    subtopologies: list[Subtopology] = field(array(Subtopology), "0+")
