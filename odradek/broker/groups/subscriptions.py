"""Which topics the members of a consumer group say they read."""

from __future__ import annotations

from odradek.wire.errors import ProtocolError
from odradek.wire.messages.consumer_protocol import ConsumerProtocolSubscription

CONSUMER_PROTOCOL_TYPE = "consumer"

_VERSION_BYTES = 2


def subscribed_topics(metadata: bytes) -> list[str]:
    """The topics in a member's subscription; ProtocolError if it is not one.

    Read in version 0, with which every later version begins.
    """
    if len(metadata) < _VERSION_BYTES or metadata[0] & 0x80:
        raise ProtocolError("no version of the consumer protocol")
    subscription, _ = ConsumerProtocolSubscription.decode_prefix(metadata, 0, _VERSION_BYTES)
    return subscription.topics
