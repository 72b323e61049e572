"""AlterClientQuotas (49) and AlterUserScramCredentials (51)."""

from __future__ import annotations

from odradek.controller.api.common import check_cluster
from odradek.controller.controller import Controller
from odradek.controller.quotas import alter_client_quotas
from odradek.controller.scram import alter_scram
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import KafkaError
from odradek.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlterClientQuotasResponseEntityData,
    AlterClientQuotasResponseEntryData,
)
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
)


class UsersApi:
    """What belongs to users."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        cluster = ResourceType.CLUSTER
        return [
            erase(Handler(AlterClientQuotasRequest, self._quotas, Operation.ALTER_CONFIGS, cluster, _quotas_failed)),
            erase(
                Handler(
                    AlterUserScramCredentialsRequest,
                    self._scram,
                    Operation.ALTER,
                    cluster,
                    _scram_failed,
                    max_objects=MAX_DECIDED_OBJECTS,
                )
            ),
        ]

    def _quotas(self, context: RequestContext, request: AlterClientQuotasRequest) -> Promise[AlterClientQuotasResponse]:
        check_cluster(context, Operation.ALTER_CONFIGS)
        return self._controller.submit(lambda state: alter_client_quotas(state, request))

    def _scram(
        self, context: RequestContext, request: AlterUserScramCredentialsRequest
    ) -> Promise[AlterUserScramCredentialsResponse]:
        check_cluster(context, Operation.ALTER)
        return self._controller.submit(lambda state: alter_scram(state, request))


def _quotas_failed(request: AlterClientQuotasRequest, _version: int, error: KafkaError) -> AlterClientQuotasResponse:
    return AlterClientQuotasResponse(
        entries=[
            AlterClientQuotasResponseEntryData(
                error_code=error.code,
                error_message=error.message,
                entity=[
                    AlterClientQuotasResponseEntityData(entity_type=part.entity_type, entity_name=part.entity_name)
                    for part in entry.entity
                ],
            )
            for entry in request.entries
        ]
    )


def _scram_failed(
    request: AlterUserScramCredentialsRequest, _version: int, error: KafkaError
) -> AlterUserScramCredentialsResponse:
    names = dict.fromkeys([*(each.name for each in request.deletions), *(each.name for each in request.upsertions)])
    return AlterUserScramCredentialsResponse(
        results=[
            AlterUserScramCredentialsResult(user=name, error_code=error.code, error_message=error.message)
            for name in names
        ]
    )
