"""AlterConfigs (33) and IncrementalAlterConfigs (44): what a broker refuses itself before it asks the controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from odradek.broker.controller_client import ControllerClient
from odradek.broker.replication.manager import ReplicaManager
from odradek.config import BrokerConfig
from odradek.config.alter import (
    Alteration,
    AlterOp,
    apply_alterations,
    check_broker_name,
    check_request,
    validate_dynamic_broker,
)
from odradek.config.types import ResourceType as ConfigResourceType
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from odradek.wire.messages.alter_configs import AlterConfigsResource as ReplaceResource
from odradek.wire.messages.alter_configs import AlterConfigsResourceResponse as ReplaceOutcome
from odradek.wire.messages.incremental_alter_configs import AlterConfigsResource as AlterResource
from odradek.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse as AlterOutcome,
)
from odradek.wire.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

Outcome = TypeVar("Outcome", ReplaceOutcome, AlterOutcome)

ResourceName = tuple[int, str]
_FORWARDED = (ConfigResourceType.TOPIC, ConfigResourceType.CLIENT_METRICS, ConfigResourceType.GROUP)


class AlterConfigsApi:
    """Checks each resource as the broker that was asked; the controller gets those that pass."""

    def __init__(
        self, replicas: ReplicaManager, controller: ControllerClient, config: Callable[[], BrokerConfig]
    ) -> None:
        self._replicas = replicas
        self._controller = controller
        self._config = config

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(
                    AlterConfigsRequest,
                    self._replace,
                    Operation.ALTER_CONFIGS,
                    ResourceType.CLUSTER,
                    _replace_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
            erase(
                Handler(
                    IncrementalAlterConfigsRequest,
                    self._alter,
                    Operation.ALTER_CONFIGS,
                    ResourceType.CLUSTER,
                    _alter_failed,
                    differences=("A broker has no loggers: changes of a BROKER_LOGGER are INVALID_REQUEST.",),
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
        ]

    def _replace(self, context: RequestContext, request: AlterConfigsRequest) -> Promise[AlterConfigsResponse]:
        refused = self._refused(
            [
                (
                    (each.resource_type, each.resource_name),
                    [Alteration(config.name, AlterOp.SET, config.value) for config in each.configs],
                )
                for each in request.resources
            ],
            is_incremental=False,
        )
        passed = [each for each, error in zip(request.resources, refused, strict=True) if error is None]
        forwarded = AlterConfigsRequest(resources=passed, validate_only=request.validate_only)

        def merge(answer: AlterConfigsResponse) -> AlterConfigsResponse:
            return AlterConfigsResponse(responses=_merged(request.resources, refused, answer.responses, ReplaceOutcome))

        if not passed:
            return Promise.of(merge(AlterConfigsResponse()))
        return self._controller.send(forwarded, AlterConfigsResponse, context).then(merge)

    def _alter(
        self, context: RequestContext, request: IncrementalAlterConfigsRequest
    ) -> Promise[IncrementalAlterConfigsResponse]:
        refused = self._refused(
            [
                (
                    (each.resource_type, each.resource_name),
                    [Alteration(config.name, config.config_operation, config.value) for config in each.configs],
                )
                for each in request.resources
            ],
            is_incremental=True,
        )
        passed = [each for each, error in zip(request.resources, refused, strict=True) if error is None]
        forwarded = IncrementalAlterConfigsRequest(resources=passed, validate_only=request.validate_only)

        def merge(answer: IncrementalAlterConfigsResponse) -> IncrementalAlterConfigsResponse:
            return IncrementalAlterConfigsResponse(
                responses=_merged(request.resources, refused, answer.responses, AlterOutcome)
            )

        if not passed:
            return Promise.of(merge(IncrementalAlterConfigsResponse()))
        return self._controller.send(forwarded, IncrementalAlterConfigsResponse, context).then(merge)

    def _refused(
        self, changes: Sequence[tuple[ResourceName, list[Alteration]]], *, is_incremental: bool
    ) -> list[KafkaError | None]:
        """For each resource, why this broker refuses it; None for those that the controller decides."""
        mentions = Counter(name for name, _alterations in changes)
        outcomes: list[KafkaError | None] = []
        for name, alterations in changes:
            try:
                if mentions[name] > 1:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
                self._check(name, alterations, is_incremental=is_incremental)
                outcomes.append(None)
            except KafkaError as error:
                outcomes.append(error)
        return outcomes

    def _check(self, resource: ResourceName, alterations: list[Alteration], *, is_incremental: bool) -> None:
        kind, name = resource
        check_request(alterations)
        if kind in _FORWARDED:
            return
        if kind != ConfigResourceType.BROKER:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {kind}")
        config = self._config()
        check_broker_name(name, config.node_id)
        current = self._replicas.image.configs.properties(kind, name) if is_incremental else {}
        changes = apply_alterations(ConfigResourceType.BROKER, current, alterations)
        changed = {key: value for key, value in {**current, **changes}.items() if value is not None}
        validate_dynamic_broker(config, changed, per_broker=bool(name))


def _merged(
    resources: Sequence[ReplaceResource | AlterResource],
    refused: Sequence[KafkaError | None],
    answered: Iterable[Outcome],
    outcome: type[Outcome],
) -> list[Outcome]:
    """An outcome for each resource, in the request's order: the controller's, or why this broker refused it."""
    answers = iter(answered)
    return [
        next(answers)
        if error is None
        else outcome(
            error_code=error.code,
            error_message=error.message,
            resource_type=each.resource_type,
            resource_name=each.resource_name,
        )
        for each, error in zip(resources, refused, strict=True)
    ]


def _replace_failed(request: AlterConfigsRequest, _version: int, error: KafkaError) -> AlterConfigsResponse:
    refused = [error] * len(request.resources)
    return AlterConfigsResponse(responses=_merged(request.resources, refused, (), ReplaceOutcome))


def _alter_failed(
    request: IncrementalAlterConfigsRequest, _version: int, error: KafkaError
) -> IncrementalAlterConfigsResponse:
    refused = [error] * len(request.resources)
    return IncrementalAlterConfigsResponse(responses=_merged(request.resources, refused, (), AlterOutcome))
