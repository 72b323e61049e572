"""DescribeClientQuotas (API key 48): what was set for whom (KIP-546)."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.replication.manager import ReplicaManager
from odradek.metadata.image import QuotaEntity
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import Handler
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    EntityData,
    EntryData,
    ValueData,
)

EXACT = 0
DEFAULT = 1
SPECIFIED = 2
_IP = "ip"
_ENTITY_TYPES = ("user", "client-id", _IP)


class QuotasApi:
    """Answers DescribeClientQuotas from the metadata image."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handler(self) -> Handler[DescribeClientQuotasRequest, DescribeClientQuotasResponse]:
        """The declaration of this API."""
        return Handler(
            DescribeClientQuotasRequest,
            self._handle,
            Operation.DESCRIBE_CONFIGS,
            ResourceType.CLUSTER,
            on_error=_failed,
            differences=("Quotas are kept and described; they do not throttle yet.",),
        )

    def _handle(self, _context: RequestContext, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
        _check(request.components)
        wanted = {component.entity_type: component for component in request.components}
        return DescribeClientQuotasResponse(
            error_message="",
            entries=[
                EntryData(
                    entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
                    values=[ValueData(key=key, value=value) for key, value in values.items()],
                )
                for entity, values in self._replicas.image.client_quotas.entities.items()
                if _matches(entity, wanted, strict=request.strict)
            ],
        )


def _check(components: list[ComponentData]) -> None:
    seen: dict[str, None] = {}
    for component in components:
        kind = component.entity_type
        if not kind:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Invalid empty entity type.")
        if kind not in _ENTITY_TYPES:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Unsupported entity type {kind}")
        if kind in seen:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"Entity type {kind} cannot appear more than once in the filter."
            )
        seen[kind] = None
        _check_match(component)
    if _IP in seen and len(seen) > 1:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            "Invalid entity filter component combination. IP filter component should not be used with user or "
            "clientId filter component.",
        )


def _check_match(component: ComponentData) -> None:
    if component.match_type == EXACT:
        if component.match is None:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, "Request specified MATCH_TYPE_EXACT, but set match string to null."
            )
    elif component.match_type not in (DEFAULT, SPECIFIED):
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown match type {component.match_type}")
    elif component.match is not None:
        name = "MATCH_TYPE_DEFAULT" if component.match_type == DEFAULT else "MATCH_TYPE_SPECIFIED"
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Request specified {name}, but also specified a match string.")


def _matches(entity: QuotaEntity, wanted: Mapping[str, ComponentData], *, strict: bool) -> bool:
    """Whether every component is met; a strict filter allows no other types. No components match everything."""
    if strict and len(entity) != len(wanted):
        return False
    names = dict(entity)
    for kind, component in wanted.items():
        if kind not in names:
            return False
        if component.match_type == EXACT and names[kind] != component.match:
            return False
        if component.match_type == DEFAULT and names[kind] is not None:
            return False
    return True


def _failed(_request: DescribeClientQuotasRequest, _version: int, error: KafkaError) -> DescribeClientQuotasResponse:
    return DescribeClientQuotasResponse(error_code=error.code, error_message=error.message, entries=None)
