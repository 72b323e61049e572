"""ApiVersions (API key 18): what a listener serves, and the cluster's features (KIP-511, KIP-584, KIP-1242)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.dispatcher import listed_versions
from odradek.server.handlers import Handler
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
FIRST_WITH_SOFTWARE = 3
FIRST_WITH_ZERO_MINIMUM = 4
FIRST_WITH_NODE = 5


class Features(NamedTuple):
    """Levels of features: (lowest, highest) that this node supports; finalized as of `epoch` (-1: unknown)."""

    supported: Mapping[str, tuple[int, int]]
    finalized: Mapping[str, int]
    epoch: int


class ApiVersionsHandler:
    """Lists the APIs with `keys` and itself."""

    def __init__(
        self,
        keys: Iterable[ApiKey],
        features: Callable[[], Features],
        cluster_id: str,
        node_id: int,
    ) -> None:
        self._ranges = [(key, *listed_versions(key)) for key in sorted({ApiKey.API_VERSIONS, *keys})]
        self._features = features
        self._cluster_id = cluster_id
        self._node_id = node_id

    def handler(self) -> Handler[ApiVersionsRequest, ApiVersionsResponse]:
        """The declaration of this API."""
        return Handler(ApiVersionsRequest, self._handle, Operation.ANY, ResourceType.CLUSTER)

    def _handle(self, context: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse:
        version = context.api_version
        if version >= FIRST_WITH_SOFTWARE and not (
            _SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)
        ):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if version >= FIRST_WITH_NODE:
            self._check_node(request)
        features = self._features()
        return ApiVersionsResponse(
            api_keys=[ApiVersion(api_key=key, min_version=low, max_version=high) for key, low, high in self._ranges],
            supported_features=[
                SupportedFeatureKey(name=name, min_version=low, max_version=high)
                for name, (low, high) in features.supported.items()
                if low > 0 or version >= FIRST_WITH_ZERO_MINIMUM
            ],
            finalized_features_epoch=features.epoch,
            finalized_features=[
                FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
                for name, level in features.finalized.items()
            ],
        )

    def _check_node(self, request: ApiVersionsRequest) -> None:
        """A client that names a cluster and node must have reached them (KIP-1242)."""
        if (request.cluster_id is None) != (request.node_id == -1):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if request.cluster_id is not None and (request.cluster_id, request.node_id) != (
            self._cluster_id,
            self._node_id,
        ):
            raise KafkaError(ErrorCode.REBOOTSTRAP_REQUIRED)
