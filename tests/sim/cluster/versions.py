"""Nodes of earlier versions: what they list, answer and ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, FrameHandler, Outcome, Reply
from odradek.wire.apis import ApiKey, response_header_version, stable_versions
from odradek.wire.messages.api_versions import ApiVersionsResponse
from odradek.wire.messages.headers import ResponseHeader

Limits = Mapping[int, int]
"""The highest versions by API key, where they are lower than ours."""

NONE: Limits = {}
EARLIER: Limits = {
    ApiKey.FETCH: 17,
    ApiKey.LIST_OFFSETS: 9,
    ApiKey.WRITE_TXN_MARKERS: 1,
    ApiKey.VOTE: 1,
    ApiKey.BROKER_HEARTBEAT: 1,
    ApiKey.ADD_RAFT_VOTER: 0,
}
"""Those of Kafka 4.0, but for some that are lower still, as in 3.9."""
EARLIER_RELEASE = "4.0"


def limited(handler: FrameHandler, limits: Limits) -> FrameHandler:
    """A node that knows no higher versions: it does not list them, and closes the connection on one."""
    if not limits:
        return handler

    def handle(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        key, version = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
        if key == ApiKey.API_VERSIONS:
            return _listed(handler(info, frame), version, limits)
        return Outcome.CLOSE if version > limits.get(key, version) else handler(info, frame)

    return handle


def highest(key: int, limits: Limits) -> int:
    """The highest version of an API that a node knows."""
    return min(stable_versions(key)[-1], limits.get(key, stable_versions(key)[-1]))


def _listed(reply: Reply | Promise[Reply], version: int, limits: Limits) -> Reply:
    assert not isinstance(reply, Promise | Outcome), "ApiVersions is answered at once"
    data = b"".join(cast("list[bytes]", list(reply)))
    header_version = response_header_version(ApiKey.API_VERSIONS, version)
    header, body_at = ResponseHeader.decode_prefix(data, header_version)
    response = ApiVersionsResponse.decode(data[body_at:], version)
    for api in response.api_keys:
        api.max_version = min(api.max_version, limits.get(api.api_key, api.max_version))
    return [header.encode(header_version) + response.encode(version)]
