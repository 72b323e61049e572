"""AlterConfigs (33) and IncrementalAlterConfigs (44), after a broker has looked at them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from odradek.config.alter import Alteration
from odradek.config.types import ResourceType as ConfigResourceType
from odradek.controller.configs import MayAlter, ResourceChange, ResourceOutcome, alter_configs, replacement
from odradek.controller.controller import Controller
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.server.loggers import alter_loggers
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
)
from odradek.wire.messages.alter_configs import (
    AlterConfigsResourceResponse as LegacyResponse,
)
from odradek.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

Told = TypeVar("Told", LegacyResponse, AlterConfigsResourceResponse)


class AlterConfigsApi:
    """What is set dynamically on brokers, topics, groups and client-metrics subscriptions."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        operation, cluster, most = Operation.ALTER_CONFIGS, ResourceType.CLUSTER, MAX_DECIDED_OBJECTS
        return [
            erase(Handler(AlterConfigsRequest, self._replace, operation, cluster, _replace_failed, max_objects=most)),
            erase(
                Handler(
                    IncrementalAlterConfigsRequest, self._alter, operation, cluster, _alter_failed, max_objects=most
                )
            ),
        ]

    def _replace(self, context: RequestContext, request: AlterConfigsRequest) -> Promise[AlterConfigsResponse]:
        changes = [
            ResourceChange(
                resource.resource_type,
                resource.resource_name,
                replacement((config.name, config.value) for config in resource.configs),
            )
            for resource in request.resources
        ]
        outcomes = self._submit(context, changes, legacy=True, validate_only=request.validate_only)
        return outcomes.then(lambda done: AlterConfigsResponse(responses=_told(done, LegacyResponse)))

    def _alter(
        self, context: RequestContext, request: IncrementalAlterConfigsRequest
    ) -> Promise[IncrementalAlterConfigsResponse]:
        changes = [
            ResourceChange(
                resource.resource_type,
                resource.resource_name,
                tuple(Alteration(each.name, each.config_operation, each.value) for each in resource.configs),
            )
            for resource in request.resources
        ]
        kept = [change for change in changes if change.resource_type != ConfigResourceType.BROKER_LOGGER]
        loggers = [
            self._alter_loggers(context, change, validate_only=request.validate_only)
            for change in changes
            if change.resource_type == ConfigResourceType.BROKER_LOGGER
        ]
        outcomes = self._submit(context, kept, legacy=False, validate_only=request.validate_only)
        return outcomes.then(
            lambda done: IncrementalAlterConfigsResponse(
                responses=_told([*done, *loggers], AlterConfigsResourceResponse)
            )
        )

    def _alter_loggers(
        self, context: RequestContext, change: ResourceChange, *, validate_only: bool
    ) -> ResourceOutcome:
        """Levels are this process's own: nothing of them is written down."""
        error: KafkaError | None = None
        if not context.allows(Operation.ALTER_CONFIGS, ResourceType.CLUSTER, CLUSTER_NAME):
            error = KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        else:
            try:
                node_id = self._controller.config.node_id
                alter_loggers(change.name, node_id, change.alterations, validate_only=validate_only)
            except KafkaError as refused:
                error = refused
        return ResourceOutcome(change.resource_type, change.name, error)

    def _submit(
        self, context: RequestContext, changes: list[ResourceChange], *, legacy: bool, validate_only: bool
    ) -> Promise[list[ResourceOutcome]]:
        may_alter = _authorization(context)
        return self._controller.submit(
            lambda state: alter_configs(state, changes, may_alter, legacy=legacy, validate_only=validate_only)
        )


def _authorization(context: RequestContext) -> MayAlter:
    def error_of(resource_type: int, name: str) -> KafkaError | None:
        kind, resource, code = ResourceType.CLUSTER, CLUSTER_NAME, ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        if resource_type == ConfigResourceType.TOPIC:
            kind, resource, code = ResourceType.TOPIC, name, ErrorCode.TOPIC_AUTHORIZATION_FAILED
        elif resource_type == ConfigResourceType.GROUP:
            kind, resource, code = ResourceType.GROUP, name, ErrorCode.GROUP_AUTHORIZATION_FAILED
        elif resource_type not in (ConfigResourceType.BROKER, ConfigResourceType.CLIENT_METRICS):
            return KafkaError(ErrorCode.INVALID_REQUEST, f"Unexpected resource type {resource_type}.")
        return None if context.allows(Operation.ALTER_CONFIGS, kind, resource) else KafkaError(code)

    return error_of


def _told(outcomes: Iterable[ResourceOutcome], told: type[Told]) -> list[Told]:
    return [
        told(
            error_code=ErrorCode.NONE if each.error is None else each.error.code,
            error_message=None if each.error is None else each.error.message or each.error.code.message,
            resource_type=each.resource_type,
            resource_name=each.name,
        )
        for each in outcomes
    ]


def _replace_failed(request: AlterConfigsRequest, _version: int, error: KafkaError) -> AlterConfigsResponse:
    refused = [ResourceOutcome(each.resource_type, each.resource_name, error) for each in request.resources]
    return AlterConfigsResponse(responses=_told(refused, LegacyResponse))


def _alter_failed(
    request: IncrementalAlterConfigsRequest, _version: int, error: KafkaError
) -> IncrementalAlterConfigsResponse:
    refused = [ResourceOutcome(each.resource_type, each.resource_name, error) for each in request.resources]
    return IncrementalAlterConfigsResponse(responses=_told(refused, AlterConfigsResourceResponse))
