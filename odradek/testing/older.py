"""Embedded nodes that offer clients what an older Kafka did."""

from __future__ import annotations

from odradek.node.running import Frames
from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.testing.faults.replies import after, changed, encoded
from odradek.testing.interception import RequestHead, is_of_a_node, request_head
from odradek.testing.releases import Offer
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.api_versions import ApiVersion, ApiVersionsResponse
from odradek.wire.schema import Message


class OlderKafka:
    """Stands before a node's handlers: what is not offered is answered as a node does that does not know it.

    What nodes ask each other is left alone.
    """

    def __init__(self, offer: Offer) -> None:
        self._offer = offer

    def frames(self, frames: Frames) -> Frames:
        """What a listener is given in place of these handlers."""
        handler, _run_handler = frames

        def handle(connection: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
            head = request_head(frame)
            if head is None or is_of_a_node(head.client_id):
                return handler(connection, frame)
            if head.version > self._offer.versions.get(head.key, -1):
                return self._unknown(head)
            if head.key is not ApiKey.API_VERSIONS:
                return handler(connection, frame)
            return after(
                handler(connection, frame),
                lambda reply: changed(head, reply, self._limit),
            )

        return handle, None

    def _unknown(self, head: RequestHead) -> Reply:
        if head.key is not ApiKey.API_VERSIONS:
            return Outcome.CLOSE
        own = ApiVersion(api_key=head.key, min_version=0, max_version=self._offer.versions[head.key])
        response = ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[own])
        return encoded(head._replace(version=0), response)

    def _limit(self, response: Message) -> None:
        assert isinstance(response, ApiVersionsResponse)
        versions, features = self._offer
        listed = [each for each in response.api_keys if each.min_version <= versions.get(ApiKey(each.api_key), -1)]
        for each in listed:
            each.max_version = min(each.max_version, versions[ApiKey(each.api_key)])
        response.api_keys = listed
        if features is None:
            return
        response.supported_features = [each for each in response.supported_features if each.name in features]
        for supported in response.supported_features:
            supported.min_version, supported.max_version = features[supported.name]
        response.finalized_features = [each for each in response.finalized_features if each.name in features]
        for finalized in response.finalized_features:
            highest = features[finalized.name][1]
            finalized.max_version_level = min(finalized.max_version_level, highest)
            finalized.min_version_level = min(finalized.min_version_level, highest)
