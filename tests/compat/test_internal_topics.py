"""The brokers' own topics, when a client's Metadata request is the first to name them."""

from __future__ import annotations

import pytest

from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.support.process import wait_for
from tests.support.wire import Connection


@pytest.mark.parametrize("name", ["__consumer_offsets", "__transaction_state", "__share_group_state"])
def test_an_internal_topic_is_created_when_it_is_named(connection: Connection, name: str) -> None:
    """Automatic creation takes the settings of the topic's coordinator, and the topic is marked as internal."""
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=True)

    def is_there() -> bool:
        (topic,) = connection.call(request, MetadataResponse).topics
        return topic.is_internal and topic.error_code == 0 and len(topic.partitions) > 0

    wait_for(is_there, f"{name} with partitions", 20.0)
