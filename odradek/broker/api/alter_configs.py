"""AlterConfigs (33) and IncrementalAlterConfigs (44): what a broker refuses itself before it asks the controller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

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
from odradek.server.loggers import alter_loggers
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


class _Decided(NamedTuple):
    """What this broker has decided itself; `error` is None where it went well."""

    error: KafkaError | None


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
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
        ]

    def _replace(self, context: RequestContext, request: AlterConfigsRequest) -> Promise[AlterConfigsResponse]:
        decided = self._decided(
            [
                (
                    (each.resource_type, each.resource_name),
                    [Alteration(config.name, AlterOp.SET, config.value) for config in each.configs],
                )
                for each in request.resources
            ],
            is_incremental=False,
            validate_only=request.validate_only,
        )
        passed = [each for each, done in zip(request.resources, decided, strict=True) if done is None]
        forwarded = AlterConfigsRequest(resources=passed, validate_only=request.validate_only)

        def merge(answer: AlterConfigsResponse) -> AlterConfigsResponse:
            return AlterConfigsResponse(responses=_merged(request.resources, decided, answer.responses, ReplaceOutcome))

        if not passed:
            return Promise.of(merge(AlterConfigsResponse()))
        return self._controller.send(forwarded, AlterConfigsResponse, context).then(merge)

    def _alter(
        self, context: RequestContext, request: IncrementalAlterConfigsRequest
    ) -> Promise[IncrementalAlterConfigsResponse]:
        decided = self._decided(
            [
                (
                    (each.resource_type, each.resource_name),
                    [Alteration(config.name, config.config_operation, config.value) for config in each.configs],
                )
                for each in request.resources
            ],
            is_incremental=True,
            validate_only=request.validate_only,
        )
        passed = [each for each, done in zip(request.resources, decided, strict=True) if done is None]
        forwarded = IncrementalAlterConfigsRequest(resources=passed, validate_only=request.validate_only)

        def merge(answer: IncrementalAlterConfigsResponse) -> IncrementalAlterConfigsResponse:
            return IncrementalAlterConfigsResponse(
                responses=_merged(request.resources, decided, answer.responses, AlterOutcome)
            )

        if not passed:
            return Promise.of(merge(IncrementalAlterConfigsResponse()))
        return self._controller.send(forwarded, IncrementalAlterConfigsResponse, context).then(merge)

    def _decided(
        self, changes: Sequence[tuple[ResourceName, list[Alteration]]], *, is_incremental: bool, validate_only: bool
    ) -> list[_Decided | None]:
        """For each resource, what became of it here: None for those that the controller decides."""
        mentions = Counter(name for name, _alterations in changes)
        outcomes: list[_Decided | None] = []
        for name, alterations in changes:
            try:
                if mentions[name] > 1:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
                check_request(alterations)
                if is_incremental and name[0] == ConfigResourceType.BROKER_LOGGER:
                    alter_loggers(name[1], self._config().node_id, alterations, validate_only=validate_only)
                    outcomes.append(_Decided(None))
                else:
                    self._check(name, alterations, is_incremental=is_incremental)
                    outcomes.append(None)
            except KafkaError as error:
                outcomes.append(_Decided(error))
        return outcomes

    def _check(self, resource: ResourceName, alterations: list[Alteration], *, is_incremental: bool) -> None:
        kind, name = resource
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
    decided: Sequence[_Decided | None],
    answered: Iterable[Outcome],
    outcome: type[Outcome],
) -> list[Outcome]:
    """An outcome for each resource, in the request's order: the controller's, or what this broker decided."""
    answers = iter(answered)
    return [
        next(answers)
        if done is None
        else outcome(
            error_code=ErrorCode.NONE if done.error is None else done.error.code,
            error_message=None if done.error is None else done.error.message,
            resource_type=each.resource_type,
            resource_name=each.resource_name,
        )
        for each, done in zip(resources, decided, strict=True)
    ]


def _replace_failed(request: AlterConfigsRequest, _version: int, error: KafkaError) -> AlterConfigsResponse:
    refused = [_Decided(error)] * len(request.resources)
    return AlterConfigsResponse(responses=_merged(request.resources, refused, (), ReplaceOutcome))


def _alter_failed(
    request: IncrementalAlterConfigsRequest, _version: int, error: KafkaError
) -> IncrementalAlterConfigsResponse:
    refused = [_Decided(error)] * len(request.resources)
    return IncrementalAlterConfigsResponse(responses=_merged(request.resources, refused, (), AlterOutcome))
