"""DescribeConfigs (32) and ListConfigResources (74): configurations with their sources (KIP-226, KIP-1142)."""

from __future__ import annotations

from collections.abc import Callable

from odradek.config import BrokerConfig
from odradek.config.describe import (
    ConfigEntry,
    describe_broker_logger,
    describe_broker_resource,
    describe_client_metrics,
    describe_group,
    describe_topic,
)
from odradek.config.types import ResourceType as ConfigResourceType
from odradek.metadata.image import MetadataImage
from odradek.metadata.topic_names import check_name
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.server.loggers import logger_levels
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)
from odradek.wire.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

MAX_CONFIG_ENTRIES = 100_000
"""What one response describes: some thousand topics. A request of a few bytes per resource could ask for any amount."""

_Described = dict[tuple[int, str, tuple[str, ...] | None], list[DescribeConfigsResourceResult]]
"""What is in a response already, by kind, name and the keys that were asked for."""

_ANY_NAME = ""
"""In the place of a topic's or group's name, none of which is empty."""
_FIRST_WITH_TYPES = 1
_LISTED = (
    ConfigResourceType.GROUP,
    ConfigResourceType.CLIENT_METRICS,
    ConfigResourceType.BROKER_LOGGER,
    ConfigResourceType.BROKER,
    ConfigResourceType.TOPIC,
)
"""The types that can be listed, in the order in which Kafka lists them."""


class ConfigsApi:
    """Answers what is configured; `config` gives the node's configuration as it is now, dynamic values included."""

    def __init__(self, image: Callable[[], MetadataImage], config: Callable[[], BrokerConfig]) -> None:
        self._image = image
        self._config = config

    def describe_handler(self) -> AnyHandler:
        """The declaration of DescribeConfigs, which brokers and controllers answer."""
        return erase(
            Handler(
                DescribeConfigsRequest,
                self._describe,
                Operation.DESCRIBE_CONFIGS,
                ResourceType.CLUSTER,
                _describe_failed,
                differences=(
                    "Loggers are Odradek's and have its names; the documentation texts are our own.",
                    f"Resources behind the first {MAX_CONFIG_ENTRIES} entries of a response are INVALID_REQUEST.",
                ),
            )
        )

    def list_handler(self) -> AnyHandler:
        """The declaration of ListConfigResources, which brokers answer."""
        return erase(Handler(ListConfigResourcesRequest, self._list, Operation.DESCRIBE_CONFIGS, ResourceType.CLUSTER))

    async def _describe(self, context: RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
        for resource in request.resources:
            if resource.resource_type not in _LISTED:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unexpected resource type {resource.resource_type}")
        results = []
        entries_left = MAX_CONFIG_ENTRIES
        described: _Described = {}
        slices = context.slices()
        for resource in request.resources:
            await slices.pause()
            result = DescribeConfigsResult(resource_type=resource.resource_type, resource_name=resource.resource_name)
            try:
                if entries_left <= 0:
                    raise KafkaError(
                        ErrorCode.INVALID_REQUEST, f"One response describes at most {MAX_CONFIG_ENTRIES} configurations"
                    )
                result.configs = self._results(request, resource, described)
                entries_left -= len(result.configs)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, error.message or ""
            results.append(result)
        return DescribeConfigsResponse(results=results)

    def _results(
        self, request: DescribeConfigsRequest, resource: DescribeConfigsResource, described: _Described
    ) -> list[DescribeConfigsResourceResult]:
        """A resource's entries; topics without values of their own share theirs, and so do groups."""
        kind, name, keys = resource.resource_type, resource.resource_name, resource.configuration_keys
        if kind in (ConfigResourceType.TOPIC, ConfigResourceType.GROUP):
            self._check(kind, name)
            if not self._image().configs.properties(kind, name):
                name = _ANY_NAME
        place = (kind, name, None if keys is None else tuple(keys))
        results = described.get(place)
        if results is None:
            entries = self._entries(resource, documentation=request.include_documentation)
            results = described[place] = [_result(entry, synonyms=request.include_synonyms) for entry in entries]
        return results

    def _check(self, kind: int, name: str) -> None:
        """Raise KafkaError for a topic that does not exist, or a group without a name."""
        if kind == ConfigResourceType.TOPIC:
            check_name(name)
            if name not in self._image().topics.by_name:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        elif not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")

    def _entries(self, resource: DescribeConfigsResource, *, documentation: bool) -> list[ConfigEntry]:
        kind, name = resource.resource_type, resource.resource_name
        keys = None if resource.configuration_keys is None else dict.fromkeys(resource.configuration_keys)
        config = self._config()
        if kind == ConfigResourceType.BROKER:
            return describe_broker_resource(config, name, keys, documentation=documentation)
        if kind == ConfigResourceType.BROKER_LOGGER:
            return describe_broker_logger(config, name, logger_levels(), keys)
        overrides = self._image().configs.properties(kind, name)
        if kind == ConfigResourceType.TOPIC:
            return describe_topic(config, overrides, keys, documentation=documentation)
        if kind == ConfigResourceType.GROUP:
            return describe_group(config, name, overrides, keys, documentation=documentation)
        return describe_client_metrics(name, overrides, keys, documentation=documentation)

    def _list(self, context: RequestContext, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
        if context.api_version < _FIRST_WITH_TYPES:
            wanted: tuple[int, ...] = (ConfigResourceType.CLIENT_METRICS,)
        else:
            wanted = tuple(request.resource_types) or _LISTED
        if any(kind not in _LISTED for kind in wanted):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
        return ListConfigResourcesResponse(
            config_resources=[
                ConfigResource(resource_name=name, resource_type=kind)
                for kind in _LISTED
                if kind in wanted
                for name in self._names(kind)
            ]
        )

    def _names(self, kind: ConfigResourceType) -> list[str]:
        image = self._image()
        if kind is ConfigResourceType.TOPIC:
            return list(image.topics.by_name)
        if kind in (ConfigResourceType.BROKER, ConfigResourceType.BROKER_LOGGER):
            return [str(broker.id) for broker in image.cluster.brokers.values() if not broker.fenced]
        return [name for (type_, name) in image.configs.resources if type_ == kind]


def _result(entry: ConfigEntry, *, synonyms: bool) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=[
            DescribeConfigsSynonym(name=synonym.name, value=synonym.value, source=synonym.source)
            for synonym in (entry.synonyms if synonyms else ())
        ],
        config_type=entry.type,
        documentation=entry.documentation,
    )


def _describe_failed(request: DescribeConfigsRequest, _version: int, error: KafkaError) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(
        results=[
            DescribeConfigsResult(
                error_code=error.code,
                error_message=error.code.message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        ]
    )
